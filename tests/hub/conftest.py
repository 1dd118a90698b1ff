"""The fixture the tests of this folder share."""

import pytest

from .server import LoopbackHub


@pytest.fixture
def hub():
    """A running, empty Hub."""
    with LoopbackHub() as running:
        yield running

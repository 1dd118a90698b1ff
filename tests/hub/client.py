"""This process as a user of a loopback Hub; the clients read their settings when they are imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from .server import LoopbackHub


@contextmanager
def signed_in(patch: pytest.MonkeyPatch, home: Path) -> Iterator[LoopbackHub]:
    """A running, empty Hub, to which this process is signed in."""
    with LoopbackHub() as running:
        for name, value in running.environment(home).items():
            if (name.startswith("HF_") and name != "HF_HOME") or name.lower() == "no_proxy":
                patch.setenv(name, value)
        patch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        files = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setattr("datasets.config.HF_ENDPOINT", running.url)  # for what it streams
        disable_progress_bars()
        yield running
        enable_progress_bars()

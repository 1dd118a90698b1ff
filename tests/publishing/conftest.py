"""What the tests of publishing share."""

import pytest

from affectnet_plus_modeling.publishing import examples, publish_model


@pytest.fixture(autouse=True, scope="session")
def sheets():
    """The sheet of the same answers is drawn once for all tests: it takes longer than the rest of a publication."""
    drawn, draw = {}, examples.draw_sheet

    def draw_once(faces):
        key = repr(faces)
        if key not in drawn:
            drawn[key] = draw(faces)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish_model, "draw_sheet", draw_once)
        yield

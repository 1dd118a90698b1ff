"""The models that come with the package: published model folders in `pretrained/`, found by their names."""

from pathlib import Path

PRETRAINED = ("ferplus",)


def pretrained(name: str = "ferplus") -> str:
    """The folder of a model that comes with the package, for `from_pretrained`, `pipeline` and every verb.

    "ferplus" answers the soft label of the 8 emotions for a face of 48 x 48 pixels, of which it sees grey only; it has
    no valence and arousal. It learnt from FER+, so it is for research; its README.md has the figures.

    Raises:
        ValueError: no model of that name comes with the package.
    """
    if name not in PRETRAINED:
        raise ValueError(f"no model {name!r} comes with the package, only {', '.join(PRETRAINED)}")
    return str(Path(__file__).parent / "pretrained" / name)


def model_folder(model: str | Path) -> str | Path:
    """The folder of a name of `PRETRAINED`, unless a model folder of yours has that name; anything else as it is."""
    named = str(model) in PRETRAINED and not Path(model, "config.json").exists()
    return pretrained(str(model)) if named else model

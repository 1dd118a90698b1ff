"""Where the files of a model are: of those that come with the package, in `pretrained/`, of those of the Hub, and of
exported ones."""

from os import PathLike
from pathlib import Path

from .hub_names import fetched, on_hub

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


def model_folder(model: str | PathLike) -> str | PathLike:
    """The folder of a name of `PRETRAINED`, unless a model folder of yours has that name, or of a name of the Hub,
    which is fetched; anything else as it is.

    Raises:
        OSError, ValueError: as `hub_names.fetched`.
    """
    named = str(model) in PRETRAINED and not Path(model, "config.json").exists()
    if named:
        return pretrained(str(model))
    return fetched(model, "model") if on_hub(model, "model") else model


def local_folder(folder: str | PathLike) -> str | PathLike:
    """As `model_folder`, for what need not be a model: nothing is fetched, and any folder of yours goes first."""
    return pretrained(str(folder)) if str(folder) in PRETRAINED and not Path(folder).exists() else folder


def exported_file(model: str | PathLike) -> Path | None:
    """The ONNX file of a folder that `export` wrote, or one that is named itself; None for anything else."""
    path = Path(model_folder(model))
    if path.suffix == ".onnx" and not path.is_dir():
        return path
    file = path / "onnx" / "model.onnx"
    return file if file.is_file() else None

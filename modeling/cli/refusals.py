"""What is refused before anything heavy is imported: a look at names of files, and no more.

The library refuses the same, and more, with the same words; here a mistake costs a moment.
"""

from pathlib import Path

from ..checkpoints import CONFIG, WEIGHTS, check_model, check_start
from ..files import MANIFEST, is_prepared, refuse_existing
from ..hub_names import fetched, on_hub
from ..sentences import lacks
from ..shipped import PRETRAINED, exported_file, model_folder
from .arguments import did_you_mean


def need(*paths: str | None) -> None:
    """Raise FileNotFoundError for the first path that is given and does not exist."""
    for path in paths:
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist")


def need_faces(*sources: str | None) -> None:
    """Raise OSError for the first source of faces that is neither a path that exists nor given by the Hub."""
    for source in sources:
        if source is not None and not fetched(source).exists():
            raise FileNotFoundError(f"{source} does not exist")


def need_prepared(folder: str | None) -> None:
    """Raise OSError for what is neither a folder that prepare wrote nor given by the Hub."""
    if folder is not None and not is_prepared(place := fetched(folder)):
        said = lacks(place, [MANIFEST], folder)
        raise FileNotFoundError(f"{said}; give the folder that prepare wrote, or you/name of the Hub")


def need_model(folder: str | None, *files: str, writer: str = "train") -> None:
    """Raise FileNotFoundError for a folder without the files of a model, or those named.

    The name of a model that comes with the package stands for its folder, and you/name for what the Hub has, which is
    fetched.
    """
    if folder is None:
        return
    files, place = files or (CONFIG, WEIGHTS), model_folder(folder)
    if missing := [name for name in files if not Path(place, name).is_file()]:
        said = lacks(place, missing, folder)
        near = "" if Path(place).exists() else did_you_mean(folder, PRETRAINED)
        raise FileNotFoundError(f"{said}; give the folder that {writer} wrote, or you/name of the Hub{near}")
    if WEIGHTS in files:
        check_model(place)


def need_answering(model: str | None) -> None:
    """Raise FileNotFoundError for what is neither the folder of a model, nor what export wrote."""
    file = None if model is None else exported_file(model)
    if file is None:
        need_model(model)
    else:
        need(str(file))


def need_checkpoint(name: str | None) -> None:
    """Raise OSError for what is neither the folder of a checkpoint nor given by the Hub; a word may be an old name."""
    if name is None:
        return
    if Path(name).exists() or on_hub(name, "model"):
        need_model(name, CONFIG)
        check_start(model_folder(name))
    elif "/" in name or name.startswith((".", "~")):
        raise FileNotFoundError(f"{name} does not exist; give the folder of a checkpoint, or its name on the Hub")


def need_free(out: str, overwrite: bool, unfinished: str | None = None, finished: str | None = None) -> None:
    """Raise FileExistsError where OUT exists and is not to be replaced.

    Args:
        unfinished: what the name of the folder of an interrupted run ends in: with one there, the run decides.
        finished: a file that says that OUT may be what was asked for already: then the verb decides.
    """
    if unfinished and Path(f"{out}{unfinished}").exists():
        return
    if finished and Path(out, finished).is_file():
        return
    refuse_existing(Path(out), overwrite)

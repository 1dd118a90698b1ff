"""What is refused before anything heavy is imported: a look at names of files, and no more.

The library refuses the same, and more, with the same words; here a mistake costs a moment.
"""

from pathlib import Path

from ..files import refuse_existing
from ..shipped import exported_file, model_folder


def need(*paths: str | None) -> None:
    """Raise FileNotFoundError for the first path that is given and does not exist."""
    for path in paths:
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist")


def need_prepared(folder: str | None) -> None:
    """Raise FileNotFoundError for a folder that prepare did not write."""
    if folder is not None and not Path(folder, "README.md").is_file():
        raise FileNotFoundError(f"{folder} holds no README.md; give the folder that prepare wrote")


def need_model(folder: str | None, *files: str, writer: str = "train") -> None:
    """Raise FileNotFoundError for a folder without the files of a model, or those named.

    The name of a model that comes with the package stands for its folder.
    """
    files = files or ("config.json", "model.safetensors")
    if folder is not None and (missing := [name for name in files if not Path(model_folder(folder), name).is_file()]):
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)}; give the folder that {writer} wrote")


def need_answering(model: str | None) -> None:
    """Raise FileNotFoundError for what is neither the folder of a model, nor what export wrote."""
    file = None if model is None else exported_file(model)
    if file is None:
        need_model(model)
    else:
        need(str(file))


def need_checkpoint(name: str | None) -> None:
    """Raise FileNotFoundError for what is neither the folder of a checkpoint nor may be a name on the Hub."""
    if name is None:
        return
    if Path(name).exists():
        need_model(name, "config.json")
    elif name.count("/") > 1 or name.startswith((".", "/", "~")):
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

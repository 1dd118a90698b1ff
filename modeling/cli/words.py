"""Options that several verbs have, in the same words."""

from ..options import option


def data() -> str:
    return option(help="folder that prepare wrote, or you/name of the Hub", positional=True, hub="dataset")


def model() -> str:
    return option(help="folder that train wrote, ferplus, or you/name of the Hub", positional=True, hub="model")


def revision() -> str | None:
    return option(
        None, help="branch, tag or commit of the name of the Hub; with several names, you/name@REVISION", metavar="REV"
    )


def out(help: str = "folder to write") -> str:
    return option(help=help, positional=True)


def view() -> str:
    return option("default", help="view of the data, such as easy or 7-class")


def split(default: str = "validation") -> str:
    return option(default, help="split of the data", metavar="SPLIT")


def seed() -> int:
    return option(0, help="seed of everything that is random", low=0)


def workers() -> int | None:
    return option(None, help="processes that work at once; without it, as many as are worth their start", low=1)


def batch_size(default: int) -> int:
    return option(default, help="faces in the network at once", low=1)


def strict() -> bool:
    return option(False, help="end with an error where a picture cannot be decoded, and leave none out")


def overwrite() -> bool:
    return option(False, help="replace OUT where it exists", group="run")


def follow_links() -> bool:
    words = "read files that are links out of their folder, as in the Hub's cache, DVC and git-annex"
    return option(False, help=words, group="run")


def ray() -> str | None:
    words = "share the work by Ray on this machine, or on the cluster at ADDRESS, such as auto; last on the line"
    return option(None, help=words, metavar="ADDRESS", alone="local", group="run")


def resume() -> bool:
    return option(False, help="refuse to begin: there has to be an interrupted run to go on with", group="run")

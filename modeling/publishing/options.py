"""What pushing to the Hub may be told. Quick to import: the command line reads its defaults."""

import re
from dataclasses import dataclass

from ..options import option


def is_repo_id(name: str) -> bool:
    """Whether a name is that of a repository of the Hub, with its owner."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def check_repo_id(name: str) -> None:
    """Raise ValueError for what is no name of a repository with its owner: the Hub would make it somewhere."""
    if not is_repo_id(name):
        raise ValueError(f"{name!r} is no repository of the Hub, expected you/name")


@dataclass(frozen=True)
class HubOptions:
    """Who reads a repository, and which revision is written.

    Attributes:
        private, public, gated: hold for a repository that is there already too.
        revision: made if need be, without the files of any other branch.
        tag: never moves.

    Raises:
        ValueError: `public` together with `private` or `gated`; `tag` and `revision` are one name.
    """

    private: bool = option(False, help="only you read it, as with what is not free unless you say", group="readers")
    public: bool = option(False, help="everybody reads it; never for faces that are not free")
    gated: bool = option(False, help="readers ask, and you approve each by hand")
    revision: str = option("main", help="branch to commit to, made if need be", group="commit")
    tag: str | None = option(None, help="name for the commit, such as v1.0")

    def __post_init__(self):
        if self.public and (self.private or self.gated):
            raise ValueError("public is the contrary of private and gated; ask for one of them")
        if self.tag == self.revision:
            raise ValueError(f"{self.tag} would be a branch and a tag; give them two names")

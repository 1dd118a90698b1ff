"""The page to try a published model, as a Gradio Space that is never more open than its model."""

import re
from dataclasses import dataclass

from huggingface_hub import HfApi

from .connection import listening, patiently
from .guard import Contents
from .hub import HubOptions, Repository
from .space_files import space_files

_OURS = re.compile(r"affectnet_plus_modeling/[\w/]+\.py")


@dataclass(frozen=True)
class Space:
    """A page that loads the model `model_repo` of the Hub.

    A page lets its visitors use the model, so the Space of a private or gated one is private; to load it there, the
    Space needs a token that reads it, as its secret HF_TOKEN.
    """

    model_repo: str
    message = "Publish page"
    folder = None

    def contents(self, repo_id: str) -> Contents:
        return {**space_files(self.model_repo, repo_id)}

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Asks the Hub who may read the model.

        Raises:
            ValueError: Spaces have no gate.
            PermissionError: `public`, for a model that is not.
            OSError: the model is not on the Hub, or the Hub cannot be reached.
        """
        if options.gated:
            raise ValueError("Spaces have no gate; ask for --private or --public")
        with listening(f"{self.model_repo} has to be on the Hub before its Space"):
            model = patiently(HfApi().model_info, self.model_repo)
        closed = bool(model.private or model.gated)
        if closed and options.public:
            raise PermissionError(
                f"{self.model_repo} is private or gated, so its page cannot be public: open the model first"
            )
        reason = f"{self.model_repo} is private or gated: its page is private, and needs a secret HF_TOKEN to load it"
        return Repository(repo_id, "space", closed=closed, ours=_OURS, sdk="gradio", reason=reason if closed else None)

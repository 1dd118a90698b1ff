"""The page to try a published model, as a Gradio Space that is never more open than its model."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from huggingface_hub import HfApi

from .connection import listening, patiently
from .guard import Contents, write_contents
from .hub import HubOptions, Repository, push
from .space_files import space_files

_OURS = re.compile(r"affectnet_plus_modeling/[\w/]+\.py")


def stage_space(model_repo: str, out, overwrite: bool = False) -> Path:
    """Write to the folder `out` exactly what `publish_space` would push."""
    return write_contents(_contents(model_repo), out, overwrite)


def publish_space(model_repo: str, repo_id: str, options: HubOptions, say: Callable[[str], None] = print) -> str:
    """Push a page that loads the model `model_repo` of the Hub to the Space `repo_id`; returns its address.

    A page lets its visitors use the model, so the Space of a private or gated one is private; to load it there, the
    Space needs a token that reads it, as its secret HF_TOKEN.

    Raises:
        ValueError: Spaces have no gate; or as for `hub.push`.
        PermissionError: `public`, for a model that is not; or as for `hub.push`.
        OSError: the model is not on the Hub; or as for `hub.push`.
    """
    if options.gated:
        raise ValueError("Spaces have no gate; ask for --private or --public")
    if options.dry_run:  # which does not ask the Hub whether the model is open
        say(f"the page is private where {model_repo} is private or gated")
        to = Repository(repo_id, "space", closed=False, ours=_OURS, sdk="gradio")
        return push(_contents(model_repo), to, options, "Publish page", say)
    with listening(f"{model_repo} has to be on the Hub before its Space"):
        model = patiently(HfApi().model_info, model_repo)
    closed = bool(model.private or model.gated)
    if closed and options.public:
        raise PermissionError(f"{model_repo} is private or gated, so its page cannot be public: open the model first")
    if closed:
        say(f"{model_repo} is private or gated: its page is private, and needs a secret HF_TOKEN to load it")
    to = Repository(repo_id, "space", closed=closed, ours=_OURS, sdk="gradio")
    return push(_contents(model_repo), to, options, "Publish page", say)


def _contents(model_repo: str) -> Contents:
    files: Mapping[str, bytes | str] = space_files(model_repo)
    return {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}

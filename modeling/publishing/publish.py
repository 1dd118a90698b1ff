"""A model folder with its card to the Hub, in one commit; loading is plain `from_pretrained`."""

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from safetensors import safe_open

from ..files import fresh_folder
from .model_card import render_model_card

# What a published model consists of. Nothing else of the folder leaves the machine: no checkpoints, no picture of a
# face, and no pickle.
CODE = ("configuration_affectnet_plus.py", "losses.py", "modeling_affectnet_plus.py")
REQUIRED = ("config.json", "model.safetensors", "preprocessor_config.json", *CODE)
OPTIONAL = ("training.json", "metrics.json", "confusion.png", "reliability.png")


def stage(model_folder, out, licence: str = "other", overwrite: bool = False, repo_id: str | None = None) -> Path:
    """Write to the folder `out` exactly what `publish` would push: weights, code, processor, numbers and the card.

    Args:
        repo_id: the name that the card's examples load; None names the folder itself.

    Raises:
        FileNotFoundError: a file that a model needs is missing.
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: the weights are not a safetensors file of the model's own.
    """
    source, out = Path(model_folder), Path(out)
    missing = [name for name in REQUIRED if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{source} holds no {', '.join(missing)}; give the folder that train wrote")
    _check_weights(source / "model.safetensors")
    with fresh_folder(out, overwrite) as folder:
        present = [name for name in OPTIONAL if (source / name).is_file()]
        for name in [*REQUIRED, *present]:
            shutil.copyfile(source / name, folder / name)
        card = render_model_card(folder, repo_id or out.name, licence)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return out


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as weights:
            names = weights.keys()
    except Exception as error:  # safetensors raises its own untyped error
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if "classifier.weight" not in names:
        raise ValueError(f"{path} holds no classifier.weight, so it is not a soft-label model")


def publish(model_folder, repo_id: str, private: bool = False, licence: str = "other") -> str:
    """Push the model to the Hub repository `repo_id`, which is made if need be; returns its address.

    One commit holds everything, so a half-published model is never seen; nothing is pushed when nothing changed.
    Numbers and pictures of an earlier model that this one has not are removed by it. `private` holds for a repository
    that is there already too.
    """
    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(model_folder, Path(folder) / "model", licence, repo_id=repo_id)
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        if private:
            api.update_repo_settings(repo_id, private=True)
        api.upload_folder(
            repo_id=repo_id, folder_path=staged, commit_message="Publish model", delete_patterns=list(OPTIONAL)
        )
    return str(address)

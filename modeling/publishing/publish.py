"""A model folder with its card to the Hub, in one commit; loading is plain `from_pretrained`."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

from .. import vit
from ..evaluation.pictures import SHOWN
from ..files import fresh_folder
from .guard import Contents, check_contents
from .hub import HubOptions, Repository, push
from .model_card import render_model_card
from .results import EVAL_RESULTS_FILE, eval_results_file
from .weights import why_closed

# What a published model consists of. Nothing else of the folder leaves the machine: no checkpoints, no picture of a
# face, and no pickle. The code is all of vit/, which is what transformers copies beside the weights.
CODE = tuple(sorted(path.name for path in Path(vit.__file__).parent.glob("*.py") if path.name != "__init__.py"))
REQUIRED = ("config.json", "model.safetensors", "preprocessor_config.json", *CODE)
OPTIONAL = ("training.json", "metrics.json", *(f"{name}.png" for name in SHOWN))


def stage(
    model_folder,
    out,
    licence: str = "other",
    overwrite: bool = False,
    repo_id: str | None = None,
    dataset_id: str | None = None,
) -> Path:
    """Write to the folder `out` exactly what `publish` would push: weights, code, processor, numbers and the card.

    Args:
        repo_id: the name that the card's examples load; None names the folder itself.
        dataset_id: where the evaluated data is on the Hub; the results are then a file of its own format too.

    Raises:
        FileNotFoundError: a file that a model needs is missing.
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: the weights are not a safetensors file of the model's own; a file is not what its name says, or
            holds a secret.
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
        card = render_model_card(folder, repo_id or out.name, licence, dataset_id)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if dataset_id and "metrics.json" in present:
            results = eval_results_file(json.loads((folder / "metrics.json").read_text()), dataset_id)
            (folder / EVAL_RESULTS_FILE).parent.mkdir()
            (folder / EVAL_RESULTS_FILE).write_text(results, encoding="utf-8")
        check_contents(_contents(folder))
    return out


def _contents(staged: Path) -> Contents:
    return {str(path.relative_to(staged)): path for path in sorted(staged.rglob("*")) if path.is_file()}


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as weights:
            names = weights.keys()
    except Exception as error:  # safetensors raises its own untyped error
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if "classifier.weight" not in names:
        raise ValueError(f"{path} holds no classifier.weight, so it is not a soft-label model")


def publish(
    model_folder,
    repo_id: str,
    options: HubOptions,
    licence: str | None = None,
    dataset_id: str | None = None,
    say: Callable[[str], None] = print,
) -> str:
    """Push the model to the Hub repository `repo_id`, which is made if need be; returns its address.

    One commit holds everything, so a half-published model is never seen; nothing is pushed when nothing changed.
    Numbers and pictures of an earlier model that this one has not are removed by it.

    Args:
        licence: of the weights, as the Hub names it; None is "other", which the card explains.
        dataset_id: as for `stage`.
        say: is told what was done, and why the weights stay closed where they do.

    Raises:
        FileNotFoundError, ValueError: as for `stage`, `weights.why_closed` and `hub.push`.
        OSError: as for `hub.push`; PermissionError also where `weights.why_closed` says so.
    """
    reason = why_closed(Path(model_folder), licence, options)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(
            model_folder, Path(folder) / "model", licence or "other", repo_id=repo_id, dataset_id=dataset_id
        )
        if reason:
            say(reason)
        ours = re.compile("|".join(map(re.escape, (*OPTIONAL, EVAL_RESULTS_FILE))))
        to = Repository(repo_id, "model", closed=reason is not None, ours=ours)
        return push(_contents(staged), to, options, "Publish model", say)

"""A model folder with its card, as a repository of the Hub; loading is plain `from_pretrained`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .. import vit
from ..checkpoints import WEIGHTS, check_model
from ..evaluation.pictures import SHOWN
from ..sentences import lacks
from .examples import SHEET, draw_sheet, examples_of
from .guard import Contents
from .hub import HubOptions, Repository
from .model_card import render_model_card
from .results import EVAL_RESULTS_FILE, eval_results_file
from .weights import no_licence, read_training, why_closed

# What a published model consists of. Nothing else of the folder leaves the machine: no checkpoints, no picture of a
# face, and no pickle. The code is all of vit/, which is what transformers copies beside the weights.
CODE = tuple(sorted(path.name for path in Path(vit.__file__).parent.glob("*.py") if path.name != "__init__.py"))
REQUIRED = ("config.json", "model.safetensors", "preprocessor_config.json", *CODE)
OPTIONAL = ("training.json", "metrics.json", *(f"{name}.png" for name in SHOWN))


@dataclass(frozen=True)
class Model:
    """The folder that `train` wrote: weights, code, processor, numbers and the card.

    Numbers and pictures of an earlier model that this one has not are removed by publishing it.

    Args:
        licence: of the weights, as the Hub names it; None is "other", which the card explains.
        dataset_id: where the evaluated data is on the Hub; the results are then a file of its own format too.
    """

    folder: str | Path
    licence: str | None = None
    dataset_id: str | None = None
    message = "Publish model"

    def contents(self, repo_id: str) -> Contents:
        """What is published as `repo_id`, the name that the examples of the card load.

        Raises:
            FileNotFoundError: a file that a model needs is missing.
            ValueError: the weights are not a safetensors file of the model's own; or as for `read_record`.
        """
        source = Path(self.folder)
        missing = [name for name in REQUIRED if not (source / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{lacks(source, missing)}; give the folder that train wrote")
        _check_weights(source)
        present = [name for name in OPTIONAL if (source / name).is_file()]
        examples = examples_of(source)
        card = render_model_card(source, repo_id, self.licence or "other", self.dataset_id, examples)
        contents: Contents = {"README.md": card.encode(), **{name: source / name for name in (*REQUIRED, *present)}}
        contents |= {example.file: example.picture for example in examples} | {SHEET: draw_sheet(examples)}
        if self.dataset_id and "metrics.json" in present:
            metrics = json.loads((source / "metrics.json").read_text())
            contents[EVAL_RESULTS_FILE] = eval_results_file(metrics, self.dataset_id).encode()
        return contents

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Raises PermissionError and ValueError as `weights.why_closed` does."""
        training = read_training(Path(self.folder))
        reason, unlicensed = why_closed(training, self.licence, options), no_licence(training, self.licence)
        ours = re.compile("|".join(map(re.escape, (*OPTIONAL, EVAL_RESULTS_FILE))))
        closed = reason is not None
        return Repository(repo_id, "model", closed=closed, ours=ours, reason=reason, no_licence=unlicensed)


def _check_weights(folder: Path) -> None:
    if "classifier.weight" not in check_model(folder)[1]:
        raise ValueError(f"{folder / WEIGHTS} holds no classifier.weight, so it is not a soft-label model")

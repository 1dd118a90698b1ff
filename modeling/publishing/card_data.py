"""Every fact of a model's card in one typed place, read from config.json, training.json and metrics.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..checkpoints import read_config
from ..evaluation.pictures import SHOWN
from ..evaluation.records import Metrics
from ..files import read_json
from ..hub_names import PREFIX
from ..loading import in_a_sentence
from ..terms import Terms, terms_of
from ..training.options import TrainingOptions
from ..training.train import TrainingRecord
from ..vit import AffectNetPlusConfig
from .examples import Example
from .options import is_repo_id
from .weights import NON_COMMERCIAL, licence_of

_TRAINING_KEYS = (
    "options",
    "data",
    "training_faces",
    "never_drawn",
    "choosing_faces",
    "parameters",
    "steps",
    "best_step",
    "finished",
    "seconds",
    "processes",
    "hardware",
    "energy",
    "versions",
)
_METRICS_KEYS = (
    "data",
    "view",
    "split",
    "command",
    "version",
    "crop",
    "predictions",
    "calibrated_on_this_split",
    "calibrated_rows",
    "calibrated_left_out",
    "rows",
    "rows_with_label",
    "rows_with_soft_label",
    "seed",
    "resamples",
    "level",
    "min_cell",
    "accuracy",
    "kl",
    "ece",
    "ece_soft",
    "intervals",
    "per_class",
    "reliability",
    "baselines",
    "valence",
    "arousal",
    "subsets",
    "groups",
    "yaw_edges",
    "groups_are",
    "gaps",
    "comparison",
)


@dataclass(frozen=True)
class ModelCardRecord:
    """What the template and the head of the card are filled from.

    Attributes:
        repo_id: what the examples of the card load.
        config: that of the model.
        training: training.json; None where the training was not recorded.
        metrics: metrics.json; None where the model was not evaluated.
        pictures: what those show that lie beside the card, by their file's name.
        licence: the keys of the head that state the terms of the weights.
        dataset_id: of the data on the Hub; None where they are not there.
        examples: faces that we drew, with what the model says of them; none where that is not known.
    """

    repo_id: str
    config: AffectNetPlusConfig
    training: dict | None
    metrics: dict | None
    pictures: dict[str, str]
    licence: dict[str, Any]
    dataset_id: str | None
    examples: Sequence[Example] = ()

    @property
    def place(self) -> str:
        """What stands before the name of a picture in the head: an address on the Hub, nothing beside the card."""
        return f"https://huggingface.co/{self.repo_id}/resolve/main/" if is_repo_id(self.repo_id) else ""

    @property
    def files(self) -> list[str]:
        """The files that the figures of the card are from."""
        known = {"training.json": self.training, "metrics.json": self.metrics, "config.json": self.config}
        return [name for name, content in known.items() if content is not None]

    @property
    def labels(self) -> list[str]:
        return [self.config.id2label[index] for index in range(self.config.num_labels)]

    @property
    def knows_affect(self) -> bool:
        return bool(self.config.valence_arousal_weight)

    @property
    def terms(self) -> Terms | None:
        """Of the faces it was trained on; None where nothing says whose they are."""
        return None if self.training is None else _terms(self.training)

    @property
    def non_commercial(self) -> bool:
        return self.training is not None and self.training["data"]["origin"] in NON_COMMERCIAL

    @property
    def started_from(self) -> str | None:
        options = self.training["options"] if self.training else {}
        return options.get("from_vit") or options.get("from_pretrained")

    @property
    def base_model(self) -> str | None:
        """The checkpoint that it started from, if that is one of the Hub: their names have an owner, folders not."""
        if not self.started_from or "/" not in self.started_from:
            return None
        return self.started_from.removeprefix(PREFIX["model"]).partition("@")[0]

    @property
    def changed_options(self) -> dict:
        """The options of the training that are not the defaults of this version, those of the augmentation by name."""
        if self.training is None:
            return {}
        defaults = _flat(json.loads(json.dumps(asdict(TrainingOptions()))))
        given = _flat(self.training["options"])
        return {name: value for name, value in given.items() if name not in defaults or defaults[name] != value}

    @property
    def chosen_on_the_reported_faces(self) -> bool:
        """Whether the faces that chose the checkpoint are those of the figures."""
        if self.training is None or self.metrics is None or self.training["options"]["holdout"]:
            return False
        return self.metrics["split"] == "validation" and _same_data(self.training["data"], self.metrics["data"])


def read_record(
    folder: Path,
    repo_id: str,
    licence: str = "other",
    dataset_id: str | None = None,
    examples: Sequence[Example] = (),
) -> ModelCardRecord:
    """The record of a model folder.

    Args:
        examples: what the model says of faces that we draw.
        licence: of the weights, as the Hub names it; "other" takes that of the training faces, if these have one.

    Raises:
        ValueError: metrics.json or training.json lacks what the card states, having been written by an older version;
            metrics.json is of other predictions, or of this model before it was calibrated; or a licence is given for
            weights that stand under the terms of the training faces.
    """
    training = _read(
        folder / "training.json",
        _TRAINING_KEYS,
        TrainingRecord,
        "train again, or remove the file: the card then says that the training was not recorded",
    )
    metrics = _read(
        folder / "metrics.json",
        _METRICS_KEYS,
        Metrics,
        "run affectnet-plus evaluate again, or remove the file: the card then says that the model was not evaluated",
    )
    read_config(folder)
    with in_a_sentence(folder):
        config = AffectNetPlusConfig.from_pretrained(folder)
    if metrics is not None:
        _check_metrics(metrics, config)
    return ModelCardRecord(
        repo_id=repo_id,
        config=config,
        training=training,
        metrics=metrics,
        pictures={f"{name}.png": shown for name, shown in SHOWN.items() if (folder / f"{name}.png").is_file()},
        licence=licence_of(training, licence),
        dataset_id=dataset_id,
        examples=examples,
    )


def _read(path: Path, keys: tuple[str, ...], kind: type, advice: str) -> Any:
    if not path.is_file():
        return None
    found: dict = read_json(path, dict, advice)
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f"{path.name} lacks {', '.join(missing)}: an older version wrote it; {advice}")
    return read_json(path, kind, advice)


def _check_metrics(metrics: dict, config: AffectNetPlusConfig) -> None:
    """Raise ValueError if the numbers are not those of the model as it is now."""
    if metrics["predictions"] is not None:
        name = metrics["predictions"]["file"]
        raise ValueError(f"metrics.json is of the predictions in {name}; run affectnet-plus evaluate on the model")
    fitted = config.uncertainty
    here = fitted is not None and (fitted["data"], fitted["split"]) == (metrics["data"]["name"], metrics["split"])
    known = metrics["calibrated_on_this_split"]
    if (here and not known) or (fitted is None and known):
        raise ValueError(
            "metrics.json is of this model as it was calibrated otherwise; run affectnet-plus evaluate again"
        )


def _terms(training: dict) -> Terms | None:
    data = training["data"]
    return None if data["origin"] is None else terms_of(data["origin"], data.get("soft_labels"))


def _same_data(one: dict, other: dict) -> bool:
    if one["fingerprint"] and other["fingerprint"]:
        return one["fingerprint"] == other["fingerprint"]
    return one["name"] == other["name"]


def _flat(options: dict) -> dict:
    flat = {name: value for name, value in options.items() if name != "augmentation"}
    return flat | {f"augmentation.{name}": value for name, value in options["augmentation"].items()}

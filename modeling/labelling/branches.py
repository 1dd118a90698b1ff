"""The two branches of a soft label, loaded once: what each says of some faces, and what comes of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.dataset import normalise
from ..files import read_json
from .action_units.emotions import score_emotions
from .action_units.model import ActionUnitModel, load_action_unit_model, predict_action_units
from .action_units.tables import ActionUnitTable, match_images, read_action_units
from .ensemble.calibration import apply_calibration
from .ensemble.model import ALL_FOLDS, BinaryEnsemble, load_ensemble
from .ensemble.seen import SEEN_FILE, folds_of, read_seen
from .fusion import DEFAULT, Fusion, Sources, absent
from .label_options import LabelOptions

SEEN_BY_ALL = "every member of the ensemble was trained on this picture"
NOT_IN_TABLE = "the table of action units has no row for it"
AMBIGUOUS = "several rows of the table of action units, or several pictures of a row, fit"
NOT_SCORED = "the action units known of it carry too little of any emotion"


@dataclass(frozen=True)
class Table:
    """A table of action units beside the pictures: `rows` (pictures,) has the row of each, or -1 with a reason."""

    table: ActionUnitTable
    rows: np.ndarray
    reasons: dict[str, str]  # by name of the picture
    unused: int


@dataclass(frozen=True)
class Branches:
    """What is asked about every face. Of `table` and `unit_model` at most one is there."""

    ensemble: BinaryEnsemble
    seen: dict[int, int]
    table: Table | None
    unit_model: ActionUnitModel | None
    fusion: Fusion
    human_label: bool

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides in pixels of the pictures that the networks take; the ensemble's first."""
        sizes = [self.ensemble.config.image_size]
        if self.unit_model and self.unit_model.image_size not in sizes:
            sizes.append(self.unit_model.image_size)
        return tuple(sizes)

    def to(self, device: str) -> "Branches":
        """The same, with its networks on a device."""
        self.ensemble.to(device)
        if self.unit_model is not None:
            self.unit_model.network.to(device)
        return self


def load_branches(options: LabelOptions, names: Sequence[str]) -> Branches:
    """Everything that the options name, checked before the first picture is read.

    Args:
        names: of the pictures, to be found in the table of action units.

    Raises:
        FileNotFoundError: a folder or table is not there, or the ensemble does not say what it was trained on.
        ValueError: one of them is something else; the table has none of the pictures; the fusion takes no human label.
    """
    seen = Path(options.ensemble, SEEN_FILE)
    ensemble = load_ensemble(options.ensemble)
    if not seen.is_file():
        raise FileNotFoundError(
            f"{seen} is missing: without it nobody knows which faces the members must not label. Train the ensemble "
            f"again, give the whole folder of train-ensemble, or ask its owner, who publishes it with --with-seen"
        )
    unit_model = None
    if options.action_unit_model:
        unit_model = load_action_unit_model(options.action_unit_model)
        unit_model.network.to(ensemble.device)
    fusion = load_fusion(options.fusion) if options.fusion else DEFAULT
    if options.human_label:  # it would be refused after hours otherwise
        fusion.apply(Sources(absent(0), absent(0), np.empty(0, dtype=int)))
    table = _load_table(options, names) if options.action_units else None
    return Branches(ensemble, read_seen(seen), table, unit_model, fusion, options.human_label)


def load_fusion(path) -> Fusion:
    """The fusion that a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    try:
        return Fusion.from_dict(read_json(path, dict, "fit it anew with fit-fusion"))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is no fusion: {error}") from error


def _load_table(options: LabelOptions, names: Sequence[str]) -> Table:
    table = read_action_units(str(options.action_units), options.action_unit_scale, options.action_unit_frames)
    match = match_images(table.names, names)
    if not (match.rows >= 0).any():
        raise ValueError(
            f"{options.action_units} names none of the {len(names)} pictures: it has {', '.join(table.names[:3])}, "
            f"the pictures are {', '.join(names[:3])}"
        )
    reasons = dict.fromkeys(match.missing, NOT_IN_TABLE) | dict.fromkeys(match.ambiguous, AMBIGUOUS)
    refused = table.reasons()
    for name, row in zip(names, match.rows.tolist(), strict=True):
        if row >= 0 and table.names[row] in refused:
            reasons[name] = refused[table.names[row]]
    return Table(table, match.rows, reasons, len(match.unused))


@torch.inference_mode()
def ensemble_confidences(branches: Branches, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the ensemble says, after calibration, and in which fold it was trained on a face.

    Only members that did not see a face answer for it: in the fold that they had seen they would know the label.

    Args:
        pixels: (n, size, size, 3) uint8 of the ensemble's size.

    Returns:
        (n, 8) float64 in [0, 1], a row of NaN where every member has seen the face, and (n,) folds, ALL_FOLDS where
        none has.

    Raises:
        ValueError: the networks give something that is no number.
    """
    model, folds = branches.ensemble, folds_of(pixels, branches.seen)
    values = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(model.device))
    logits = model(values, folds=torch.from_numpy(folds).to(model.device)).logits
    confidences = apply_calibration(logits.cpu().numpy(), model.config.calibration)
    if np.isnan(confidences[folds == ALL_FOLDS]).any():
        raise ValueError("the ensemble gives NaN for faces that it did not see: its weights are damaged; train again")
    return confidences, folds


def model_scores(model: ActionUnitModel, pixels: np.ndarray) -> np.ndarray:
    """(n, 8) scores by the units that the model sees in (n, size, size, 3) uint8; NaN for what these cannot tell."""
    values = predict_action_units(model, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return score_emotions(values, model.units)


def table_scores(table: Table, start: int, stop: int) -> np.ndarray:
    """(stop - start, 8) scores of the pictures of those numbers by their rows of the table; NaN where not known."""
    rows = table.rows[start:stop]
    values = np.where((rows >= 0)[:, None], table.table.values[rows], np.nan)
    return score_emotions(values, table.table.units)


def fuse_sources(
    fusion: Fusion, human_label: bool, ensemble: np.ndarray, action_units: np.ndarray, labels: np.ndarray
):
    """The soft label of each face from both branches, and the reason where there is none.

    Args:
        human_label: the labels are a source.
        ensemble: (n, 8) with rows of NaN.
        action_units: (n, 8) with NaN.
        labels: (n,) human labels, -1 where there is none.

    Returns:
        (n, 8) float32 in [0, 1], NaN where there is none, and n reasons or None. All that is made of them, such as
        the subset, is made of these 32 bits, so that it fits what readers see.
    """
    confidences, reasons = fusion.apply(Sources(ensemble, action_units, labels if human_label else None))
    return confidences.astype(np.float32), reasons

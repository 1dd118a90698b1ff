"""One evaluation: a model folder or a file of predictions, and a split, in; metrics.json and pictures out.

metrics.json is one flat object. A number is null where nothing can tell it; an interval is [low, high] or null.

What was measured:

- `model`: name of the folder or file. `data`: `name`, `origin` and `fingerprint`, as training.json has them. `view`,
  `split`, `command`, `version` (of this package).
- `crop`: a sentence on the pictures: an accuracy on AffectNet means little without crop, split and rows.
- `predictions`: null for a model folder; else `file`, `label_order` (null where columns are named by emotion),
  `without` (emotions that the other tool does not know, for which 0 was taken), `missing` (faces of the split of which
  it says nothing), `missing_are` (what became of them: refuse, skip or uniform) and `rounded_to` (decimals, where rows
  were scaled to sum to 1, null elsewhere).
- `calibrated_on_this_split`: whether the temperature of the model was fitted on faces of this very split of data of
  this name, `calibrated_share`, of which share of them (null where it was not), `calibrated_rows`, how many of the
  faces measured here are among these, and `calibrated_left_out`, how many faces of the split are not measured, since
  this model, or the one that it is compared with, was calibrated on them.
- `rows`, `rows_with_label`, `rows_with_soft_label`.
- `seed`, `resamples`, `level` of every interval; `min_cell`, the least rows of which a number is shown in a group.

Overall: `accuracy`, `balanced_accuracy`, `macro_f1`, `kl` (smoothed by .001, see `metrics.soft_label`),
`kl_unsmoothed`, `js`, `cosine`, `intersection`, `chebyshev`, `clark`, `canberra`, `brier`, `top_2`, `spearman`,
`top_label_agreement`, `ece`, `ece_soft`, `classwise_ece`, `classwise_ece_soft`: numbers, and `intervals`: an interval
of each by its name, or null where none would hold what it promises (see `covering`). `per_class`: emotion -> `recall`,
`precision`, `f1`, `support`, `intervals` (of the first three). `confusion`: counts, rows are labels. `reliability`
(top-1 confidence against the label) and `reliability_soft` (against the mass of the soft label on that class):
`edges`, `rows`, `confidence`, `accuracy`. `baselines`: see `scores`. `valence`, `arousal`: `ccc`, `pearson`, `rmse`,
`sagr`, `rows`, `intervals` (of the first four).

Parts of the faces:

- `subsets`: easy, challenging, difficult, and unknown where there are such faces -> cell.
- `groups`: `gender`, `age`, `ethnicity`, `yaw` -> name of the group, in a fixed order, unknown last -> cell. A group
  without faces is not there. `yaw_edges`: the two values of |yaw|, in the data's own unit, between the three bands.
- A cell is {"rows": n, "too_few": true} below `min_cell`; else `rows`, `kl`, `js`, `accuracy`, `balanced_accuracy`,
  `macro_f1`, `ece`, `valence_ccc`, `arousal_ccc`, and `intervals`: an interval of each by its name.
- `groups_are`: the sentence that has to stand beside every use of them.
- `gaps`: attribute -> `tpr_gap`: emotion -> a gap or null, and `mean` and `max` (numbers) over the emotions; and
  `accuracy_gap`, `kl_gap`, `js_gap`, `ece_gap`, `valence_ccc_gap`, `arousal_ccc_gap`: a gap or null. A gap is {`gap`,
  `highest`, `lowest`, `by_chance`, `p`}: the groups with the largest and the smallest value, the gap to expect if it
  were chance who is in which group, and how probable one as large then is, corrected for the number of all gaps; see
  `fairness` and `chance`.
- `fairness`: attribute -> `rows`, `groups` (names), `data` (measures of the faces alone) and `model` (measure ->
  `mean`, `max` and `emotion`, where it is largest), see `fairness`. null where fewer than two groups are large enough.

`comparison`: null, or what `--compare OTHER` found: `model` (name of the other), `rows`, `differences`: name ->
{`difference`, `interval`} (this model minus the other, over the same faces), and `mcnemar`: `rows`, `only_this`,
`only_other` (faces that one alone is right about), `p_exact`, `p_mid`.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict, cast

import datasets
import numpy as np
from msgspec import Meta

from ..data.dataset import Chosen, FaceDataset, choose, load_prepared
from ..files import read_json, write_json
from ..shipped import model_folder
from ..sources.origin import LICENSED
from ..stages import Progress, silent
from .audit import audit
from .compare import paired_differences
from .external import SUFFIXES, read_external
from .groups import GROUPS_ARE, attribute_groupings, subset_grouping
from .options import EvaluationOptions
from .pictures import SHOWN, draw_pictures, draw_sheets
from .predict import name_of, open_model, predict_faces
from .predictions import Predictions
from .records import Comparison, Metrics
from .report import write_report
from .uncertainty import in_share

PICTURES = {f"{name}{suffix}" for name in SHOWN for suffix in (".png", ".svg")} | {"mistakes.png", "ambiguous.png"}


def evaluate(
    model,
    data,
    out=None,
    view: str = "default",
    split: str = "validation",
    batch_size: int = 64,
    progress: Progress = silent,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 (it is frozen)
) -> Metrics:
    """`measure` a model, and write metrics.json, report.html and the pictures into `out`, all of them or none.

    Args:
        model, data: as for `measure`.
        out: a folder; None writes nothing.

    Returns:
        What metrics.json holds.

    Raises:
        OSError, ValueError: as `measure`.
    """
    rows = load_prepared(data, view, split)
    metrics, predictions = measure(model, data, view, split, batch_size, progress, options)
    if out is not None:
        _write(metrics, predictions, _judged(rows, predictions), Path(out))
    return metrics


def _judged(rows: datasets.Dataset, predictions: Predictions) -> datasets.Dataset:
    """The faces of the split that were judged: all, unless some are left out."""
    if len(rows) == len(predictions.image_ids):
        return rows
    judged = set(predictions.image_ids)
    return rows.select([row for row, image_id in enumerate(rows["image_id"][:]) if image_id in judged])


def _write(metrics: Metrics, predictions: Predictions, rows: datasets.Dataset, out: Path) -> None:
    title = f"{metrics['model']} on {metrics['data']['name']}, {metrics['split']} split, {metrics['view']} view"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".evaluate-", dir=out) as folder:
        partial = Path(folder)
        names = draw_pictures(metrics, predictions, partial)
        names += draw_sheets(metrics, predictions, lambda row: rows[row]["image"].convert("RGB"), partial, title)
        write_report(metrics, partial)
        write_json(partial / "metrics.json", metrics)
        for file in partial.iterdir():
            file.replace(out / file.name)
    for name in PICTURES - set(names):  # an evaluation before, of other faces, may have left them
        (out / name).unlink(missing_ok=True)


def measure(
    model,
    data,
    view: str = "default",
    split: str = "validation",
    batch_size: int = 64,
    progress: Progress = silent,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 (it is frozen)
) -> tuple[Metrics, Predictions]:
    """Measure a model on one split of prepared faces; nothing is written.

    The baseline is the mean soft label of the faces that the model was trained on, from the training.json of its
    folder; where that is not known, of the evaluated faces.

    Args:
        model: what `predict.load_model` takes, or a file of another tool's predictions, see `external`.
        data: as `load_prepared` takes it. Of a data set in memory, the view and the split that it says itself count.

    Returns:
        What metrics.json holds, and what the model said.

    Raises:
        FileNotFoundError, OSError: a folder or file lacks something, a picture cannot be read.
        ValueError: no such view or split, an order of labels without a file of predictions, or a bad file of them.
    """
    if not any(map(is_file_of_predictions, (model, options.compare))):
        no_file = f"and no {' or '.join(SUFFIXES)} file to read"
        if options.label_order:
            raise ValueError(f"label order {options.label_order} is given, {no_file}")
        if options.missing != "refuse":
            raise ValueError(f"what becomes of faces without a prediction is given, {no_file}")
    faces = choose(data, view, split)
    (this, *others), left_out = _answered((model, options.compare), faces, batch_size, progress, options)
    faces = faces._replace(rows=_judged(faces.rows, this.predictions))
    groups, yaw_edges = attribute_groupings(faces.rows)
    chosen = {name: getattr(options, name) for name in ("resamples", "level", "seed", "min_cell")}
    found = {
        **_about(model, faces, options),
        **_calibrated(this, faces),
        "calibrated_left_out": left_out,
        "predictions": this.source,
        **chosen,
        **audit(this.predictions, _prior(model), subset_grouping(faces.rows), groups, **chosen),
        "yaw_edges": yaw_edges,
        "groups_are": GROUPS_ARE,
        "comparison": None,
    }
    metrics = cast(Metrics, found)
    for other in others:
        metrics["comparison"] = _compared(this, other, name_of(options.compare), options)
    return metrics, this.predictions


def compare(
    model,
    other,
    data,
    view: str = "default",
    split: str = "validation",
    batch_size: int = 64,
    progress: Progress = silent,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 (it is frozen)
) -> Comparison:
    """Two models, or another tool's predictions, on the same faces; nothing is written.

    Args:
        model, other, data: as for `measure`.

    Returns:
        What metrics.json holds as `comparison`: the numbers of `model` less those of `other`.

    Raises:
        OSError, ValueError: as `measure`.
    """
    (this, that), _ = _answered((model, other), choose(data, view, split), batch_size, progress, options)
    return _compared(this, that, name_of(other), options)


def _compared(this: "_Answers", other: "_Answers", name: str, options: EvaluationOptions) -> Comparison:
    found = paired_differences(this.predictions, other.predictions, options.resamples, options.seed, options.level)
    return {"model": name, **found}


def is_file_of_predictions(model) -> bool:
    """Whether a model is named by a file of another tool's predictions and not by a folder."""
    return isinstance(model, (str, os.PathLike)) and Path(model).suffix in SUFFIXES and not Path(model).is_dir()


class _Answers(NamedTuple):
    predictions: Predictions
    source: dict | None  # what metrics.json says of a file
    uncertainty: dict | None  # what the configuration of a model says
    missing: list[int]  # rows of the faces of which a file says nothing


def _answered(
    models: Sequence, faces: Chosen, batch_size: int, progress: Progress, options: EvaluationOptions
) -> tuple[list[_Answers], int]:
    """What each model says of the same faces, and how many of the split are left out as they calibrated one of them.

    Left out too, with `missing="skip"`, are those of which one of them says nothing. Where all faces calibrated a
    model none are left out: there are no others.
    """
    found = [_answers(model, faces.rows, batch_size, progress, options) for model in models if model is not None]
    rows = len(faces.rows)
    missing = np.zeros(rows, bool)
    if options.missing == "skip":
        missing[[row for one in found for row in one.missing]] = True
        if missing.all():
            raise ValueError(f"of the {rows} faces of the split none has a prediction of both")
    fitted = np.any([_among_fitted(one, faces) for one in found], axis=0) & ~missing
    if options.calibrated_faces == "measure" or (fitted | missing).all():
        fitted[:] = False
    if not (missing | fitted).any():
        return found, 0
    left = np.flatnonzero(~(missing | fitted)).tolist()
    return [one._replace(predictions=one.predictions.take(left)) for one in found], int(fitted.sum())


def _fitted_here(one: _Answers, faces: Chosen) -> dict | None:
    """What `calibrate` found of a model, if it was on this split."""
    fitted = one.uncertainty
    here = fitted is not None and (fitted["data"], fitted["split"]) == (faces.about["name"], faces.split)
    return fitted if here else None


def _among_fitted(one: _Answers, faces: Chosen) -> np.ndarray:
    """(n,) bool: on which of the faces a model was calibrated."""
    fitted = _fitted_here(one, faces)
    if fitted is None:
        return np.zeros(len(faces.rows), bool)
    return in_share(faces.rows["image_id"][:], fitted["share"], fitted["seed"])


def _answers(
    model, rows: datasets.Dataset, batch_size: int, progress: Progress, options: EvaluationOptions
) -> _Answers:
    if is_file_of_predictions(model):
        found = read_external(model, rows, options.label_order, may_miss=options.missing != "refuse")
        source = {
            "file": Path(model).name,
            "label_order": found.label_order,
            "without": found.without,
            "missing": len(found.missing),
            "missing_are": options.missing,
            "rounded_to": found.rounded_to,
        }
        return _Answers(found.predictions, source, None, found.missing)
    network = open_model(model)
    faces = FaceDataset(rows, network.config.image_size)
    predictions = predict_faces(network, faces, batch_size, progress, "evaluate")
    if not network.config.valence_arousal_weight:  # its head for them was never trained
        predictions = replace(predictions, valence_arousal=np.full((len(rows), 2), np.nan))
    return _Answers(predictions, None, network.config.uncertainty, [])


def _about(model, faces: Chosen, options: EvaluationOptions) -> dict:
    """What the numbers are of; names only, since a path would tell of the machine."""
    name = name_of(model)
    command = f"affectnet-plus evaluate {name} {faces.about['name']} --view {faces.view} --split {faces.split}"
    for option, value in asdict(options).items():
        if value != getattr(EvaluationOptions(), option):
            said = name_of(value) if option == "compare" else value
            command += f" --{option.replace('_', '-')} {said}"
    return {
        "model": name,
        "data": faces.about,
        "view": faces.view,
        "split": faces.split,
        "command": command,
        "version": version("affectnet-plus"),
        "crop": _crop(faces.about["origin"], faces.rows),
    }


def _crop(origin: str | None, rows: datasets.Dataset) -> str:
    width, height = rows[0]["image"].size
    what = "the release's own crop" if origin == LICENSED else "pictures as prepared"
    return f"{origin or 'faces of unknown origin'}: {what}, the first of {width}x{height} pixels"


def _calibrated(this: _Answers, faces: Chosen) -> dict:
    """Whether numbers of calibration are of faces that the temperature was fitted to, and of how many of these."""
    fitted = _fitted_here(this, faces)
    return {
        "calibrated_on_this_split": fitted is not None,
        "calibrated_share": None if fitted is None else fitted["share"],
        "calibrated_rows": int(_among_fitted(this, faces).sum()),
    }


def _prior(model) -> np.ndarray | None:
    if not isinstance(model, (str, os.PathLike)):
        return None
    record = Path(model_folder(model)) / "training.json"
    if not record.is_file():
        return None
    advice = "remove it: the baseline of the training's mean is then left out"
    mean = read_json(record, _Prior, advice)["train_mean_soft_label"]
    return None if mean is None else np.array(mean)


class _Prior(TypedDict):
    train_mean_soft_label: Annotated[list[float], Meta(min_length=8, max_length=8)] | None

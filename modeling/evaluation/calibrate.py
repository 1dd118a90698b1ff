"""One calibration: a model folder and a split in, a configuration that knows how sure the model is out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from scipy.stats import entropy

from ..checkpoints import read_config
from ..data.dataset import FaceDataset, choose
from ..files import write_json
from ..metrics.calibration.formulas import expected_calibration_error, top_mass
from ..metrics.soft_label.formulas import kl_divergence
from ..stages import Progress, silent
from ..vit.answers import prediction_set
from .options import CalibrationOptions
from .predict import load_model, predict_faces
from .predictions import Predictions
from .scores import top_confidence
from .uncertainty import (
    draw_votes,
    fewest_rows,
    fit_abstain_entropy,
    fit_class_quantiles,
    fit_quantile,
    fit_temperature,
    in_share,
    soften,
)


class Calibration(TypedDict):
    """What `calibrate` found.

    `uncertainty`, as written into config.json; `left_out`, how many faces of the share lack what is asked for;
    `after`, the figures of `measure_uncertainty` on the faces of the fit; and `before`, its `kl` and both ECE before
    the logits were divided.
    """

    uncertainty: dict
    left_out: int
    before: dict[str, float]
    after: dict[str, Any]


def calibrate(
    model,
    data,
    options: CalibrationOptions = CalibrationOptions(),  # noqa: B008 (it is frozen)
    view: str = "default",
    split: str = "validation",
    batch_size: int = 64,
    progress: Progress = silent,
) -> Calibration:
    """Fit temperature, prediction set and abstaining of a model on one split of `data`, as `load_prepared` takes it.

    Writes `logit_temperature` and `uncertainty` into the config.json of a model's folder, whole or not at all; no
    other file is touched. A model in memory gets them in its `config`. The faces must not have been trained on. What
    was calibrated before is calibrated anew.

    Raises:
        FileNotFoundError, OSError: a folder lacks something, a picture cannot be read.
        ValueError: an option is outside its range, or the split has no faces to fit to.
    """
    if isinstance(model, (str, Path)) and not Path(model).is_dir():
        raise FileNotFoundError(f"{model} is no folder; what is fitted is written into a model folder of yours")
    network = load_model(model)
    rows, about, view, split = choose(data, view, split)
    chosen = np.flatnonzero(in_share(rows["image_id"], options.share, options.seed))
    where = f"{about['name']}, {split} split, {view} view"
    if not len(chosen):
        raise ValueError(f"{where}: a share of {options.share} of {len(rows)} faces is none; ask for a larger one")
    faces = FaceDataset(rows.select(chosen), network.config.image_size)
    predictions = known_rows(predict_faces(network, faces, batch_size, progress, "calibrate"), options, where)
    fitted = fit_uncertainty(predictions, options)
    temperature = network.config.logit_temperature * fitted["temperature"]
    uncertainty = fitted | {"data": about["name"], "view": view, "split": split, "temperature": temperature}
    before = measure_uncertainty(predictions, fitted)
    found: Calibration = {
        "uncertainty": uncertainty,
        "left_out": len(chosen) - fitted["rows"],
        "before": {name: before[name] for name in ("kl", "ece", "ece_soft")},
        "after": measure_uncertainty(apply_temperature(predictions, fitted["temperature"]), fitted),
    }
    if network is model:
        network.config.logit_temperature, network.config.uncertainty = temperature, uncertainty
        return found
    path = Path(model) / "config.json"
    config = read_config(model) | {"logit_temperature": temperature, "uncertainty": uncertainty}
    write_json(path, dict(sorted(config.items())))  # in the order that transformers writes
    return found


def known_rows(predictions: Predictions, options: CalibrationOptions, where: str) -> Predictions:
    """The faces that have all that the options ask for.

    Raises:
        ValueError: there are none; `where` names the faces.
    """
    soft, hard = ~np.isnan(predictions.soft_labels).any(axis=1), predictions.labels >= 0
    known = np.where(options.against == "soft", soft, hard) & np.where(options.of == "vote", soft, hard)
    if not known.any():
        raise ValueError(
            f"{where}: of {len(known)} faces {soft.sum()} have a soft label and {hard.sum()} a label, none all that is"
            f" asked for (against {options.against}, of {options.of}); choose other faces or another of these"
        )
    return predictions.take(np.flatnonzero(known))


def fit_uncertainty(predictions: Predictions, options: CalibrationOptions) -> dict:
    """What `config.uncertainty` holds, but for the names of the data; the faces are those of `known_rows`.

    `temperature` is the one to divide the logits of these predictions by, and all else is of the divided ones.
    `abstain_entropy` is in nats, None where no threshold keeps the accuracy, or no face has a label.
    """
    temperature = fit_temperature(predictions.probabilities, _targets(predictions, options.against))
    after = apply_temperature(predictions, temperature)
    labels = after.labels
    if options.of == "vote":
        labels = draw_votes(after.soft_labels, after.image_ids, options.seed)
    fit = fit_class_quantiles if options.per_class else fit_quantile
    known = after.labels >= 0
    entropies, correct = _entropies(after)[known], top_confidence(after)[1]
    return {
        "method": options.method,
        "coverage": options.coverage,
        "of": options.of,
        "quantile": fit(after.probabilities, labels, options.method, options.coverage),
        "abstain_accuracy": options.abstain_accuracy,
        "abstain_confidence": options.abstain_confidence,
        "abstain_entropy": fit_abstain_entropy(
            entropies, correct, options.abstain_accuracy, options.abstain_confidence
        ),
        "temperature": temperature,
        "against": options.against,
        "rows": len(after.image_ids),
        "share": options.share,
        "seed": options.seed,
    }


def apply_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """What the model says once its logits are divided by `temperature`."""
    return replace(predictions, probabilities=soften(predictions.probabilities, temperature))


def measure_uncertainty(predictions: Predictions, uncertainty: dict) -> dict:
    """How well predictions keep what `uncertainty` promises; NaN where no face tells.

    `kl`: mean KL from what the temperature was fitted against, nats. `ece` and `ece_soft`: of the top
    class against the label, and against the mass that the soft label has on it.
    `covered`: how often the prediction set holds the truth; of votes, the mean mass of the soft label in the set.
    `covered_by_class`: the same of the faces of each class, or of the votes for it. `set_size`: its mean number of
    classes. `answered`: share of the faces with a label that the model does not abstain from, and `answered_accuracy`
    its accuracy on them; both are of all of these where there is no threshold.
    """
    sets = prediction_set(torch.from_numpy(predictions.probabilities), uncertainty).numpy()
    truth = _targets(predictions, "hard" if uncertainty["of"] == "label" else "soft")
    known = predictions.labels >= 0
    threshold = uncertainty["abstain_entropy"]
    answered = _entropies(predictions)[known] <= (math.inf if threshold is None else threshold)
    correct = top_confidence(predictions)[1]
    soft = ~np.isnan(predictions.soft_labels).any(axis=1)
    confidence, mass = top_mass(predictions.probabilities[soft], predictions.soft_labels[soft])
    return {
        "kl": float(kl_divergence(_targets(predictions, uncertainty["against"]), predictions.probabilities).mean()),
        "ece": expected_calibration_error(*top_confidence(predictions)),
        "ece_soft": expected_calibration_error(confidence, np.minimum(mass, 1)),  # rescaling may round above 1
        "covered": float((truth * sets).sum(axis=1).mean()),
        "covered_by_class": dict(zip(predictions.names, covered_by_class(truth, sets), strict=True)),
        "set_size": float(sets.sum(axis=1).mean()),
        "answered": float(answered.mean()) if len(answered) else math.nan,
        "answered_accuracy": float(correct[answered].mean()) if answered.any() else math.nan,
    }


def covered_by_class(truth: np.ndarray, sets: np.ndarray) -> list[float]:
    """How often the set holds a class, of the faces of it, or of the votes for it; NaN where there is none."""
    of_class = truth.sum(axis=0)
    return np.divide(
        (truth * sets).sum(axis=0), of_class, out=np.full_like(of_class, np.nan), where=of_class > 0
    ).tolist()


def _targets(predictions: Predictions, kind: str) -> np.ndarray:
    """(n, classes) soft labels or one-hot labels, NaN where unknown."""
    if kind == "soft":
        return predictions.soft_labels
    one_hot = np.eye(len(predictions.names))[predictions.labels]
    return np.where((predictions.labels >= 0)[:, None], one_hot, np.nan)


def _entropies(predictions: Predictions) -> np.ndarray:
    return entropy(predictions.probabilities, axis=1)


def format_calibration(found: Calibration) -> str:
    """The dict of `calibrate` as lines for a terminal, with what the user has to know of it."""
    uncertainty, before, after = found["uncertainty"], found["before"], found["after"]
    coverage, threshold = uncertainty["coverage"], uncertainty["abstain_entropy"]
    truth = {"label": "the label", "vote": "one random vote"}[uncertainty["of"]]
    lines = [
        f"{uncertainty['rows']} faces of {uncertainty['data']}, {uncertainty['split']} split,"
        f" {uncertainty['view']} view; {found['left_out']} more left out, for which something is not known",
        f"temperature {uncertainty['temperature']:.4f}, fitted against {uncertainty['against']} labels",
        f"KL from these, nats      {before['kl']:.4f} -> {after['kl']:.4f}",
        f"ECE against labels       {before['ece']:.4f} -> {after['ece']:.4f}",
        f"ECE against soft labels  {before['ece_soft']:.4f} -> {after['ece_soft']:.4f}",
        f"prediction set ({uncertainty['method']}): {truth} in {after['covered']:.1%}, promised {coverage:.1%};"
        f" {after['set_size']:.2f} classes on average",
    ]
    by_class = ", ".join(f"{name} {share:.0%}" for name, share in after["covered_by_class"].items() if share == share)
    lines.append(f"of each emotion: {by_class}")
    if uncertainty["quantile"] == 1:
        lines.append(
            f"every class is in every set: a coverage of {coverage} takes {fewest_rows(coverage)} faces at least, and"
            " a model that does not call the truth impossible"
        )
    asked = f"an accuracy of {uncertainty['abstain_accuracy']:.1%}"
    if confidence := uncertainty["abstain_confidence"]:
        asked += f" of new faces with a probability of {confidence:.0%}"
    if math.isnan(after["answered"]):
        lines.append("abstaining: never, since no face has a label to tell when")
    elif threshold is None:
        lines.append(f"abstaining: never, since no threshold of entropy reaches {asked}")
    else:
        lines.append(
            f"abstaining above an entropy of {threshold:.4f}, for {asked}: {after['answered']:.1%} of faces answered,"
            f" {after['answered_accuracy']:.1%} right"
        )
    lines.append("These figures are of the faces of the fit itself, and so better than those of new faces will be.")
    return "\n".join(lines)

"""What people read of the model's output. Travels with every published model, so it needs torch only."""

import torch
from torch import Tensor


def answers(config, logits: Tensor, valence_arousal: Tensor) -> list[dict]:
    """One dict per face.

    `label`: the most probable class, the first one of several; `soft_label`: class name -> probability, of every
    class, summing to 1; `valence` and `arousal` in [-1, 1], None from a model that was trained without them;
    `entropy` of the soft label in nats, from 0 (sure) to ln(classes) (no idea). Where the model was calibrated
    (`config.uncertainty`) also `prediction_set`: names, most probable first, of which one is the truth as often as
    `config.uncertainty["coverage"]` says; and `abstain`: whether the entropy is above the threshold, if there is one.

    Args:
        config: the model's `AffectNetPlusConfig`.
        logits: (batch, classes), any float type; computed in float64. The model has divided them by its temperature.
        valence_arousal: (batch, 2).

    Raises:
        ValueError: a logit is not finite, or the uncertainty names a method that is none of `nonconformity`.
    """
    bad = ~logits.isfinite().all(dim=1)
    if bad.any():
        row = int(bad.int().argmax())
        raise ValueError(f"row {row}: the logits are {logits[row].tolist()}, expected finite ones: check the weights")
    probabilities = logits.double().softmax(dim=1).cpu()
    entropy = torch.special.entr(probabilities).sum(dim=1)
    order = _most_probable_first(probabilities)
    names = [config.id2label[index] for index in range(config.num_labels)]
    known = bool(config.valence_arousal_weight)
    affect = valence_arousal.double().tolist() if known else [[None, None]] * len(logits)
    found = [
        {
            "label": names[int(order[row, 0])],
            "soft_label": dict(zip(names, probabilities[row].tolist(), strict=True)),
            "valence": affect[row][0],
            "arousal": affect[row][1],
            "entropy": float(entropy[row]),
        }
        for row in range(len(logits))
    ]
    if config.uncertainty is not None:
        members = prediction_set(probabilities, config.uncertainty)
        threshold = config.uncertainty["abstain_entropy"]
        for row, answer in enumerate(found):
            answer["prediction_set"] = [names[index] for index in order[row].tolist() if members[row, index]]
            answer["abstain"] = threshold is not None and answer["entropy"] > threshold
    return found


def prediction_set(probabilities: Tensor, uncertainty: dict) -> Tensor:
    """Which classes are in the prediction set of each face: (batch, classes) bool, at least one of each row.

    Those whose `nonconformity` is at most the quantile, and the most probable class always, which can only raise the
    coverage. A quantile of 1 takes every class.

    Args:
        probabilities: (batch, classes), rows that sum to 1.
        uncertainty: `method` and `quantile`, as `affectnet-plus calibrate` writes them: one number, or one of each
            class.

    Raises:
        ValueError: the method is none of `nonconformity`.
    """
    quantile = torch.as_tensor(uncertainty["quantile"], dtype=torch.float64)
    members = nonconformity(probabilities, uncertainty["method"]) <= quantile
    return members.scatter(1, _most_probable_first(probabilities)[:, :1], True)


def nonconformity(probabilities: Tensor, method: str) -> Tensor:
    """How badly each class fits, (batch, classes) float64 in [0, 1]; the quantile is one of the true classes' scores.

    "threshold": 1 - p (Sadinle, Lei & Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error
    levels"). "aps": the probability of all classes that are at least as probable, itself included (Romano, Sesia &
    Candes 2020, "Classification with valid and adaptive coverage", without its randomisation, so that the same face
    has the same set each time).

    Args:
        probabilities: (batch, classes), rows that sum to 1.

    Raises:
        ValueError: the method is another one.
    """
    probabilities = probabilities.double()
    if method == "threshold":
        return 1 - probabilities
    if method == "aps":
        as_probable = probabilities[:, None, :] >= probabilities[:, :, None]
        # Rounding may bring the sum of all classes above 1, and a quantile of 1 would leave one out.
        return torch.where(as_probable, probabilities[:, None, :], 0.0).sum(dim=2).clamp(max=1)
    raise ValueError(f"the uncertainty's method is {method!r}, expected 'threshold' or 'aps'; calibrate again")


def _most_probable_first(probabilities: Tensor) -> Tensor:
    return probabilities.argsort(dim=1, descending=True, stable=True)

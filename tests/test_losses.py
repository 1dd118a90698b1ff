"""Both losses against scipy, torch and numpy in float64, worked values, their gradients and their edges."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch.nn import functional

from affectnet_plus_modeling.vit.losses import soft_label_loss, valence_arousal_loss

NAN = float("nan")
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.3, 4.0, 1.5, 0.7, 3.0])


def some_logits(rows=12, seed=0, scale=3.0) -> torch.Tensor:
    return scale * torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))


def some_soft_labels(rows=12, seed=1, concentration=0.5) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).dirichlet(np.full(8, concentration), rows), dtype=torch.float32)


def some_affect(rows=12, seed=2) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).uniform(-1, 1, (rows, 2)), dtype=torch.float32)


def gradient(loss, point: torch.Tensor, *rest) -> torch.Tensor:
    """The gradient at `point`; a NaN anywhere on the way to it is an error, even one that a mask hides later."""
    point = point.clone().requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        loss(point, *rest).backward()
    return point.grad


def numerical_gradient(loss, point: np.ndarray, step=1e-6) -> np.ndarray:
    slopes = np.empty_like(point)
    for index in np.ndindex(point.shape):
        moved = [point.copy(), point.copy()]
        moved[0][index] -= step
        moved[1][index] += step
        slopes[index] = (loss(moved[1]) - loss(moved[0])) / (2 * step)
    return slopes


# ---- soft labels: values


def weighted_kl(logits, soft, class_weights, smoothing) -> float:
    """The formula of the docstring, row by row, with scipy's relative entropy in float64."""
    total = weights = 0.0
    for row, target in zip(logits.double().numpy(), soft.double().numpy(), strict=True):
        weight = float(class_weights.double().numpy() @ target)
        total += weight * entropy((1 - smoothing) * target + smoothing / len(target), softmax(row))
        weights += weight
    return total / weights


def test_it_is_the_mean_of_scipys_relative_entropy():
    logits, soft = some_logits(), some_soft_labels()
    expected = entropy(soft.double().numpy(), softmax(logits.double().numpy(), axis=1), axis=1).mean()
    assert float(soft_label_loss(logits, soft)) == pytest.approx(expected, rel=1e-5)


def test_it_is_torchs_kl_divergence_of_the_batch():
    logits, soft = some_logits(), some_soft_labels()
    expected = torch.nn.KLDivLoss(reduction="batchmean")(logits.double().log_softmax(dim=1), soft.double())
    assert float(soft_label_loss(logits, soft)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_face_weighs_what_its_own_soft_label_says(smoothing):
    logits, soft = some_logits(), some_soft_labels()
    expected = weighted_kl(logits, soft, WEIGHTS, smoothing)
    assert float(soft_label_loss(logits, soft, WEIGHTS, smoothing)) == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(weighted_kl(logits, soft, torch.ones(8), smoothing), rel=1e-3)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_on_one_hot_labels_it_is_torchs_cross_entropy(weights):
    logits, labels = some_logits(), torch.arange(12) % 8
    loss = soft_label_loss(logits, functional.one_hot(labels, 8).float(), weights)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels, weight=weights))


def test_smoothing_is_torchs_label_smoothing_less_the_entropy_of_the_target():
    logits, labels = some_logits(), torch.arange(12) % 8
    loss = soft_label_loss(logits, functional.one_hot(labels, 8).float(), label_smoothing=0.1)
    smoothed = [0.9 + 0.1 / 8] + [0.1 / 8] * 7
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1) - entropy(smoothed)
    torch.testing.assert_close(loss, expected)


def test_a_value_worked_by_hand_with_weights_and_smoothing():
    # Predictions (3/4, 1/4) and (1/2, 1/2), smoothed targets (0.9, 0.1) and (0.1, 0.9), faces that weigh 1 and 3:
    # KL_1 = 0.9 ln(0.9 / 0.75) + 0.1 ln(0.1 / 0.25) = 0.0724603, KL_2 = 0.1 ln 0.2 + 0.9 ln 1.8 = 0.3680642.
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log()
    loss = soft_label_loss(logits, torch.eye(2), torch.tensor([1.0, 3.0]), label_smoothing=0.2)
    assert float(loss) == pytest.approx((0.0724603 + 3 * 0.3680642) / 4, abs=1e-6)


def test_only_the_ratio_of_class_weights_matters():
    logits, soft = some_logits(), some_soft_labels()
    torch.testing.assert_close(soft_label_loss(logits, soft, 7 * WEIGHTS), soft_label_loss(logits, soft, WEIGHTS))


def test_a_perfect_prediction_costs_nothing():
    soft = some_soft_labels(concentration=5)
    assert float(soft_label_loss(soft.log(), soft, WEIGHTS)) == pytest.approx(0, abs=1e-6)


# ---- soft labels: gradients


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_gradient_is_the_weighted_difference_of_the_distributions(weights, smoothing):
    logits, soft = some_logits(), some_soft_labels()
    shares = torch.ones(12) if weights is None else soft @ weights
    target = (1 - smoothing) * soft + smoothing / 8
    expected = (shares / shares.sum())[:, None] * (logits.softmax(dim=1) - target)
    torch.testing.assert_close(gradient(soft_label_loss, logits, soft, weights, smoothing), expected)


def test_the_gradient_is_the_slope_of_scipys_relative_entropy():
    logits, soft = some_logits(rows=4), some_soft_labels(rows=4)
    slopes = numerical_gradient(
        lambda point: weighted_kl(torch.tensor(point), soft, WEIGHTS, 0.1), logits.double().numpy()
    )
    found = gradient(soft_label_loss, logits, soft, WEIGHTS, 0.1)
    np.testing.assert_allclose(found.numpy(), slopes, atol=1e-6)


def test_class_weights_leave_the_minimum_at_the_soft_label():
    soft = some_soft_labels(concentration=5)
    assert gradient(soft_label_loss, soft.log(), soft, WEIGHTS).abs().max() < 1e-7
    assert gradient(soft_label_loss, soft.log() + some_logits(), soft, WEIGHTS).abs().max() > 1e-2


# ---- soft labels: edges


def test_zeros_in_a_target_add_nothing():
    logits = some_logits(rows=1)
    target = torch.tensor([[0.5, 0.5, 0, 0, 0, 0, 0, 0]])
    by_hand = 0.5 * (np.log(0.5) * 2 - log_softmax(logits.double().numpy())[0, :2].sum())
    assert float(soft_label_loss(logits, target)) == pytest.approx(by_hand, rel=1e-5)
    assert gradient(soft_label_loss, logits, target).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype):
    logits = torch.full((2, 8), -16384.0)  # exact in bfloat16
    logits[:, 0] = 16384.0
    labels = torch.tensor([0, 3])
    soft = functional.one_hot(labels, 8).float()
    assert float(soft_label_loss(logits.to(dtype), soft)) == 32768 / 2
    slope = gradient(soft_label_loss, logits.to(dtype), soft).float()
    expected = torch.zeros(2, 8)
    expected[1, 0], expected[1, 3] = 0.5, -0.5
    torch.testing.assert_close(slope, expected)


def test_bfloat16_logits_are_computed_in_float32():
    logits, soft = some_logits().bfloat16(), some_soft_labels()
    loss = soft_label_loss(logits, soft, WEIGHTS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_label_loss(logits.float(), soft, WEIGHTS), rtol=0, atol=0)
    assert gradient(soft_label_loss, logits, soft).dtype == torch.bfloat16


def test_float64_soft_labels_are_taken():
    logits, soft = some_logits(), some_soft_labels()
    torch.testing.assert_close(soft_label_loss(logits, soft.double()), soft_label_loss(logits, soft))


def test_the_layout_of_memory_does_not_matter():
    logits, soft = some_logits(), some_soft_labels()
    apart = [tensor.t().contiguous().t() for tensor in (logits, soft)]
    assert not any(tensor.is_contiguous() for tensor in apart)
    torch.testing.assert_close(soft_label_loss(*apart, WEIGHTS), soft_label_loss(logits, soft, WEIGHTS))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_unknown_rows_are_left_out(weights, smoothing):
    logits, soft = some_logits(), some_soft_labels()
    holed = soft.clone()
    holed[2] = NAN
    holed[7, 3] = NAN  # one NaN makes the row unknown
    rest = [row for row in range(12) if row not in (2, 7)]
    expected = soft_label_loss(logits[rest], soft[rest], weights, smoothing)
    torch.testing.assert_close(soft_label_loss(logits, holed, weights, smoothing), expected)
    slope = gradient(soft_label_loss, logits, holed, weights, smoothing)
    torch.testing.assert_close(slope[rest], gradient(soft_label_loss, logits[rest], soft[rest], weights, smoothing))
    assert (slope[[2, 7]] == 0).all()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_without_a_known_row_the_loss_and_its_gradient_are_zero(rows, weights):
    logits, soft = some_logits(rows), torch.full((rows, 8), NAN)
    assert float(soft_label_loss(logits, soft, weights)) == 0
    assert (gradient(soft_label_loss, logits, soft, weights) == 0).all()


def test_one_row_is_its_own_mean_whatever_it_weighs():
    logits, soft = some_logits(rows=1), some_soft_labels(rows=1)
    expected = entropy(soft[0].double(), softmax(logits[0].double()))
    for weights in (None, WEIGHTS, 1e-6 * WEIGHTS):
        assert float(soft_label_loss(logits, soft, weights)) == pytest.approx(expected, rel=1e-5)


# ---- valence and arousal


def reference_affect(predicted, target) -> float:
    """(1 - CCC) + mean squared error of each dimension's known values by numpy in float64; 0 where there are none."""
    predicted, target = np.asarray(predicted, dtype=float), np.asarray(target, dtype=float)
    total = 0.0
    for dimension in range(2):
        known = ~np.isnan(target[:, dimension])
        if known.any():
            p, t = predicted[known, dimension], target[known, dimension]
            spread = p.var() + t.var() + (p.mean() - t.mean()) ** 2
            total += 1 - 2 * np.cov(p, t, bias=True)[0, 1] / spread + np.mean((p - t) ** 2)
    return total / 2


def with_holes(affect: torch.Tensor) -> torch.Tensor:
    """The same with 3 valences and 1 arousal unknown, one face of them both."""
    affect = affect.clone()
    affect[[0, 3, 5], 0] = NAN
    affect[3, 1] = NAN
    return affect


@pytest.mark.parametrize("holes", [lambda affect: affect, with_holes])
def test_affect_is_the_concordance_and_the_squared_error(holes):
    predicted, target = some_affect(seed=3), holes(some_affect(seed=4))
    expected = reference_affect(predicted, target)
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx(expected, rel=1e-5)


def test_an_affect_value_worked_by_hand():
    # Valence: means 0 and 0.25, variances 0.25 and 0.0625, covariance 0.125: CCC = 0.25 / (0.3125 + 0.0625) = 2/3,
    # squared error (0 + 0.25) / 2 = 0.125. Arousal is right: CCC = 1, no error.
    predicted = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])
    target = torch.tensor([[0.5, -0.5], [0.0, 0.5]])
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx((1 / 3 + 0.125) / 2, abs=1e-6)


@pytest.mark.parametrize("holes", [lambda affect: affect, with_holes])
def test_the_affect_gradient_is_the_slope_of_the_reference(holes):
    predicted, target = some_affect(rows=6, seed=3), holes(some_affect(rows=6, seed=4))
    slopes = numerical_gradient(lambda point: reference_affect(point, target), predicted.double().numpy())
    found = gradient(valence_arousal_loss, predicted, target)
    np.testing.assert_allclose(found.numpy(), slopes, atol=1e-5)
    assert (found[target.isnan()] == 0).all()
    assert (found[~target.isnan()].abs() > 1e-4).all()


def test_the_unknown_values_of_a_prediction_do_not_matter():
    predicted, target = some_affect(seed=3), with_holes(some_affect(seed=4))
    other = torch.where(target.isnan(), 0.9, predicted)
    assert valence_arousal_loss(predicted, target) == valence_arousal_loss(other, target)


def test_a_perfect_affect_costs_nothing():
    target = with_holes(some_affect())
    assert float(valence_arousal_loss(target.nan_to_num(), target)) == pytest.approx(0, abs=1e-6)


def test_one_face_is_pulled_by_its_squared_error_alone():
    predicted, target = torch.tensor([[0.5, -0.25]]), torch.tensor([[0.0, 0.25]])
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx(1 + 0.25, abs=1e-6)
    torch.testing.assert_close(gradient(valence_arousal_loss, predicted, target), predicted - target)


def test_a_constant_batch_is_pulled_by_its_squared_error_alone():
    predicted, target = torch.full((4, 2), 0.3), torch.full((4, 2), -0.1)
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx(1 + 0.16, abs=1e-5)
    slope = gradient(valence_arousal_loss, predicted, target)
    torch.testing.assert_close(slope, torch.full((4, 2), 0.4 * 2 / 4 / 2))


def test_a_constant_and_right_batch_has_a_finite_gradient():
    constant = torch.full((4, 2), 0.3)
    assert float(valence_arousal_loss(constant, constant)) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(gradient(valence_arousal_loss, constant, constant), torch.zeros(4, 2))


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_without_a_known_affect_the_loss_and_its_gradient_are_zero(rows):
    predicted, target = some_affect(rows), torch.full((rows, 2), NAN)
    assert float(valence_arousal_loss(predicted, target)) == 0
    assert (gradient(valence_arousal_loss, predicted, target) == 0).all()


def test_a_dimension_nobody_knows_adds_nothing():
    predicted, target = some_affect(seed=3), some_affect(seed=4)
    target[:, 0] = NAN
    expected = reference_affect(predicted, target)
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx(expected, rel=1e-5)
    slope = gradient(valence_arousal_loss, predicted, target)
    assert (slope[:, 0] == 0).all() and (slope[:, 1] != 0).all()


def test_bfloat16_affect_is_computed_in_float32():
    predicted, target = some_affect(seed=3).bfloat16(), with_holes(some_affect(seed=4))
    loss = valence_arousal_loss(predicted, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, valence_arousal_loss(predicted.float(), target), rtol=0, atol=0)
    assert gradient(valence_arousal_loss, predicted, target).isfinite().all()


def test_the_layout_of_affect_in_memory_does_not_matter():
    predicted, target = some_affect(seed=3), with_holes(some_affect(seed=4))
    apart = predicted.t().contiguous().t()
    assert not apart.is_contiguous()
    torch.testing.assert_close(valence_arousal_loss(apart, target), valence_arousal_loss(predicted, target))

"""The losses of soft labels against scipy and torch in float64, worked values, their gradients and their edges."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch.nn import functional

from affectnet_plus_modeling.vit.configuration_affectnet_plus import LOSSES
from affectnet_plus_modeling.vit.losses import soft_label_loss, soft_label_sums, soft_label_weights

NAN = float("nan")
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.3, 4.0, 1.5, 0.7, 3.0])


def some_logits(rows=12, seed=0, scale=3.0) -> torch.Tensor:
    return scale * torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))


def some_soft_labels(rows=12, seed=1, concentration=0.5) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).dirichlet(np.full(8, concentration), rows), dtype=torch.float32)


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


# ---- values


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


# ---- gradients


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


# ---- edges


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


# ---- other divergences


def reference(kind: str, logits, soft) -> np.ndarray:
    """The divergence of each row by scipy in float64."""
    predicted, soft = softmax(logits.double().numpy(), axis=1), soft.double().numpy()
    if kind == "js":
        return np.array([jensenshannon(*pair) ** 2 for pair in zip(predicted, soft, strict=True)])
    return entropy(soft, predicted, axis=1) + (entropy(soft, axis=1) if kind == "cross_entropy" else 0)


@pytest.mark.parametrize("kind", LOSSES)
def test_every_kind_is_that_of_scipy(kind):
    logits, soft = some_logits(), some_soft_labels()
    assert float(soft_label_loss(logits, soft, kind=kind)) == pytest.approx(
        reference(kind, logits, soft).mean(), rel=1e-5
    )


@pytest.mark.parametrize("kind", LOSSES)
def test_the_gradient_of_every_kind_is_the_slope_of_scipy(kind):
    logits, soft = some_logits(rows=4), some_soft_labels(rows=4)
    slopes = numerical_gradient(
        lambda point: reference(kind, torch.tensor(point), soft).mean(), logits.double().numpy()
    )
    found = gradient(lambda point: soft_label_loss(point, soft, kind=kind), logits)
    np.testing.assert_allclose(found.numpy(), slopes, atol=1e-6)


def test_cross_entropy_is_torchs_with_probabilities_as_its_target():
    logits, soft = some_logits(), some_soft_labels()
    loss = soft_label_loss(logits, soft, None, 0.1, kind="cross_entropy")
    torch.testing.assert_close(loss, functional.cross_entropy(logits, soft, label_smoothing=0.1))


def test_cross_entropy_and_kl_pull_alike():
    logits, soft = some_logits(), some_soft_labels()
    pulls = [
        gradient(lambda point, kind=kind: soft_label_loss(point, soft, WEIGHTS, 0.1, kind=kind), logits)
        for kind in ("kl", "cross_entropy")
    ]
    torch.testing.assert_close(*pulls)


def test_the_jensen_shannon_divergence_of_distributions_without_overlap_is_ln_2():
    logits = torch.tensor([[100.0, 0.0], [16384.0, -16384.0]])
    right, wrong = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.0, 1.0]] * 2)
    assert float(soft_label_loss(logits, wrong, kind="js")) == pytest.approx(np.log(2), rel=1e-6)
    assert float(soft_label_loss(logits, right, kind="js")) == pytest.approx(0, abs=1e-6)
    assert gradient(lambda point: soft_label_loss(point, wrong, kind="js"), logits).abs().max() < 1e-6


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind of loss is 'emd'; it must be 'kl', 'js' or 'cross_entropy'"):
        soft_label_loss(some_logits(), some_soft_labels(), kind="emd")


# ---- temperature and the weights of faces


@pytest.mark.parametrize("kind", LOSSES)
def test_the_temperature_divides_the_logits(kind):
    logits, soft = some_logits(), some_soft_labels()
    found = soft_label_loss(logits, soft, kind=kind, temperature=2.5)
    assert float(found) == pytest.approx(reference(kind, logits / 2.5, soft).mean(), rel=1e-5)
    slope = gradient(lambda point: soft_label_loss(point, soft, kind=kind, temperature=2.5), logits)
    at = gradient(lambda point: soft_label_loss(point, soft, kind=kind), logits / 2.5)
    torch.testing.assert_close(slope, at / 2.5)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_weight_of_a_face_is_that_of_numpys_average(kind):
    logits, soft = some_logits(), some_soft_labels()
    given = torch.linspace(0, 2, 12)
    expected = np.average(reference(kind, logits, soft), weights=given.double().numpy())
    assert float(soft_label_loss(logits, soft, kind=kind, sample_weights=given)) == pytest.approx(expected, rel=1e-5)
    both = given.double().numpy() * (soft.double() @ WEIGHTS.double()).numpy()
    expected = np.average(reference(kind, logits, soft), weights=both)
    found = soft_label_loss(logits, soft, WEIGHTS, kind=kind, sample_weights=given)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_face_of_weight_two_is_that_face_twice():
    logits, soft = some_logits(rows=3), some_soft_labels(rows=3)
    rows = [0, 1, 1, 2]
    found = soft_label_loss(logits, soft, WEIGHTS, sample_weights=torch.tensor([1.0, 2.0, 1.0]))
    torch.testing.assert_close(found, soft_label_loss(logits[rows], soft[rows], WEIGHTS))


def test_faces_that_all_weigh_nothing_give_a_loss_and_a_gradient_of_zero():
    logits, soft, nothing = some_logits(), some_soft_labels(), torch.zeros(12)
    assert float(soft_label_loss(logits, soft, sample_weights=nothing)) == 0
    assert (gradient(lambda point: soft_label_loss(point, soft, sample_weights=nothing), logits) == 0).all()


def test_the_weights_are_known_before_any_prediction():
    soft, given = some_soft_labels(), torch.linspace(0, 2, 12)
    soft[3, 2] = NAN
    weights = soft_label_weights(soft, WEIGHTS, given)
    expected = given * (soft.nan_to_num() @ WEIGHTS)
    expected[3] = 0
    torch.testing.assert_close(weights, expected)
    assert torch.equal(soft_label_weights(soft), (~soft.isnan().any(dim=1)).float())
    total, weight = soft_label_sums(some_logits(), soft, WEIGHTS, sample_weights=given)
    torch.testing.assert_close(weight, expected.sum())
    assert total / weight == soft_label_loss(some_logits(), soft, WEIGHTS, sample_weights=given)


def test_class_weights_may_be_a_list():
    logits, soft = some_logits(), some_soft_labels()
    assert soft_label_loss(logits, soft, WEIGHTS.tolist()) == soft_label_loss(logits, soft, WEIGHTS)


def test_float64_logits_are_computed_in_float64():
    logits, soft = some_logits().double(), some_soft_labels().double()
    soft /= soft.sum(dim=1, keepdim=True)  # in float32 they summed to 1 up to 1e-8 only
    found = soft_label_loss(logits, soft, WEIGHTS.double())
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(weighted_kl(logits, soft, WEIGHTS, 0), rel=1e-12)

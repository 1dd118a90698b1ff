"""The loss of valence and arousal against numpy in float64, worked values, its gradient and its edges."""

import numpy as np
import pytest
import torch

from affectnet_plus_modeling.vit.losses import affect_moments, valence_arousal_loss, valence_arousal_loss_of

NAN = float("nan")


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


# ---- sums over faces


def test_the_moments_are_the_sums_over_known_values():
    predicted, target = some_affect(seed=3), with_holes(some_affect(seed=4))
    moments = affect_moments(predicted, target)
    assert moments.shape == (6, 2) and moments.dtype == torch.float64
    for dimension in range(2):
        known = ~target[:, dimension].isnan().numpy()
        p, t = (values[:, dimension].double().numpy()[known] for values in (predicted, target))
        expected = [len(p), p.sum(), t.sum(), p @ p, t @ t, p @ t]
        np.testing.assert_allclose(moments[:, dimension].numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("spread", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 0])
@pytest.mark.parametrize("middle", [0.0, 0.9])
def test_a_small_spread_costs_no_digits(spread, middle):
    """Against the centred formula in float64; sums of squares in float32 would lose all digits at 1e-3."""
    p, t = (middle + spread * some_affect(rows=1000, seed=seed).double() for seed in (3, 4))
    centred_p, centred_t = p - p.mean(dim=0), t - t.mean(dim=0)
    covariance = (centred_p * centred_t).mean(dim=0)
    denominator = centred_p.square().mean(dim=0) + centred_t.square().mean(dim=0)
    denominator += (p.mean(dim=0) - t.mean(dim=0)).square() + 1e-8
    expected = (1 - 2 * covariance / denominator + (p - t).square().mean(dim=0)).mean()
    assert float(valence_arousal_loss(p, t)) == pytest.approx(float(expected), abs=1e-7)


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_the_gradient_at_a_small_spread_is_that_of_the_centred_formula(spread):
    def centred(p, t):
        centred_p, centred_t = p - p.mean(dim=0), t - t.mean(dim=0)
        spreads = centred_p.square().mean(dim=0) + centred_t.square().mean(dim=0)
        denominator = spreads + (p.mean(dim=0) - t.mean(dim=0)).square() + 1e-8
        concordance = 2 * (centred_p * centred_t).mean(dim=0) / denominator
        return (1 - concordance + (p - t).square().mean(dim=0)).mean()

    p, t = (0.9 + spread * some_affect(seed=seed).double() for seed in (3, 4))
    expected = gradient(centred, p, t)
    torch.testing.assert_close(gradient(valence_arousal_loss, p, t), expected, rtol=1e-5, atol=1e-8)
    assert expected.abs().max() > 1e-3, "premise: there is something to get wrong"


def test_the_loss_is_a_function_of_the_moments():
    predicted, target = some_affect(seed=3), with_holes(some_affect(seed=4))
    whole = valence_arousal_loss_of(affect_moments(predicted, target))
    assert whole.dtype == torch.float64
    assert float(whole) == pytest.approx(reference_affect(predicted, target), rel=1e-7)
    assert float(valence_arousal_loss(predicted, target)) == pytest.approx(float(whole), rel=1e-6)


def test_float64_affect_gives_a_float64_loss():
    predicted, target = some_affect(seed=3).double(), some_affect(seed=4)
    assert valence_arousal_loss(predicted, target).dtype == torch.float64

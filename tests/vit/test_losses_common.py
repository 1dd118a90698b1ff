"""What every loss must do, and what the model makes of the losses of its configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.configuration_affectnet_plus import LOSSES
from affectnet_plus_modeling.vit.losses import (
    affect_moments,
    soft_label_loss,
    soft_label_loss_of,
    soft_label_sums,
    valence_arousal_loss,
    valence_arousal_loss_of,
)

NAN = float("nan")
ROWS, UNKNOWN = 12, [2, 7]
EVERY = slice(None)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.3, 4.0, 1.5, 0.7, 3.0])


@dataclass
class Loss:
    """A loss with what the common tests need to know of it.

    Attributes:
        value: (predicted, target, **rest) -> scalar; rest holds what each face has besides.
        sums: the same -> tensors that add up over parts of a batch.
        of: those sums -> the loss.
        perfect: target -> the prediction that is nearest to it.
        least: target -> the loss of that prediction.
    """

    name: str
    value: Callable
    sums: Callable
    of: Callable
    perfect: Callable
    least: Callable
    predicted: Tensor
    target: Tensor
    rest: dict[str, Tensor]


def soft(name: str, **options) -> Loss:
    generator = np.random.default_rng(5)
    rest = {"sample_weights": torch.tensor(generator.uniform(0.1, 2, ROWS))} if options.pop("weighted", False) else {}
    smoothing = options.get("label_smoothing", 0.0)

    def smooth(target):
        return (1 - smoothing) * target + smoothing / 8

    def least(target, **rest):
        if options["kind"] != "cross_entropy":
            return torch.tensor(0.0, dtype=target.dtype)
        weights = rest.get("sample_weights", 1) * (target @ WEIGHTS.to(target) if "class_weights" in options else 1)
        entropies = -torch.xlogy(smooth(target), smooth(target)).sum(dim=1)
        return (weights * entropies).sum() / (weights * torch.ones(len(target))).sum()

    return Loss(
        name,
        partial(soft_label_loss, **options),
        partial(soft_label_sums, **options),
        lambda sums: soft_label_loss_of(*sums),
        lambda target: options.get("temperature", 1.0) * smooth(target).log(),
        least,
        3 * torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        torch.tensor(generator.dirichlet(np.full(8, 2.0), ROWS)),
        rest,
    )


CASES = [soft(kind, kind=kind) for kind in LOSSES]
CASES += [
    soft(f"{kind}, all options", kind=kind, class_weights=WEIGHTS, label_smoothing=0.1, temperature=2.0, weighted=True)
    for kind in LOSSES
]
CASES.append(
    Loss(
        "valence and arousal",
        valence_arousal_loss,
        lambda predicted, target: (affect_moments(predicted, target),),
        lambda sums: valence_arousal_loss_of(*sums),
        lambda target: target,
        lambda target: torch.tensor(0.0, dtype=target.dtype),
        torch.tensor(np.random.default_rng(6).uniform(-0.9, 0.9, (ROWS, 2))),
        torch.tensor(np.random.default_rng(7).uniform(-0.9, 0.9, (ROWS, 2))),
        {},
    )
)
every_loss = pytest.mark.parametrize("loss", CASES, ids=lambda loss: loss.name)


def value(loss: Loss, predicted=None, target=None, rows=EVERY) -> Tensor:
    predicted = loss.predicted if predicted is None else predicted
    target = loss.target if target is None else target
    return loss.value(predicted[rows], target[rows], **{name: given[rows] for name, given in loss.rest.items()})


def gradient(loss: Loss, predicted=None, target=None, rows=EVERY) -> Tensor:
    """The gradient of all rows; a NaN anywhere on the way to it is an error, even one that a mask hides later."""
    point = (loss.predicted if predicted is None else predicted).clone().requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        value(loss, point, target, rows).backward()
    return point.grad


def holed(target: Tensor) -> Tensor:
    target = target.clone()
    target[UNKNOWN] = NAN
    return target


@every_loss
def test_it_is_a_finite_number_above_the_least(loss):
    found = value(loss)
    assert found.shape == () and found.isfinite()
    assert found > loss.least(loss.target, **loss.rest) + 1e-2


@every_loss
def test_a_perfect_prediction_has_the_least_loss_and_no_gradient(loss):
    perfect = loss.perfect(loss.target)
    torch.testing.assert_close(value(loss, perfect), loss.least(loss.target, **loss.rest), atol=5e-8, rtol=1e-12)
    assert gradient(loss, perfect).abs().max() < 1e-7


@every_loss
def test_every_step_away_from_a_perfect_prediction_costs(loss):
    perfect, generator = loss.perfect(loss.target), torch.Generator().manual_seed(3)
    for _ in range(20):
        step = 0.03 * torch.randn(perfect.shape, generator=generator, dtype=perfect.dtype)
        assert value(loss, perfect + step) > value(loss, perfect) + 1e-6


@every_loss
def test_a_step_against_the_gradient_is_downhill(loss):
    slope = gradient(loss)
    assert value(loss, loss.predicted - 1e-3 * slope / slope.norm()) < value(loss)


@every_loss
@pytest.mark.parametrize("sizes", [[12], [1, 11], [5, 4, 3], [1] * 12, [0, 12]], ids=str)
def test_its_sums_add_up_over_any_parts(loss, sizes):
    target = holed(loss.target)
    parts = []
    for rows in torch.arange(ROWS).split(sizes):
        rest = {name: given[rows] for name, given in loss.rest.items()}
        parts.append(loss.sums(loss.predicted[rows], target[rows], **rest))
    added = [torch.stack(values).sum(dim=0) for values in zip(*parts, strict=True)]
    torch.testing.assert_close(loss.of(added), value(loss, target=target), rtol=1e-12, atol=1e-12)


@every_loss
def test_unknown_rows_might_as_well_not_be_there(loss):
    target, known = holed(loss.target), [row for row in range(ROWS) if row not in UNKNOWN]
    torch.testing.assert_close(value(loss, target=target), value(loss, rows=known), rtol=1e-12, atol=0)
    slope = gradient(loss, target=target)
    assert (slope[UNKNOWN] == 0).all()
    torch.testing.assert_close(slope, gradient(loss, rows=known), rtol=1e-9, atol=1e-12)


@every_loss
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_without_a_known_row_it_is_zero_and_so_is_its_gradient(loss, rows):
    nothing = torch.full_like(loss.target, NAN)
    assert value(loss, target=nothing, rows=slice(rows)) == 0
    assert (gradient(loss, target=nothing, rows=slice(rows)) == 0).all()


@every_loss
def test_a_prediction_that_is_no_number_is_never_hidden(loss):
    for row in (0, UNKNOWN[0]):
        broken = loss.predicted.clone()
        broken[row, 1] = NAN
        assert value(loss, broken, holed(loss.target)).isnan(), row
    assert value(loss, broken, torch.full_like(loss.target, NAN)).isnan(), "even if no target is known"


@every_loss
def test_the_order_of_rows_does_not_matter(loss):
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(4))
    target = holed(loss.target)
    torch.testing.assert_close(value(loss, target=target, rows=order), value(loss, target=target), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(loss, rows=order), gradient(loss), rtol=1e-9, atol=1e-12)


@every_loss
def test_float32_is_near_float64(loss):
    found = value(loss, loss.predicted.float(), holed(loss.target).float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), value(loss, target=holed(loss.target)), rtol=1e-5, atol=1e-6)


@every_loss
def test_bfloat16_is_near_float32_and_computed_in_it(loss):
    narrow, target = loss.predicted.bfloat16(), loss.target.float()
    found = value(loss, narrow, target)
    assert found.dtype == torch.float32
    assert found == value(loss, narrow.float(), target)
    torch.testing.assert_close(found, value(loss, loss.predicted.float(), target), rtol=2e-2, atol=1e-3)
    slope = gradient(loss, narrow, target)
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(slope.float(), gradient(loss, narrow.float(), target), rtol=1e-2, atol=1e-6)


@every_loss
def test_the_layout_of_memory_does_not_matter(loss):
    apart = [values.t().contiguous().t() for values in (loss.predicted, loss.target)]
    assert not any(values.is_contiguous() for values in apart)
    torch.testing.assert_close(value(loss, *apart), value(loss), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(loss, *apart), gradient(loss), rtol=1e-9, atol=1e-12)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_extreme_predictions_stay_finite(loss, dtype):
    extreme = torch.where(loss.predicted > 0, 1.0, -1.0)
    wrong = -extreme
    if loss.predicted.shape[1] == 8:
        extreme = 16384 * extreme  # exact in bfloat16
        wrong = torch.eye(8)[extreme.argmin(dim=1)]
    for target in (loss.target, wrong):
        assert value(loss, extreme.to(dtype), target.to(torch.float32)).isfinite()
        assert gradient(loss, extreme.to(dtype), target.to(torch.float32)).isfinite().all()


@every_loss
@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_the_gradient_is_right(loss, rows):
    target = holed(loss.target)
    point = loss.predicted[:rows].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda predicted: value(loss, predicted, target, slice(rows)), point)


@every_loss
def test_the_gradient_is_right_where_a_target_has_zeros(loss):
    target = loss.target.clone()
    target[0] = torch.eye(target.shape[1], dtype=target.dtype)[0]
    target[1] = 0
    target[1, :2] = 0.5
    point = loss.predicted.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda predicted: value(loss, predicted, target), point)


@every_loss
def test_it_compiles_without_a_graph_break(loss):
    target = holed(loss.target)
    compiled = torch.compile(value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(loss, loss.predicted, target), value(loss, target=target))
    torch._dynamo.reset()


# ---- in the model


@pytest.mark.parametrize("kind", LOSSES)
def test_the_model_takes_the_loss_of_its_configuration(kind):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    weights = WEIGHTS.tolist()
    options = {"loss": kind, "class_weights": weights, "label_smoothing": 0.2, "logit_temperature": 1.5}
    config = AffectNetPlusConfig(**shape, image_size=8, patch_size=4, valence_arousal_weight=0.3, **options)
    torch.manual_seed(0)
    model, pixels = AffectNetPlusForSoftLabels(config), torch.randn(ROWS, 3, 8, 8)
    case = soft(kind, kind=kind)
    target, affect, given = holed(case.target).float(), CASES[-1].target.float(), torch.linspace(0, 2, ROWS)
    output = model(pixels, labels=target, valence_arousal=affect, sample_weights=given)
    first = soft_label_loss(output.logits, target, weights, 0.2, kind=kind, sample_weights=given)
    second = valence_arousal_loss(output.valence_arousal, affect)
    torch.testing.assert_close(output.loss, first + 0.3 * second)
    torch.testing.assert_close(model(pixels, labels=target, sample_weights=given).loss, first)
    assert not torch.isclose(first, soft_label_loss(output.logits, target, weights, 0.2, kind=kind), rtol=1e-4)

"""The moving average of the weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from affectnet_plus_modeling.training.ema import WeightAverage


def at(step: int) -> SimpleNamespace:
    return SimpleNamespace(global_step=step)


def walk(model: nn.Module, average: WeightAverage, steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Move the weights at random and average them; gives the weights of each step, the first from before it all."""
    torch.manual_seed(seed)
    average.on_train_begin(None, at(0), None)
    seen = [model.weight.detach().clone()]
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        average.on_step_end(None, at(step), None)
        seen.append(model.weight.detach().clone())
    return seen


def worked(seen: list[torch.Tensor], decay: float) -> torch.Tensor:
    value = seen[0].double()
    for step, weights in enumerate(seen[1:], start=1):
        share = min(decay, (1 + step) / (10 + step))
        value = share * value + (1 - share) * weights.double()
    return value


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_it_is_the_exponential_average_with_a_warm_up(decay):
    model = nn.Linear(3, 2)
    average = WeightAverage(model, decay)
    seen = walk(model, average, 40)
    with average.in_place():
        assert torch.allclose(model.weight.double(), worked(seen, decay), atol=1e-6)


def test_weights_that_stand_still_are_their_own_average():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    average.on_train_begin(None, at(0), None)
    before = model.weight.detach().clone()
    for step in range(1, 9):
        average.on_step_end(None, at(step), None)
    average.keep()
    assert torch.equal(model.weight, before)


def test_the_models_own_weights_are_back_afterwards_even_after_an_error():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    own = walk(model, average, 5)[-1]
    with pytest.raises(KeyError), average.in_place():
        assert not torch.equal(model.weight, own)
        raise KeyError
    assert torch.equal(model.weight, own)


def test_a_saved_average_goes_on_as_if_it_had_never_stopped(tmp_path):
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    whole, first = WeightAverage(one, 0.9), WeightAverage(other, 0.9)
    walk(one, whole, 5)
    walk(other, first, 5)
    first.save(tmp_path / "average.safetensors")
    second = WeightAverage(other, 0.9)
    second.load(tmp_path / "average.safetensors")
    second.on_train_begin(None, at(5), None)
    for model, average in ((one, whole), (other, second)):
        torch.manual_seed(1)
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        average.on_step_end(None, at(6), None)
        average.keep()
    assert torch.equal(one.weight, other.weight)


def test_an_average_of_another_model_is_refused(tmp_path):
    average = WeightAverage(nn.Linear(3, 2), 0.9)
    average.on_train_begin(None, at(0), None)
    average.save(tmp_path / "average.safetensors")
    with pytest.raises(ValueError, match="average.safetensors holds 2 tensors, expected the 1 of the model"):
        WeightAverage(nn.Linear(3, 2, bias=False), 0.9).load(tmp_path / "average.safetensors")
    with pytest.raises(FileNotFoundError):
        WeightAverage(nn.Linear(3, 2), 0.9).load(tmp_path / "nothing")


def test_running_statistics_of_batch_norm_are_averaged_too():
    model = nn.BatchNorm2d(2)
    average = WeightAverage(model, 0.9)
    average.on_train_begin(None, at(0), None)
    model.running_mean.fill_(1.0)
    average.on_step_end(None, at(100), None)
    average.keep()
    torch.testing.assert_close(model.running_mean, torch.full((2,), 0.1))
    assert model.num_batches_tracked == 0

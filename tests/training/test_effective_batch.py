"""The loss and the gradients of a batch that is split over steps and processes are those of the batch."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainingArguments

from affectnet_plus_modeling.training.effective_batch import part_loss, whole_of
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.configuration_affectnet_plus import LOSSES

NAN = float("nan")
ROWS = 12
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 4,
}
OPTIONS = {"class_weights": [0.5, 1.0, 2.0, 0.3, 4.0, 1.5, 0.7, 3.0], "label_smoothing": 0.1}
OPTIONS |= {"valence_arousal_weight": 0.7}
UNEVEN = [[12], [5, 7], [1, 8, 3], [4, 1, 6, 1]]
TWO_PROCESSES = [[[5], [7]], [[1, 6], [3, 2]], [[2, 2, 1], [4, 1, 2]]]


def tiny(**options) -> AffectNetPlusForSoftLabels:
    """In float64, in training mode."""
    torch.manual_seed(0)
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**(SHAPE | OPTIONS | options))).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model


def some_faces() -> dict[str, Tensor]:
    """Faces of which some things are unknown: of the first five no soft label, of rows 5 to 7 no arousal, and more."""
    generator = torch.Generator().manual_seed(1)
    soft = (2 * torch.randn(ROWS, 8, generator=generator, dtype=torch.float64)).softmax(dim=1)
    affect = torch.rand(ROWS, 2, generator=generator, dtype=torch.float64) * 2 - 1
    soft[:5], soft[9, 3], affect[5:8, 1], affect[11] = NAN, NAN, NAN, NAN
    return {
        "pixel_values": torch.randn(ROWS, 3, 8, 8, generator=generator, dtype=torch.float64),
        "soft_labels": soft,
        "valence_arousal": affect,
        "sample_weights": torch.rand(ROWS, generator=generator, dtype=torch.float64) * 2,
    }


def parts_of(faces: dict[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    split = {name: values.split(sizes) for name, values in faces.items()}
    return [{name: values[number] for name, values in split.items()} for number in range(len(sizes))]


def gradients(model) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def asked(model, faces):
    """The model's own loss of a batch of training, in which `labels` have their name in the data set."""
    return model(**{"labels" if name == "soft_labels" else name: values for name, values in faces.items()}).loss


def at_once(model, faces) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    loss = asked(model, faces)
    loss.backward()
    return loss.detach(), gradients(model)


def in_parts(model, network, batches) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients as the Trainer would find them; `network` is the model, or what is wrapped around it."""
    model.zero_grad()
    whole, logged = whole_of(network, model.config, batches), torch.tensor(0.0, dtype=torch.float64)
    for number, batch in enumerate(batches):
        if number < len(batches) - 1 and network is not model:
            with network.no_sync():
                logged += _step(model, network, batch, whole) / len(batches)
        else:
            logged += _step(model, network, batch, whole) / len(batches)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= len(batches)
    return logged, gradients(model)


def _step(model, network, batch, whole) -> Tensor:
    loss = part_loss(model.config, network(pixel_values=batch["pixel_values"]), batch, whole)
    loss.backward()
    return loss.detach()


# ---- one process


@pytest.mark.parametrize("sizes", UNEVEN, ids=str)
@pytest.mark.parametrize("kind", LOSSES)
def test_uneven_batches_with_unknown_rows_are_worth_the_whole(kind, sizes):
    model, faces = tiny(loss=kind), some_faces()
    torch.testing.assert_close(
        in_parts(model, model, parts_of(faces, sizes)), at_once(model, faces), rtol=1e-9, atol=1e-12
    )


def test_the_mean_of_the_losses_of_the_parts_is_another():
    """What this module is for; without it the split above would show."""
    model, faces = tiny(), some_faces()
    mean = torch.stack([asked(model, part) for part in parts_of(faces, [5, 7])]).mean()
    assert abs(mean - asked(model, faces)) > 1e-2


@pytest.mark.parametrize("sizes", UNEVEN, ids=str)
def test_without_valence_and_arousal_there_is_one_pass(sizes):
    model, faces = tiny(valence_arousal_weight=0), some_faces()
    calls = counted(model)
    found = in_parts(model, model, parts_of(faces, sizes))
    assert len(calls) == len(sizes)
    torch.testing.assert_close(found, at_once(model, faces), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("sizes", "passes"), [([12], 1), ([5, 7], 4), ([1, 8, 3], 6)])
def test_only_several_batches_need_a_first_pass(sizes, passes):
    model = tiny()
    calls = counted(model)
    in_parts(model, model, parts_of(some_faces(), sizes))
    assert len(calls) == passes


def counted(model) -> list[int]:
    """Numbers of faces of every forward pass to come."""
    calls: list[int] = []
    model.vit.register_forward_hook(lambda module, args, output: calls.append(len(output.last_hidden_state)))
    return calls


def test_one_batch_of_one_process_has_the_loss_of_the_model():
    model = tiny().float()
    faces = {name: values.float() for name, values in some_faces().items()}
    loss, grads = in_parts(model, model, [faces])
    expected, expected_grads = at_once(model, faces)
    assert loss == expected
    torch.testing.assert_close(grads, expected_grads, rtol=1e-6, atol=1e-7)


def test_faces_without_weights_need_not_name_them():
    model, faces = tiny(class_weights=None), some_faces()
    del faces["sample_weights"]
    torch.testing.assert_close(
        in_parts(model, model, parts_of(faces, [5, 7])), at_once(model, faces), rtol=1e-9, atol=1e-12
    )


def test_a_step_without_any_known_target_is_a_zero_step():
    model, faces = tiny(), some_faces()
    faces["soft_labels"][:], faces["valence_arousal"][:] = NAN, NAN
    loss, grads = in_parts(model, model, parts_of(faces, [5, 7]))
    assert loss == 0 and not any(grad.any() for grad in grads)


def test_a_broken_prediction_in_one_part_breaks_the_loss():
    model, faces = tiny(), some_faces()
    faces["pixel_values"][0] = NAN
    loss, _ = in_parts(model, model, parts_of(faces, [5, 7]))
    assert loss.isnan()


# ---- random layers


@pytest.mark.parametrize("random", [{"drop_path_rate": 0.5}, {"hidden_dropout_prob": 0.3}], ids=str)
def test_the_first_pass_draws_what_the_second_one_draws(random):
    """The loss of all predictions together, made in the same order of draws, is the reference."""
    model, batches = tiny(**random), parts_of(some_faces(), [5, 4, 3])
    model.eval()  # as an evaluation leaves it
    torch.manual_seed(11)
    found = in_parts(model, model, batches)
    after = torch.get_rng_state()
    model.zero_grad()
    torch.manual_seed(11)
    outputs = [model.train()(pixel_values=batch["pixel_values"]) for batch in batches]
    assert torch.equal(torch.get_rng_state(), after)
    logits, affect = (torch.cat([output[name] for output in outputs]) for name in ("logits", "valence_arousal"))
    faces = some_faces()
    del faces["pixel_values"]
    loss = model._loss(logits, affect, **faces)
    loss.backward()
    torch.testing.assert_close(found, (loss.detach(), gradients(model)), rtol=1e-9, atol=1e-12)
    assert not torch.isclose(loss, at_once(model, some_faces())[0], rtol=1e-3), "premise: the draws matter"


def test_the_first_pass_leaves_the_random_state_as_it_was():
    model = tiny(drop_path_rate=0.5)
    before = torch.get_rng_state()
    whole_of(model, model.config, parts_of(some_faces(), [5, 7]))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_pass_changes_no_weight_and_leaves_no_gradient():
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    whole_of(model, model.config, parts_of(some_faces(), [5, 7]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_keep_their_gradient_under_the_autocast_of_the_forward_pass():
    model = tiny().float()
    faces = {name: values.float() for name, values in some_faces().items()}
    _, expected = at_once(model, faces)
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)  # as accelerate does it
    _, found = in_parts(model, model, parts_of(faces, [5, 7]))
    for (name, _), one, other in zip(model.named_parameters(), found, expected, strict=True):
        assert (one - other).norm() <= 0.1 * other.norm() + 1e-3, name


# ---- the Trainer


class Exact(Trainer):
    """As the head of the module says."""

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._batches, self._whole = [self._prepare_inputs(batch) for batch in batches], None
        return self._batches, count

    def training_step(self, model, inputs, num_items_in_batch=None):
        if self._whole is None:
            self._whole = whole_of(model, self.model.config, self._batches)
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return part_loss(self.model.config, model(pixel_values=inputs["pixel_values"]), inputs, self._whole)


def test_the_trainer_takes_the_same_steps_with_accumulation(tmp_path):
    faces, trained, logged = some_faces(), [], []
    rows = [{name: values[row] for name, values in faces.items()} for row in range(ROWS)]
    for size, accumulation in ((12, 1), (5, 3)):
        model = tiny()
        options = {"use_cpu": True, "report_to": "none", "remove_unused_columns": False, "save_strategy": "no"}
        options |= {"learning_rate": 0.05, "optim": "sgd", "max_grad_norm": 0, "logging_steps": 1, "max_steps": 3}
        arguments = TrainingArguments(
            str(tmp_path), per_device_train_batch_size=size, gradient_accumulation_steps=accumulation, **options
        )
        trainer = Exact(model, arguments, train_dataset=rows)
        trainer.train()
        trained.append([parameter.detach() for parameter in model.parameters()])
        logged.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(logged[0]) == 3 and logged[1] == pytest.approx(logged[0], rel=1e-4)  # the log is rounded
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-8, atol=1e-10)


# ---- two processes


def one_of_two(rank: int, folder: str) -> None:
    """The steps of `TWO_PROCESSES` as one of them takes them."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = []
    for split in TWO_PROCESSES:
        model = tiny()
        sizes = split[rank]
        start = 0 if rank == 0 else sum(split[0])
        own = {name: values[start : start + sum(sizes)] for name, values in some_faces().items()}
        loss, grads = in_parts(model, DistributedDataParallel(model), parts_of(own, sizes))
        distributed.all_reduce(loss)
        found.append((loss / 2, grads))
    torch.save(found, Path(folder, str(rank)))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_find_the_loss_and_gradients_of_one(tmp_path):
    """Uneven ones, with accumulation and without, under DistributedDataParallel."""
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    model = tiny()
    expected = at_once(model, some_faces())
    for rank in range(2):
        for found in torch.load(tmp_path / str(rank), weights_only=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)

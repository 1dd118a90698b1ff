"""Training of one network by the stock Trainer, kept as a file when it is done, so that a killed run goes on."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainingArguments

from ...data.dataset import FaceDataset, normalise
from ...training.arguments import training_arguments
from ...training.augmentation import augment
from ...training.trainer import FaceTrainer
from ...training.work_folder import newest_checkpoint
from ...unfinished import is_kept, keep, kept
from .options import EnsembleOptions


class LabelledDraws(torch.utils.data.Dataset):
    """Faces in the order of `rows`, which may name a face many times, each with the class that it is drawn for."""

    def __init__(self, faces: FaceDataset, rows: np.ndarray, classes: np.ndarray):
        self._faces, self._rows, self._classes = faces, rows, torch.from_numpy(classes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, places: list[int]) -> dict[str, Tensor]:
        batch = self._faces.batch(self._rows[places].tolist())
        return {"pixels": batch["pixels"], "labels": self._classes[places]}


def fit(
    make: Callable[[], PreTrainedModel],
    draws: LabelledDraws,
    epochs: float,
    learning_rate: float,
    label_smoothing: float,
    seed: int,
    options: EnsembleOptions,
    file: Path,
) -> PreTrainedModel:
    """The network of `make`, trained on the draws with smoothed cross-entropy; its weights are kept in `file`.

    Where the work file `file` is there and whole, nothing is trained. Checkpoints of each epoch lie beside it until
    then; the next call goes on with the newest. The network is always read from the file: the Trainer leaves one that
    answers in bfloat16, and a run that was interrupted would give other numbers than one that was not.
    """
    transformers.set_seed(seed)
    if not is_kept(file):
        _train(
            make(),
            draws,
            _arguments(file.with_suffix(".training"), epochs, learning_rate, seed, options),
            label_smoothing,
            options,
            file,
        )
    network = make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.load_state_dict(load(kept(file)))
    return network


def _train(
    network: PreTrainedModel,
    draws: LabelledDraws,
    arguments: TrainingArguments,
    label_smoothing: float,
    options: EnsembleOptions,
    file: Path,
) -> None:
    work = Path(str(arguments.output_dir))
    trainer = FaceTrainer(
        model=network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        args=arguments,
        augment=partial(augment, strength=options.augmentation),
        train_dataset=draws,
        compute_loss_func=partial(_smoothed_cross_entropy, label_smoothing=label_smoothing),
    )
    trainer.train(resume_from_checkpoint=newest_checkpoint(work))
    keep(file, save({name: value.contiguous() for name, value in network.state_dict().items()}))
    shutil.rmtree(work)


def _smoothed_cross_entropy(outputs, labels: Tensor, num_items_in_batch=None, label_smoothing: float = 0.0) -> Tensor:
    return nn.functional.cross_entropy(outputs.logits.float(), labels, label_smoothing=label_smoothing)


def _arguments(work: Path, epochs: float, learning_rate: float, seed: int, options: EnsembleOptions):
    return training_arguments(
        work,
        epochs,
        options.batch_size,
        learning_rate,
        options.bf16,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        save_total_limit=1,
        disable_tqdm=True,
        seed=seed,
    )


@torch.inference_mode()
def ask_network(network: PreTrainedModel, faces: FaceDataset, rows: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """(rows, classes) logits of the network, float64, for those rows of the faces."""
    network.eval()
    found = []
    for start in range(0, len(rows), batch_size):
        pixels = faces.batch(rows[start : start + batch_size].tolist())["pixels"]
        found.append(network(normalise(pixels.to(network.device))).logits.double().cpu().numpy())
    return np.concatenate(found)

"""The arguments of the stock `Trainer` that every training of this project has in common."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments


def training_arguments(
    work: Path, epochs: float, batch_size: int, learning_rate: float, bf16: bool | None, **others: Any
) -> TrainingArguments:
    """Cosine schedule, a checkpoint and a line of the log after every epoch, on the GPU where there is one.

    Args:
        work: folder of the checkpoints.
        bf16: None takes bfloat16 where that is the faster, see `bf16_is_faster`.
        **others: further arguments, which go before those of here.
    """
    use_cpu, workers = not torch.cuda.is_available(), reading_workers()
    common: dict[str, Any] = {
        "lr_scheduler_type": "cosine",
        "use_cpu": use_cpu,
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,
        "dataloader_pin_memory": not use_cpu,
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "logging_nan_inf_filter": False,  # it would put the mean of the losses before in the place of a NaN
        "report_to": "none",
        "remove_unused_columns": False,
    }
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        bf16=bf16_is_faster() if bf16 is None else bf16,
        **(common | others),
    )
    # One process drives one GPU. With several in sight the Trainer would take DataParallel, which is slower
    # than a process for each, and multiplies the batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def reading_workers() -> int:
    """Processes that decode for one that trains: a GPU wants several, as each decodes some 3,000 faces a second."""
    return min(16, len(os.sched_getaffinity(0))) if torch.cuda.is_available() else 0


def bf16_is_faster() -> bool:
    """Whether bfloat16 matrix products beat float32 on the device that will train, by a fifth or more."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return _product_seconds(torch.bfloat16) * 1.2 < _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    matrix = torch.ones(768, 768, dtype=dtype)
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return min(seconds)

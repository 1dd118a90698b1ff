"""The state of a training beside its weights, as safetensors and JSON: the stock `Trainer` would write pickles.

A checkpoint may come from somebody else, and a pickle may run code when it is loaded.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OPTIMIZER = "optimizer.safetensors"
_OTHERS = "others"  # in the metadata of a file: what is no tensor, as JSON
_DAMAGED = "is no state of a training that this version wrote"


def save_optimizer(folder: Path, optimizer: Optimizer, scheduler: LRScheduler) -> None:
    """Write the state of both as one file."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for parameter, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, Tensor) else plain)[f"{parameter}.{name}"] = value
    others = {"plain": plain, "groups": state["param_groups"], "scheduler": scheduler.state_dict()}
    _write(folder / OPTIMIZER, tensors, others)


def load_optimizer(folder: Path, optimizer: Optimizer, scheduler: LRScheduler) -> None:
    """Put both back to the state that `save_optimizer` wrote.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is something else, or of another model.
    """
    tensors, others = _read(folder / OPTIMIZER)
    try:
        state: dict[int, dict[str, Any]] = {}
        for key, value in (tensors | others["plain"]).items():
            parameter, _, name = key.partition(".")
            state.setdefault(int(parameter), {})[name] = value
        groups = [{name: _plain(name, value) for name, value in group.items()} for group in others["groups"]]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        scheduler.load_state_dict(others["scheduler"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{folder / OPTIMIZER} {_DAMAGED} ({error}). Begin anew with --overwrite") from error


def _plain(name: str, value):
    """JSON has lists where the options of an optimizer are tuples, such as its betas."""
    return tuple(value) if isinstance(value, list) and name != "params" else value


def save_random(path: Path) -> None:
    """Write the state of all generators of random numbers: Python's, NumPy's, torch's, and those of the GPUs."""
    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    tensors = {
        "python": torch.tensor(numbers, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{index}": state for index, state in enumerate(torch.cuda.random.get_rng_state_all())}
    _write(path, tensors, {"python": [version, gauss], "numpy": [kind, *rest]})


def load_random(path: Path) -> None:
    """Put the generators back to what `save_random` wrote.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is something else.
    """
    tensors, others = _read(path)
    try:
        version, gauss = others["python"]
        random.setstate((version, tuple(tensors["python"].tolist()), gauss))
        kind, *rest = others["numpy"]
        np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), *rest))
        torch.random.set_rng_state(tensors["cpu"])
        if torch.cuda.is_available():
            torch.cuda.random.set_rng_state_all(
                [tensors[f"cuda.{index}"] for index in range(torch.cuda.device_count()) if f"cuda.{index}" in tensors]
            )
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} {_DAMAGED} ({error}). Begin anew with --overwrite") from error


def _write(path: Path, tensors: dict[str, Tensor], others: dict) -> None:
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(whole, path, {_OTHERS: json.dumps(others)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the checkpoint is not whole. Begin anew with --overwrite")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[_OTHERS])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} {_DAMAGED} ({error}). Begin anew with --overwrite") from error

"""What the folder of a model must be, looked at before torch is imported: its configuration, and what its weights say.

A folder that a stranger made, or half of one, is told in a sentence, in a moment, and before any of it takes memory.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from .files import read_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_POINTER = b"version https://git-lfs"
_MOST_HEADER = 50_000_000  # bytes; a header of 10,000 tensors has 1 MB
_ADVICE = "give a whole model folder"

Side = Annotated[int, Meta(ge=1, le=4096)]
Width = Annotated[int, Meta(ge=1, le=65_536)]
Depth = Annotated[int, Meta(ge=1, le=10_000)]
Positive = Annotated[float, Meta(gt=0)]


class Uncertainty(TypedDict):
    """What `calibrate` found, as far as an answer needs it."""

    method: str
    quantile: float | list[float]
    coverage: float
    of: NotRequired[str]
    abstain_entropy: float | None


class Config(TypedDict, total=False):
    """What every configuration of a model says that says it at all, of our kinds and of others."""

    model_type: str
    id2label: dict[Annotated[str, Meta(pattern="^[0-9]{1,5}$")], str]
    num_hidden_layers: Depth
    problem_type: str | None


class OurConfig(Config, total=False):
    """What a configuration of `AffectNetPlusConfig` says; the ranges of the others are looked at there."""

    image_size: Side
    patch_size: Side
    num_channels: Annotated[int, Meta(ge=1, le=16)]
    hidden_size: Width
    intermediate_size: Annotated[int, Meta(ge=1, le=1_000_000)]
    num_attention_heads: Width
    stem_channels: list[Width]
    layer_norm_eps: Positive
    logit_temperature: Positive
    class_weights: list[Positive] | None
    uncertainty: Uncertainty | None


class EnsembleConfig(Config, total=False):
    """What a configuration of `BinaryEnsembleConfig` says."""

    image_size: Side
    backbones: list[Config]
    members: list[dict[str, int]]
    calibration: dict[str, Any] | None


_KINDS: dict[str, type] = {"affectnet_plus": OurConfig, "affectnet_plus_ensemble": EnsembleConfig}


class _Tensor(TypedDict):
    dtype: Annotated[str, Meta(pattern="^[A-Z0-9_]{2,12}$")]
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=16)]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


def read_config(folder) -> dict[str, Any]:
    """The configuration of a model folder.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged, names no kind of model, or has a value that no model of its kind can have.
    """
    path = Path(folder) / CONFIG
    found: dict[str, Any] = read_json(path, dict, _ADVICE)
    kind = found.get("model_type")
    if not isinstance(kind, str):
        raise ValueError(f"{path} names no model_type, so nobody knows what it is of: {_ADVICE}")
    try:
        msgspec.convert(found, _KINDS.get(kind, Config))
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} describes no {kind} model: {error}") from error
    return found


def check_model(folder) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The configuration of a model folder, and the shape of each of its weights, where both are whole and may agree.

    Raises:
        FileNotFoundError: one of them is missing.
        ValueError: one of them is damaged; or more layers are told than there are weights for.
    """
    config, shapes = read_config(folder), read_shapes(Path(folder) / WEIGHTS)
    for name, number in _depths(config):
        if number > len(shapes):
            raise ValueError(
                f"{Path(folder) / CONFIG} says {name} {number}, and {WEIGHTS} holds {len(shapes)} tensors: {_ADVICE}"
            )
    return config, shapes


def check_start(folder) -> None:
    """Refuse a folder of a checkpoint that nothing can start from: damaged, or with its weights in pickles.

    Raises:
        FileNotFoundError: it holds no configuration, or no weights as safetensors, in one file or in several.
        ValueError: as `check_model`.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).exists():
        check_model(folder)
        return
    read_config(folder)
    if not (folder / f"{WEIGHTS}.index.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no {WEIGHTS}. Weights in a pickle, such as pytorch_model.bin, are never loaded, for it "
            "may run code: convert them first"
        )


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a safetensors file, whose bytes are all there.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no such file, or not whole.
    """
    size = os.stat(path).st_size
    if not path.is_file():
        raise ValueError(f"{path} is no file: {_ADVICE}")
    with open(path, "rb") as file:
        start = file.read(8)
        if start + file.read(len(_POINTER) - 8) == _POINTER:
            raise ValueError(f"{path} is a pointer of git-lfs and not the weights: fetch them with git lfs pull")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(size - 8, _MOST_HEADER):
            raise ValueError(f"{path} is no whole safetensors file ({size} bytes): {_ADVICE}")
        file.seek(8)
        header = file.read(length)
    try:
        found = json.loads(header)
        found.pop("__metadata__", None)
        tensors = msgspec.convert(found, dict[str, _Tensor])
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file ({str(error)[:100]}): {_ADVICE}") from error
    end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    if 8 + length + end != size:
        raise ValueError(f"{path} has {size} bytes, expected {8 + length + end}: it is cut off. Fetch it again")
    return {name: tuple(tensor["shape"]) for name, tensor in tensors.items()}


def _depths(config, name: str = "") -> Iterator[tuple[str, int]]:
    """Numbers of layers, wherever a configuration has them: one model for each would be built before anybody looks."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _depths(value, key)
        return
    for value in config if isinstance(config, list) else [config]:
        if isinstance(value, dict):
            yield from _depths(value, name)
        elif isinstance(value, int) and re.search("layers|depth|blocks", name):
            yield name, value

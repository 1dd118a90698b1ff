"""A model folder as a model: whole, with all of its weights and no others, or a sentence that says what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageClassification

from .checkpoints import CONFIG, check_model
from .sentences import first_line

_SPARE = 20_000_000  # parameters that a configuration may have beyond its file's, as those of heads that are not there


def load_whole(kind, folder) -> Any:
    """The model of a local folder, in float32 and in eval mode.

    Args:
        kind: the class of the model, or `AutoModelForImageClassification`.

    Raises:
        FileNotFoundError, ValueError: as `check_model`; the configuration describes no model, or another one than the
            weights are of: one is missing, has another shape, or has no place in it.
    """
    folder = Path(folder)
    _, shapes = check_model(folder)
    with in_a_sentence(folder):
        _check_size(kind, folder, sum(map(prod, shapes.values())))
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
    for key, said in (("missing_keys", "lacks the weights"), ("unexpected_keys", "has no place for the weights")):
        if report[key]:  # transformers fills the former at random, and leaves the latter out
            some = ", ".join(sorted(report[key])[:5])
            more = f" and {len(report[key]) - 5} more" * (len(report[key]) > 5)
            how = "; where pretrain wrote it, train --from-pretrained it" * (key == "missing_keys")
            raise ValueError(f"{folder} {said} {some}{more}{how}")
    return model.eval()


@contextmanager
def in_a_sentence(folder) -> Iterator[None]:
    """Make a ValueError that names the folder of whatever goes wrong when a model is built from a stranger's words.

    Those may be any that a configuration can hold, and what transformers and torch raise of them any error there is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or (isinstance(error, ValueError) and str(folder) in str(error)):
            raise  # in words already: a file, the Hub, or the folder by its name
        said = first_line(error)
        raise ValueError(f"{folder} holds no whole model: {CONFIG} and the weights do not fit ({said})") from error


def _check_size(kind, folder: Path, parameters: int) -> None:
    """Build the model without memory, and refuse one that would take far more of it than the file has."""
    with torch.device("meta"):
        if kind is AutoModelForImageClassification:
            model = kind.from_config(AutoConfig.from_pretrained(folder))
        else:
            model = kind(kind.config_class.from_pretrained(folder))
    told = sum(parameter.numel() for parameter in model.parameters())
    if told > 2 * parameters + _SPARE:
        raise ValueError(f"it is told to have {told:,} parameters, and the file has {parameters:,}")

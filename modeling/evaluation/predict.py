"""What a model says: about pictures, and about the faces of a dataset."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from affectnet_plus import IMAGE_SUFFIXES

from .. import images
from ..data.dataset import FaceDataset, normalise
from ..pretrained import model_folder
from ..vit import AffectNetPlusForSoftLabels
from ..vit.answers import answers
from ..vit.stems import folded
from ..workers import in_order
from .predictions import Predictions

# Tokens in the network of one CPU thread: more are no faster, and keep the first answers back. 8 pictures of the mini
# ViT at 48 pixels; a single one of ViT-S at 224, of which 8 took a fifth longer each.
TOKENS_AT_ONCE = 300


def load_model(folder) -> AffectNetPlusForSoftLabels:
    """The model of a local folder, or of a name of `pretrained`, in float32 and ready to predict.

    It is `stems.folded`, so not to be trained or saved.

    Raises:
        FileNotFoundError: the folder holds no config.json and model.safetensors.
        ValueError: its config names another kind of model, or a weight is missing, as the heads are after `pretrain`.
    """
    folder = Path(model_folder(folder))
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)}; give the folder that train wrote")
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    if kind != "affectnet_plus":
        raise ValueError(f"{folder} holds a {kind!r} model, expected 'affectnet_plus'")
    model, report = AffectNetPlusForSoftLabels.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"]:  # transformers fills them at random
        lacking = ", ".join(sorted(report["missing_keys"]))
        raise ValueError(f"{folder} lacks the weights {lacking}; where pretrain wrote it, train --from-pretrained it")
    return folded(model.eval()).to("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def _forward(model: AffectNetPlusForSoftLabels, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, 3, size, size) uint8 -> logits (batch, 8) and valence/arousal (batch, 2), as the model computes them."""
    output = model(normalise(pixels.to(model.device)))
    return output.logits, output.valence_arousal


def predict_faces(
    model: AffectNetPlusForSoftLabels,
    faces: FaceDataset,
    batch_size: int,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Predictions:
    """The model's answer for every face, beside what is known of it."""
    outputs = []
    for start in progress(range(0, len(faces), batch_size)):
        rows = range(start, min(start + batch_size, len(faces)))
        outputs.append(_forward(model, faces.batch(rows)["pixels"]))
    logits, affect = (torch.cat(parts).double() for parts in zip(*outputs, strict=True))
    return Predictions(
        image_ids=faces.image_ids,
        probabilities=logits.softmax(dim=1).cpu().numpy(),
        soft_labels=faces.soft_labels.double().numpy(),
        labels=faces.labels.numpy(),
        valence_arousal=affect.cpu().numpy(),
        true_valence_arousal=faces.valence_arousal.double().numpy(),
        names=tuple(model.config.id2label[index] for index in range(model.config.num_labels)),
    )


def predict(model, sources, batch_size: int = 32, bf16: bool = False) -> Iterator[dict]:
    """What `predict_pictures` gives, from the model of a folder.

    Args:
        bf16: run the network in bfloat16, which moved probabilities of FER+ faces by .0005 on average, .02 at most.

    Raises:
        FileNotFoundError, ValueError: as `load_model` and `predict_pictures`.
    """
    paths = _pictures(sources)  # what is missing is said before the weights are read
    model = load_model(model)
    if bf16:
        model.to(torch.bfloat16)
    yield from predict_pictures(model, paths, batch_size)


def predict_pictures(model: AffectNetPlusForSoftLabels, sources, batch_size: int = 32) -> Iterator[dict]:
    """One dict per picture, in the order given: its path as `image`, and what `vit.answers.answers` says of it.

    A picture that cannot be read gives a dict with its `error` instead. Answers come while later pictures are read.

    On a CPU each of the threads that torch may use (torch.set_num_threads) reads pictures and runs the network on them
    by itself: threads that share the work of each layer wait for each other many times in a forward pass.

    Args:
        sources: paths of JPEG or PNG pictures of one face each, or of folders, which are searched in depth.
        batch_size: most pictures in one forward pass; on a CPU of some `TOKENS_AT_ONCE` at most.

    Raises:
        FileNotFoundError: a source does not exist, or a folder holds no picture.
        ValueError: the batch size is below 1, or the model answers with NaN or infinity.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
    paths = _pictures(sources)
    threads = torch.get_num_threads()
    at_once = batch_size if model.device.type != "cpu" else min(batch_size, _at_once(model, len(paths), threads))
    batches = (paths[start : start + at_once] for start in range(0, len(paths), at_once))
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for lines in in_order(pool, threads, partial(_answer, model), batches):
                yield from lines
    finally:
        torch.set_num_threads(threads)  # what a thread sets for itself is also what later threads begin with


def _at_once(model: AffectNetPlusForSoftLabels, pictures: int, threads: int) -> int:
    """How many pictures a CPU thread takes at a time; few pictures are shared out over the threads too."""
    tokens = (model.config.image_size // model.config.patch_size) ** 2 + 1
    return min(max(1, TOKENS_AT_ONCE // tokens), math.ceil(pictures / threads))


def _pictures(sources) -> list[Path]:
    return [path for source in sources for path in _pictures_in(Path(source))]


def _pictures_in(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{source} is neither a picture nor a folder with {', '.join(IMAGE_SUFFIXES)} in it")
    return found


def _answer(model: AffectNetPlusForSoftLabels, paths: list[Path]) -> list[dict]:
    pixels = np.empty((len(paths), model.config.image_size, model.config.image_size, 3), dtype=np.uint8)
    lines: list[dict] = [{"image": str(path)} for path in paths]
    for line, path, out in zip(lines, paths, pixels, strict=True):
        try:
            images.decode(path, out)
        except OSError as error:
            line["error"] = str(error)
    good = ["error" not in line for line in lines]
    if any(good):
        found = iter(answers(model.config, *_forward(model, torch.from_numpy(pixels[good]).permute(0, 3, 1, 2))))
        lines = [line if "error" in line else line | next(found) for line in lines]
    return lines

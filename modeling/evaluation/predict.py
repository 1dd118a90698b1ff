"""What a model says: about pictures, and about the faces of a dataset."""

import copy
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import datasets
import numpy as np
import torch
from PIL import Image

from affectnet_plus import BadRow

from ..checkpoints import read_config
from ..data.dataset import FaceDataset, demand_classes, normalise
from ..data.photos import pixels_of
from ..data.pictures import Images, Picture, open_pictures
from ..data.plain_pictures import FilePictures
from ..hub_names import on_hub
from ..images import resize
from ..loading import load_whole
from ..sentences import lacks
from ..shipped import exported_file, model_folder
from ..stages import Progress, silent, told
from ..vit import AffectNetPlusForSoftLabels
from ..vit.answers import answers
from ..vit.faces import cut_out, find_faces, installed, remark
from ..vit.stems import folded
from ..workers import in_order
from .exported import ExportedModel
from .predictions import Predictions

# Tokens in the network of one CPU thread: more are no faster, and keep the first answers back. 8 pictures of the mini
# ViT at 48 pixels; a single one of ViT-S at 224, of which 8 took a fifth longer each. So it is in ONNX Runtime: a
# picture of the mini ViT took a thread 2.4 ms alone, 1.95 among 8 and 2.1 among 32; one of ViT-S 104 ms, 110 among 4.
TOKENS_AT_ONCE = 300


class Answer(TypedDict, total=False):
    """What is said of one picture, as a line of `predict`.

    `image` is always there: its path, or its number among those of its source. Then either `error`, or what
    `vit.answers.answers` gives, of which `prediction_set` and `abstain` are of a calibrated model alone. Of a face
    that was looked for, `box` is its crop (left, top, right, bottom in pixels of the upright picture) and `score` the
    detector's own. `note`: that the picture does not look like one face, or that no face was found.
    """

    image: str | int
    error: str
    note: str
    box: list[int]
    score: float
    label: str
    soft_label: dict[str, float]  # by emotion, sums to 1
    valence: float | None  # -1 to 1; None from a model that was trained without them
    arousal: float | None
    entropy: float  # nats
    prediction_set: list[str]
    abstain: bool


def load_model(model) -> AffectNetPlusForSoftLabels:
    """The model of a local folder, of a name of `pretrained`, or "you/name" of the Hub, in float32, ready to predict.

    It is `stems.folded`, so not to be trained or saved. A model that is in memory already is put into eval mode, and
    stays what and where it is.

    Raises:
        FileNotFoundError: the folder holds no config.json and model.safetensors.
        ValueError: it is another kind of model, or as `load_whole`: the heads are missing after `pretrain`.
    """
    if isinstance(model, AffectNetPlusForSoftLabels):
        return model.eval()
    folder = Path(model_folder(model))
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{lacks(folder, missing)}; give the folder that train wrote")
    kind = read_config(folder)["model_type"]
    if kind != "affectnet_plus":
        raise ValueError(f"{folder} holds a {kind!r} model, expected 'affectnet_plus'")
    loaded = load_whole(AffectNetPlusForSoftLabels, folder)
    return folded(loaded).to("cuda" if torch.cuda.is_available() else "cpu")


def open_model(model) -> AffectNetPlusForSoftLabels | ExportedModel:
    """What can be asked: what `load_model` gives, or, of what `export` wrote, a session of ONNX Runtime.

    Args:
        model: as for `load_model`; a folder that `export` wrote, or one of its files for resized pictures.

    Raises:
        FileNotFoundError, ValueError: as `load_model` and `ExportedModel`.
        ImportError: onnxruntime is not installed.
    """
    if isinstance(model, ExportedModel):
        return model
    file = exported_file(model) if isinstance(model, (str, os.PathLike)) else None
    if file is None:
        return load_model(model)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; give a folder that export wrote, or a file of it")
    return ExportedModel(file, Path(model).resolve().name)


def name_of(model) -> str:
    """What a record calls a model: its name on the Hub; the last part of the folder that it is in or came from, since
    a path would tell of the machine; the class of one that came from none."""
    if isinstance(model, ExportedModel):
        return model.name
    if isinstance(model, AffectNetPlusForSoftLabels):
        return Path(model.name_or_path).name or type(model).__name__
    named = on_hub(model, "model")
    return named.repo if named else Path(os.path.abspath(model)).name


@torch.inference_mode()
def forward(
    model: AffectNetPlusForSoftLabels | ExportedModel, pixels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, 3, size, size) uint8 -> logits (batch, 8) and valence/arousal (batch, 2), as the model computes them."""
    if isinstance(model, ExportedModel):
        return model(normalise(pixels))
    output = model(normalise(pixels.to(model.device)))
    return output.logits, output.valence_arousal


def predict_faces(
    model: AffectNetPlusForSoftLabels | ExportedModel,
    faces: FaceDataset,
    batch_size: int,
    progress: Progress = silent,
    stage: str = "predict",
) -> Predictions:
    """The model's answer for every face, beside what is known of it; `progress` is of batches.

    Raises:
        ValueError: the model and the faces have other classes, or in another order.
    """
    names = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    demand_classes(names, faces.names)
    probabilities, affect = ask_about(model, faces, batch_size, progress, stage)
    return Predictions(
        image_ids=faces.image_ids,
        probabilities=probabilities,
        soft_labels=faces.soft_labels.double().numpy(),
        labels=faces.labels.numpy(),
        valence_arousal=affect,
        true_valence_arousal=faces.valence_arousal.double().numpy(),
        names=names,
    )


def ask_about(
    model: AffectNetPlusForSoftLabels | ExportedModel,
    faces: FaceDataset,
    batch_size: int,
    progress: Progress,
    stage: str,
) -> tuple[np.ndarray, np.ndarray]:
    """What the model says of every face, whatever is known of it: (faces, classes) that sum to 1, and (faces, 2)."""

    def ask(start: int) -> tuple[torch.Tensor, torch.Tensor]:
        return forward(model, faces.batch(range(start, min(start + batch_size, len(faces))))["pixels"])

    starts = told(range(0, len(faces), batch_size), stage, progress)
    if isinstance(model, ExportedModel):  # of one thread each time it is asked
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(threads) as pool:
            outputs = list(in_order(pool, threads, ask, starts))
    else:
        outputs = [ask(start) for start in starts]
    logits, affect = (torch.cat(parts).double() for parts in zip(*outputs, strict=True))
    return logits.softmax(dim=1).cpu().numpy(), affect.cpu().numpy()


def predict(
    model,
    sources,
    batch_size: int = 32,
    bf16: bool = False,
    faces: bool | None = None,
    follow_links: bool = False,
) -> Iterator[Answer]:
    """What `predict_pictures` gives, from what `open_model` takes.

    Args:
        bf16: run the network in bfloat16, which moved probabilities of FER+ faces by .0005 on average, .02 at most.
        follow_links: as `open_pictures` takes it.

    Raises:
        FileNotFoundError, ValueError: as `open_model` and `predict_pictures`; or `bf16` of an exported model.
        ImportError: onnxruntime is not installed.
    """
    wanted = wanted_of(sources, follow_links)  # what is missing is said before the weights are read
    yield from _predict(opened_model(model, bf16), wanted, batch_size, faces)


def opened_model(model, bf16: bool) -> AffectNetPlusForSoftLabels | ExportedModel:
    """What `open_model` gives, in bfloat16 where that is asked for; a model in memory stays as it is."""
    network = open_model(model)
    if bf16:
        if isinstance(network, ExportedModel):
            raise ValueError(f"{name_of(model)} is exported, and has no bfloat16; name its onnx/model_quantized.onnx")
        network = (copy.deepcopy(network) if network is model else network).to(torch.bfloat16)
    return network


def predict_pictures(
    model: AffectNetPlusForSoftLabels | ExportedModel, sources, batch_size: int = 32, faces: bool | None = None
) -> Iterator[Answer]:
    """One `Answer` per picture, in the order given; with `faces` one per face, or one that says that there is none.

    A picture that cannot be read gives its `error`. Answers come while later pictures are read.

    On a CPU each of the threads that torch may use (torch.set_num_threads) reads pictures and runs the network on them
    by itself: threads that share the work of each layer wait for each other many times in a forward pass.

    Args:
        sources: pictures: one, or a list, of what `open_pictures` takes.
        batch_size: most pictures in one forward pass; on a CPU of some `TOKENS_AT_ONCE` at most.
        faces: look for the faces of each picture, from the left to the right. None takes each for one face, and where
            a detector is installed that sees something else in it, the answer has a `note`; False does not look.

    Raises:
        ImportError: `faces`, and no detector is installed.
        FileNotFoundError: a source does not exist, or holds no picture.
        ValueError: a source is something else, the batch size is below 1, or the model answers with NaN or infinity.
    """
    yield from _predict(model, wanted_of(sources), batch_size, faces)


class Wanted(NamedTuple):
    """A picture to look at, and what an answer calls it."""

    name: str | int
    opened: Images
    picture: Picture


def wanted_of(sources, follow_links: bool = False) -> list[Wanted]:
    if isinstance(sources, (str, os.PathLike, Image.Image, np.ndarray, datasets.Dataset)):
        sources = [sources]
    held = 0  # pictures that have no path count through all sources
    found = []
    for source in sources:
        opened = open_pictures(source, photos=True, follow_links=follow_links)
        for picture in opened.pictures():
            if isinstance(source, (str, os.PathLike)):
                alone = isinstance(opened, FilePictures)
                name: str | int = str(source if alone else Path(source) / picture.name)
            else:
                name = held
                held += 1
            found.append(Wanted(name, opened, picture))
    return found


def _predict(
    model: AffectNetPlusForSoftLabels | ExportedModel, wanted: list[Wanted], batch_size: int, faces: bool | None
) -> Iterator[Answer]:
    threads = torch.get_num_threads()
    at_once = batch_size_of(model, len(wanted), batch_size)
    batches = (wanted[start : start + at_once] for start in range(0, len(wanted), at_once))
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for lines in in_order(pool, threads, partial(answer_batch, model, faces), batches):
                yield from lines
    finally:
        torch.set_num_threads(threads)  # what a thread sets for itself is also what later threads begin with


def batch_size_of(model: AffectNetPlusForSoftLabels | ExportedModel, pictures: int, most: int) -> int:
    """How many pictures are taken at a time, by a CPU thread a few; few pictures are shared out over the threads too.

    Raises:
        ValueError: it would be none.
    """
    if most < 1:
        raise ValueError(f"batch_size is {most}; it must be 1 or more")
    if model.device.type != "cpu":
        return most
    tokens = (model.config.image_size // model.config.patch_size) ** 2 + 1
    return min(most, max(1, TOKENS_AT_ONCE // tokens), math.ceil(pictures / torch.get_num_threads()))


def answer_batch(
    model: AffectNetPlusForSoftLabels | ExportedModel, faces: bool | None, wanted: list[Wanted]
) -> list[Answer]:
    """The lines of some pictures, read and asked together."""
    side = model.config.image_size
    looked = [answer for one in wanted for answer in _look(one, faces)]
    crops = [resize(crop, side, side) for _, crop in looked if crop is not None]
    if crops:
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        said = answers(model.config, *forward(model, pixels))
        for line, answer in zip((line for line, crop in looked if crop is not None), said, strict=True):
            line.update(cast(Answer, answer))
    return [line for line, _ in looked]


def _look(one: Wanted, faces: bool | None) -> list[tuple[Answer, np.ndarray | None]]:
    """What is known before the network is asked, and the crop that it is asked about, if there is one."""
    line: Answer = {"image": one.name}
    try:
        pixels, scale = pixels_of(one.opened, one.picture)
    except BadRow as reason:
        return [(line | {"error": f"{one.name}: {reason}"}, None)]
    except OSError as error:
        return [(line | {"error": _named(str(error), one)}, None)]
    if faces:
        found = find_faces(pixels)
        if not found:
            return [(line | {"note": f"no face found by {installed()}"}, None)]
        boxes = [[round(edge * scale) for edge in face.box] for face in found]
        return [
            (line | {"box": box, "score": face.score}, cut_out(pixels, face))
            for face, box in zip(found, boxes, strict=True)
        ]
    said = remark(pixels) if faces is None else None
    return [(line if said is None else line | {"note": said}, pixels)]


def _named(error: str, one: Wanted) -> str:
    """What could not be read has no name where it is content of an archive or in memory."""
    for nameless in ("embedded image", "the picture"):
        if error.startswith(nameless):
            return error.replace(nameless, str(one.name), 1)
    return error

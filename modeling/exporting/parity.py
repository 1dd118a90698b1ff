"""How near the answers of an exported model are to those of PyTorch, on faces. Needs the extra `onnx`."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from scipy.special import softmax
from torch import nn
from transformers import ViTForImageClassification

from affectnet_plus import BadRow

from .. import images
from ..data.dataset import FaceDataset, load_prepared, normalise
from ..data.pictures import Images, Picture, open_pictures
from ..data.readers import Encoded
from ..files import is_prepared
from ..hub_names import fetched
from ..metrics.soft_label.formulas import kl_divergence, kl_unsmoothed
from ..sources.synthetic.draw import draw_face, jpeg
from ..stages import Progress, silent, told
from ..vit import AffectNetPlusForSoftLabels
from .onnx_files import INPUT
from .records import Distance, Parity, Right

BATCH = 32
ALONE = 32  # faces that are asked about once more, each alone
DRAWN = 256
MOST = 256  # faces of each source, unless more are asked for


@dataclass(frozen=True)
class FaceBatch:
    """n faces.

    Attributes:
        pictures: each (height, width, 3) uint8, in its own size.
        pixels: (n, 3, size, size) uint8, the same resized by the rule of `images`.
        labels: (n,), -1 where unknown.
        soft_labels: (n, classes), NaN where unknown.
    """

    pictures: list[np.ndarray]
    pixels: torch.Tensor
    labels: np.ndarray
    soft_labels: np.ndarray


def face_batches(
    sources,
    size: int,
    view: str = "default",
    split: str = "validation",
    progress: Progress = silent,
    follow_links: bool = False,
    most: int = MOST,
) -> Iterator[FaceBatch]:
    """Faces of all sources in batches of at most `BATCH`, resized to `size`.

    Args:
        sources: a list of prepared folders, of which one split counts, and of what else `open_pictures` takes. None:
            `DRAWN` faces of our own drawing.
        follow_links: as `open_pictures` takes it.
        most: faces of each source: of a prepared folder the first, as its rows are in a random order; of pictures so
            many of all, as far apart from each other.

    Raises:
        FileNotFoundError: a source does not exist, or holds no picture.
        ValueError: a prepared folder has no such view or split.
        OSError: a picture cannot be read; the message names it.
    """
    if not sources:
        yield from _drawn(size, progress)
    for source in sources or ():
        if isinstance(source, (str, os.PathLike)) and is_prepared(fetched(source)):
            yield from _prepared(source, view, split, size, progress, most)
        else:
            yield from _pictures(open_pictures(source, follow_links=follow_links), size, progress, most)


def _drawn(size: int, progress: Progress) -> Iterator[FaceBatch]:
    for start in told(range(0, DRAWN, BATCH), "compare", progress):
        faces = [draw_face(0, index) for index in range(start, start + BATCH)]
        soft_labels = np.array([face.soft_label for face in faces])
        soft_labels /= soft_labels.sum(axis=1, keepdims=True)
        yield _batch([jpeg(face) for face in faces], size, np.array([face.label for face in faces]), soft_labels)


def _prepared(folder, view: str, split: str, size: int, progress: Progress, most: int) -> Iterator[FaceBatch]:
    rows = load_prepared(folder, view, split)
    rows = rows.select(range(min(most, len(rows))))
    faces, opened = FaceDataset(rows, size), open_pictures(rows)
    pictures = opened.pictures()
    for start in told(range(0, len(faces), BATCH), "compare", progress):
        some = slice(start, start + BATCH)
        encoded = [opened.encoded(picture) for picture in pictures[some]]
        yield _batch(encoded, size, faces.labels[some].numpy(), faces.soft_labels[some].double().numpy())


def _pictures(opened: Images, size: int, progress: Progress, most: int) -> Iterator[FaceBatch]:
    every = opened.pictures()
    kept = min(most, len(every))
    pictures = [every[index * len(every) // kept] for index in range(kept)]
    for start in told(range(0, len(pictures), BATCH), "compare", progress):
        encoded = [_encoded(opened, picture) for picture in pictures[start : start + BATCH]]
        yield _batch(encoded, size, np.full(len(encoded), -1), np.full((len(encoded), 8), np.nan))


def _batch(encoded: list[Encoded], size: int, labels: np.ndarray, soft_labels: np.ndarray) -> FaceBatch:
    pictures = [images.decode(one) for one in encoded]
    resized = np.stack([images.resize(picture, size, size) for picture in pictures])
    return FaceBatch(pictures, torch.from_numpy(resized).permute(0, 3, 1, 2), labels, soft_labels)


def _encoded(opened: Images, picture: Picture) -> Encoded:
    try:
        return opened.encoded(picture)
    except BadRow as reason:
        raise OSError(f"{opened.root}/{picture.name}: {reason}") from reason


def measure_parity(
    model: AffectNetPlusForSoftLabels,
    files: dict[str, Path],
    batches: Iterable[FaceBatch],
    plain: ViTForImageClassification | None = None,
) -> Parity:
    """Ask the model, on its own device, and each ONNX file about the same faces, and compare the answers.

    `files` are by the keys of `onnx_files.FILES`, as the variants are in the answer. One whose input is `pixels` gets
    each picture in its own size, alone.

    Returns:
        `rows`, `rows_with_label`, `rows_with_soft_label`; `pytorch` with `accuracy` and `kl_to_soft_label` (mean, in
        nats), None where nothing is known; `variants`, of each file those and what `compare_outputs` gives; and
        the rest of `Parity`.

    Raises:
        ValueError: there is no face.
    """
    sessions = {name: _session(path) for name, path in files.items()}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in ("pytorch", "unaveraged", *sessions)}
    alone: dict[str, float] = dict.fromkeys(sessions, 0.0)
    labels, soft_labels, left, apart = [], [], ALONE, 0.0
    for batch in batches:
        pixels = normalise(batch.pixels)
        expected = _ask_pytorch(model, pixels)
        answers["pytorch"].append(expected)
        answers["unaveraged"].append(_ask(sessions["fp32"], _unaveraged(batch).numpy()))
        for name, session in sessions.items():
            found = _ask_any(session, batch, pixels.numpy())
            answers[name].append(found)
            for row in range(min(left, len(found)) if _takes_resized(session) else 0):
                one = _ask(session, pixels.numpy()[row : row + 1])
                alone[name] = max(alone[name], _largest(one[0, :-2] - found[row, :-2]))
        if plain is not None:
            apart = max(apart, _largest(_ask_plain(plain, pixels) - expected[:, :-2]))
        left -= min(left, len(pixels))
        labels.append(batch.labels)
        soft_labels.append(batch.soft_labels)
    if not labels:
        raise ValueError("there is no face to compare the answers on; name other --images")
    truth = np.concatenate(labels), np.concatenate(soft_labels)
    every = {name: np.concatenate(found) for name, found in answers.items()}
    return {
        "rows": len(truth[0]),
        "rows_with_label": int((truth[0] >= 0).sum()),
        "rows_with_soft_label": int((~np.isnan(truth[1]).any(axis=1)).sum()),
        "pytorch": _right(every["pytorch"], *truth),
        "variants": {
            name: {
                "file": f"{path.parent.name}/{path.name}",
                "bytes": path.stat().st_size,
                **compare_outputs(every["pytorch"], every[name]),
                "max_abs_delta_logit_alone": alone[name],
                **_right(every[name], *truth),
            }
            for name, path in files.items()
        },
        "unaveraged": compare_outputs(every["pytorch"], every["unaveraged"]),
        "plain_max_abs_delta_logit": None if plain is None else apart,
    }


def compare_outputs(expected: np.ndarray, found: np.ndarray) -> Distance:
    """The distance of two answers, (n, classes + 2) logits with valence and arousal behind them.

    `max_abs_delta_logit`, `mean_abs_delta_logit`, `max_abs_delta_valence_arousal`; `kl_mean` and `kl_max` of
    KL(expected || found) between the soft labels, unsmoothed, in nats; `label_flips`, the faces whose most probable
    class is another one, and their share. A NaN makes the numbers that it enters NaN.
    """
    delta = np.abs(expected - found)
    kl = kl_unsmoothed(softmax(expected[:, :-2], axis=1), softmax(found[:, :-2], axis=1))
    flips = expected[:, :-2].argmax(axis=1) != found[:, :-2].argmax(axis=1)
    return {
        "max_abs_delta_logit": float(delta[:, :-2].max()),
        "mean_abs_delta_logit": float(delta[:, :-2].mean()),
        "max_abs_delta_valence_arousal": float(delta[:, -2:].max()),
        "kl_mean": float(kl.mean()),
        "kl_max": float(kl.max()),
        "label_flips": int(flips.sum()),
        "label_flip_share": float(flips.mean()),
    }


def _right(answers: np.ndarray, labels: np.ndarray, soft_labels: np.ndarray) -> Right:
    logits, known, soft = answers[:, :-2], labels >= 0, ~np.isnan(soft_labels).any(axis=1)
    right = logits[known].argmax(axis=1) == labels[known]
    kl = kl_divergence(soft_labels[soft], softmax(logits[soft], axis=1))
    return {
        "accuracy": float(right.mean()) if known.any() else None,
        "kl_to_soft_label": float(kl.mean()) if soft.any() else None,
    }


@torch.inference_mode()
def _ask_pytorch(model: AffectNetPlusForSoftLabels, pixels: torch.Tensor) -> np.ndarray:
    output = model(pixels.to(model.device))
    return torch.cat([output.logits, output.valence_arousal], dim=1).double().cpu().numpy()


@torch.inference_mode()
def _ask_plain(model: ViTForImageClassification, pixels: torch.Tensor) -> np.ndarray:
    return model(pixels).logits.double().numpy()


def _unaveraged(batch: FaceBatch) -> torch.Tensor:
    """The pictures as those see them who shrink by the four nearest pixels alone, normalised."""
    size = batch.pixels.shape[2:]
    return normalise(
        torch.cat(
            [
                nn.functional.interpolate(
                    torch.from_numpy(picture).permute(2, 0, 1)[None].float(), size, mode="bilinear"
                )
                for picture in batch.pictures
            ]
        ).round()
    )


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _ask(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    found = session.run(["logits", "valence_arousal"], {session.get_inputs()[0].name: pixels})
    return np.concatenate(found, axis=1).astype(np.float64)


def _ask_any(session: onnxruntime.InferenceSession, batch: FaceBatch, pixels: np.ndarray) -> np.ndarray:
    if _takes_resized(session):
        return _ask(session, pixels)
    return np.concatenate([_ask(session, picture[None]) for picture in batch.pictures])


def _takes_resized(session: onnxruntime.InferenceSession) -> bool:
    return session.get_inputs()[0].name == INPUT


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())


# --- the same in words -----------------------------------------------------------------------------------------------

_LINES = (
    ("bytes", "bytes", "{:,}"),
    ("largest difference of a logit", "max_abs_delta_logit", "{:.2e}"),
    ("mean difference of a logit", "mean_abs_delta_logit", "{:.2e}"),
    ("largest difference of valence or arousal", "max_abs_delta_valence_arousal", "{:.2e}"),
    ("KL(PyTorch, ONNX) of the soft labels, mean, nats", "kl_mean", "{:.2e}"),
    ("the same, largest", "kl_max", "{:.2e}"),
    ("faces with another most probable class", "label_flips", "{:,}"),
    ("their share", "label_flip_share", "{:.4f}"),
    ("largest difference of a logit, face alone or in its batch", "max_abs_delta_logit_alone", "{:.2e}"),
    ("accuracy", "accuracy", "{:.4f}"),
    ("KL to the true soft labels, mean, nats", "kl_to_soft_label", "{:.4f}"),
)


def format_parity(report: Mapping[str, Any]) -> str:
    """The report of `export` as a page of Markdown; "-" where nothing is known."""
    names = list(report["variants"])
    lines = [
        f"# {report['source_model']}: ONNX against PyTorch",
        "",
        f"{report['rows']} faces: {report['faces']}. {report['rows_with_label']} have a label, "
        f"{report['rows_with_soft_label']} a soft label. Batches of {BATCH}; {min(ALONE, report['rows'])} faces were "
        "asked about alone too.",
        "",
        "| | PyTorch | " + " | ".join(report["variants"][name]["file"] for name in names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for words, key, form in _LINES:
        values = [report["pytorch"].get(key), *(report["variants"][name][key] for name in names)]
        cells = ("-" if value is None else form.format(value) for value in values)
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_ways(report)]) + "\n"


def _ways(report: Mapping[str, Any]) -> list[str]:
    """What the table does not hold: how pictures were resized, and the plain model."""
    found, rows = report["unaveraged"], report["rows"]
    lines = [
        "The files whose name begins with `pixels` were given every picture in its own size, and resized it "
        "themselves; for the others it was resized by Pillow. What transformers.js and most libraries of phones do, "
        "which is to shrink a picture without averaging, gives `onnx/model.onnx` another face: then the label of "
        f"{found['label_flips']} of {rows} is another one, and a logit differs by up to "
        f"{found['max_abs_delta_logit']:.2g}.",
    ]
    if report["plain_max_abs_delta_logit"] is not None:
        far = report["plain_max_abs_delta_logit"]
        lines += ["", f"`model.safetensors`, a ViTForImageClassification: a logit differs by {far:.2e} at most."]
    return lines

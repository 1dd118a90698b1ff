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

from affectnet_plus import BadRow

from ..data.dataset import FaceDataset, decode, load_prepared, normalise
from ..data.pictures import Images, Picture, open_pictures
from ..data.readers import Encoded
from ..hub_names import fetched
from ..metrics.soft_label.formulas import kl_divergence, kl_unsmoothed
from ..preparing.manifest import is_prepared
from ..sources.synthetic.draw import draw_face, jpeg
from ..stages import Progress, silent, told
from ..vit import AffectNetPlusForSoftLabels
from .records import Distance, Parity, Right

BATCH = 32
ALONE = 32  # faces that are asked about once more, each alone
DRAWN = 256


@dataclass(frozen=True)
class FaceBatch:
    """pixels (n, 3, size, size) uint8; labels (n,), -1 where unknown; soft_labels (n, classes), NaN where unknown."""

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
) -> Iterator[FaceBatch]:
    """The faces of all sources in batches of at most `BATCH`, resized to `size`.

    Args:
        sources: a list of prepared folders, of which one split counts, and of what else `open_pictures` takes. None:
            `DRAWN` faces of our own drawing.
        follow_links: as `open_pictures` takes it.

    Raises:
        FileNotFoundError: a source does not exist, or holds no picture.
        ValueError: a prepared folder has no such view or split.
        OSError: a picture cannot be read; the message names it.
    """
    if not sources:
        yield from _drawn(size, progress)
    for source in sources or ():
        if isinstance(source, (str, os.PathLike)) and is_prepared(fetched(source)):
            yield from _prepared(source, view, split, size, progress)
        else:
            yield from _pictures(open_pictures(source, follow_links=follow_links), size, progress)


def _drawn(size: int, progress: Progress) -> Iterator[FaceBatch]:
    for start in told(range(0, DRAWN, BATCH), "compare", progress):
        faces = [draw_face(0, index) for index in range(start, start + BATCH)]
        soft_labels = np.array([face.soft_label for face in faces])
        yield FaceBatch(
            torch.stack([decode(jpeg(face), size) for face in faces]),
            np.array([face.label for face in faces]),
            soft_labels / soft_labels.sum(axis=1, keepdims=True),
        )


def _prepared(folder, view: str, split: str, size: int, progress: Progress) -> Iterator[FaceBatch]:
    faces = FaceDataset(load_prepared(folder, view, split), size)
    for start in told(range(0, len(faces), BATCH), "compare", progress):
        rows = range(start, min(start + BATCH, len(faces)))
        labels, soft_labels = faces.labels[rows].numpy(), faces.soft_labels[rows].double().numpy()
        yield FaceBatch(faces.batch(rows)["pixels"], labels, soft_labels)


def _pictures(opened: Images, size: int, progress: Progress) -> Iterator[FaceBatch]:
    pictures = opened.pictures()
    for start in told(range(0, len(pictures), BATCH), "compare", progress):
        pixels = torch.stack([decode(_encoded(opened, picture), size) for picture in pictures[start : start + BATCH]])
        yield FaceBatch(pixels, np.full(len(pixels), -1), np.full((len(pixels), 8), np.nan))


def _encoded(opened: Images, picture: Picture) -> Encoded:
    try:
        return opened.encoded(picture)
    except BadRow as reason:
        raise OSError(f"{opened.root}/{picture.name}: {reason}") from reason


def measure_parity(model: AffectNetPlusForSoftLabels, files: dict[str, Path], batches: Iterable[FaceBatch]) -> Parity:
    """Ask the model, on its own device, and each ONNX file about the same faces, and compare the answers.

    `files` are by precision, as the variants are in the answer.

    Returns:
        `rows`, `rows_with_label`, `rows_with_soft_label`; `pytorch` with `accuracy` and `kl_to_soft_label` (mean, in
        nats), None where nothing is known; and `variants`, of each file those and what `compare_outputs` gives.

    Raises:
        ValueError: there is no face.
    """
    sessions = {name: _session(path) for name, path in files.items()}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in ("pytorch", *sessions)}
    alone: dict[str, float] = dict.fromkeys(sessions, 0.0)
    labels, soft_labels, left = [], [], ALONE
    for batch in batches:
        pixels = normalise(batch.pixels)
        answers["pytorch"].append(_ask_pytorch(model, pixels))
        for name, session in sessions.items():
            found = _ask(session, pixels.numpy())
            answers[name].append(found)
            for row in range(min(left, len(found))):
                one = _ask(session, pixels.numpy()[row : row + 1])
                alone[name] = max(alone[name], _largest(one[0, :-2] - found[row, :-2]))
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
                "file": path.name,
                "bytes": path.stat().st_size,
                **compare_outputs(every["pytorch"], every[name]),
                "max_abs_delta_logit_alone": alone[name],
                **_right(every[name], *truth),
            }
            for name, path in files.items()
        },
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


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _ask(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> np.ndarray:
    found = session.run(["logits", "valence_arousal"], {"pixel_values": pixels})
    return np.concatenate(found, axis=1).astype(np.float64)


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
    return "\n".join(lines) + "\n"

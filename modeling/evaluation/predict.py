"""What a model says: about pictures, and about the faces of a dataset."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from affectnet_plus import IMAGE_SUFFIXES

from ..training.faces import Faces, decode, normalise
from ..vit import AffectNetPlusForSoftLabels
from .metrics import Predictions


def load_model(folder) -> AffectNetPlusForSoftLabels:
    """The model of a local folder, in float32 and ready to predict.

    Raises:
        FileNotFoundError: the folder holds no config.json and model.safetensors.
        ValueError: its config names another kind of model.
    """
    folder = Path(folder)
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)}; give the folder that train wrote")
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    if kind != "affectnet_plus":
        raise ValueError(f"{folder} holds a {kind!r} model, expected 'affectnet_plus'")
    model = AffectNetPlusForSoftLabels.from_pretrained(folder, dtype=torch.float32)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


@torch.inference_mode()
def _forward(model: AffectNetPlusForSoftLabels, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(batch, 3, size, size) uint8 -> probabilities (batch, 8) and valence/arousal (batch, 2), float64."""
    output = model(normalise(pixels.to(model.device)))
    return output.logits.double().softmax(dim=1).cpu().numpy(), output.valence_arousal.double().cpu().numpy()


def predict_faces(
    model: AffectNetPlusForSoftLabels,
    faces: Faces,
    batch_size: int,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Predictions:
    """The model's answer for every face, beside what is known of it."""
    answers = []
    for start in progress(range(0, len(faces), batch_size)):
        rows = range(start, min(start + batch_size, len(faces)))
        answers.append(_forward(model, faces.batch(rows)["pixels"]))
    return Predictions(
        image_ids=faces.image_ids,
        probabilities=np.concatenate([probabilities for probabilities, _ in answers]),
        soft_labels=faces.soft_labels.double().numpy(),
        labels=faces.labels.numpy(),
        valence_arousal=np.concatenate([affect for _, affect in answers]),
        true_valence_arousal=faces.valence_arousal.double().numpy(),
        names=tuple(model.config.id2label[index] for index in range(model.config.num_labels)),
    )


def predict(model_folder, sources, batch_size: int = 32) -> Iterator[dict]:
    """One dict per picture, in the order given; a picture that cannot be read gives a dict with its `error`.

    `soft_label` maps the 8 emotions to probabilities that sum to 1; `valence` and `arousal` are in [-1, 1], or null
    from a model that was trained without them;
    `entropy` is that of the soft label in nats, from 0 (sure) to ln 8 = 2.08 (no idea).

    Args:
        sources: paths of JPEG or PNG pictures of one face each, or of folders, which are searched in depth.

    Raises:
        FileNotFoundError: a source does not exist, or a folder holds no picture.
    """
    paths = [path for source in sources for path in _pictures(Path(source))]
    model = load_model(model_folder)
    for start in range(0, len(paths), batch_size):
        yield from _predict_batch(model, paths[start : start + batch_size])


def _pictures(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{source} is neither a picture nor a folder with {', '.join(IMAGE_SUFFIXES)} in it")
    return found


def _predict_batch(model, paths: list[Path]) -> Iterator[dict]:
    pixels, errors = {}, {}
    for path in paths:
        try:
            pixels[path] = decode(path, model.config.image_size)
        except OSError as error:
            errors[path] = {"image": str(path), "error": str(error)}
    answers = zip(*_forward(model, torch.stack(list(pixels.values()))), strict=True) if pixels else ()
    known = {path: _line(model, path, *answer) for path, answer in zip(pixels, answers, strict=True)}
    yield from (known.get(path) or errors[path] for path in paths)


def _line(model, path: Path, probabilities: np.ndarray, affect: np.ndarray) -> dict:
    soft_label = {model.config.id2label[index]: round(float(value), 6) for index, value in enumerate(probabilities)}
    known = bool(model.config.valence_arousal_weight)
    return {
        "image": str(path),
        "label": max(soft_label, key=soft_label.__getitem__),
        "soft_label": soft_label,
        "valence": round(float(affect[0]), 6) if known else None,
        "arousal": round(float(affect[1]), 6) if known else None,
        "entropy": round(float(-(probabilities * np.log(probabilities.clip(1e-12))).sum()), 6),
    }

"""Everything that `gpu.py` needs, as one file of at most 50 MB: the package's code, FER+, and drawn faces.

    python benchmarks/gpu_pack.py SOURCE PACK [--drawn 5000]

SOURCE holds FER2013Train and FER2013Valid (folders or tars) and fer2013new.csv; PACK is written. The faces are those
that `import-ferplus --protocol A --drop-leaks` gives. Those of validation are packed losslessly, with word of which
are faces of protocol B too; those of training lose the lowest of their eight bits, without which the file is too
large. The drawn faces are those of seed 7, grey and shrunk to 48 pixels, as JPEG of quality 92.
"""

import argparse
import io
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

import affectnet_plus
import affectnet_plus_modeling
from affectnet_plus_modeling.cli import main as affectnet_plus_command
from affectnet_plus_modeling.sources.synthetic.face import draw_face

SIDE = 48
ACROSS = 100  # faces in a row of a sheet
MOST_BYTES = 50_000_000
DRAWN_SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--drawn", type=int, default=5000, help="drawn faces to pre-train on")
    parser.add_argument("--most", type=int, help="of each split, for a quick try")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        splits = ferplus(options.source, Path(folder), options.most)
    splits["drawn"] = drawn(options.drawn)
    with zipfile.ZipFile(options.pack, "w") as archive:
        for name, faces in splits.items():
            add_faces(archive, name, faces)
        add_code(archive)
    size = options.pack.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{options.pack} has {size:,} bytes, expected at most {MOST_BYTES:,}: take fewer drawn faces")
    print(f"{options.pack}: {size / 1e6:.1f} MB; " + ", ".join(f"{len(f['pixels'])} {n}" for n, f in splits.items()))


def ferplus(source: Path, work: Path, most: int | None) -> dict[str, dict[str, np.ndarray]]:
    """train and validation of protocol A; `in_b` says which of validation are in B too, whose labels are the same."""
    for protocol in "AB":
        raw, out = work / f"raw_{protocol}", work / f"prepared_{protocol}"
        run("import-ferplus", source, raw, "--protocol", protocol, "--drop-leaks")
        run("prepare", raw, out, "--strict")
    splits = {split: arrays(work / "prepared_A", split, most) for split in ("train", "validation")}
    ids = datasets.load_dataset(str(work / "prepared_A"), split="validation")["image_id"][:most]
    in_b = datasets.load_dataset(str(work / "prepared_B"), split="validation").select_columns(["image_id", "label"])
    label_b = dict(zip(in_b["image_id"], in_b["label"], strict=True))
    splits["validation"]["in_b"] = np.array([name in label_b for name in ids])
    labels = splits["validation"]["labels"]
    assert all(label_b.get(name, label) == label for name, label in zip(ids, labels.tolist(), strict=True))
    return splits


def arrays(prepared: Path, split: str, most: int | None) -> dict[str, np.ndarray]:
    data = datasets.load_dataset(str(prepared), split=split)
    data = data.select(range(min(most or len(data), len(data))))
    pictures = (np.asarray(image.convert("L"), dtype=np.uint8) for image in data["image"])
    return {
        "pixels": np.stack(list(pictures)),
        "soft_labels": np.array(data["soft_label_normalized"], dtype=np.float32),
        "labels": np.array(data["label"], dtype=np.int64),
    }


def drawn(count: int) -> dict[str, np.ndarray]:
    with ProcessPoolExecutor() as pool:
        faces = list(pool.map(draw_one, range(count), chunksize=64))
    return {name: np.stack([face[name] for face in faces]) for name in faces[0]}


def draw_one(index: int) -> dict[str, np.ndarray]:
    face = draw_face(DRAWN_SEED, index)
    soft_label = np.array(face.soft_label, dtype=np.float32)
    small = face.image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return {
        "pixels": np.asarray(small, dtype=np.uint8),
        "soft_labels": soft_label / soft_label.sum(),
        "valence_arousal": np.array([face.valence, face.arousal], dtype=np.float32),
        "action_units": np.array(list(face.action_units.values()), dtype=np.float32),
    }


def add_faces(archive: zipfile.ZipFile, name: str, faces: dict[str, np.ndarray]) -> None:
    """The pictures as one large sheet, which takes a tenth less than files of their own, and the rest as arrays."""
    pixels = faces["pixels"]
    padded = np.zeros((-(-len(pixels) // ACROSS) * ACROSS, SIDE, SIDE), dtype=np.uint8)
    padded[: len(pixels)] = pixels
    sheet = padded.reshape(-1, ACROSS, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(-1, ACROSS * SIDE)
    file = io.BytesIO()
    if name == "train":
        sheet >>= 1
    if name == "drawn":
        Image.fromarray(sheet).save(file, "JPEG", quality=92)
    else:
        Image.fromarray(sheet).save(file, "PNG", optimize=True)
    archive.writestr(f"{name}.picture", file.getvalue())
    others = io.BytesIO()
    named = {key: values for key, values in faces.items() if key != "pixels"}
    np.savez_compressed(others, count=len(pixels), **named)  # type: ignore[arg-type]
    archive.writestr(f"{name}.npz", others.getvalue())


def add_code(archive: zipfile.ZipFile) -> None:
    archive.write(affectnet_plus.__file__, "code/affectnet_plus.py")
    package = Path(affectnet_plus_modeling.__path__[0])
    for file in sorted(package.rglob("*.py")):
        archive.write(file, f"code/affectnet_plus_modeling/{file.relative_to(package)}", zipfile.ZIP_DEFLATED)


def run(*words) -> None:
    if code := affectnet_plus_command([str(word) for word in words]):
        raise SystemExit(code)


if __name__ == "__main__":
    main()

"""Pictures to be labelled, one of which crashes a decoder, and the rows that came of them."""

import io
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, PngImagePlugin

from affectnet_plus import SPLITS
from affectnet_plus_modeling.data.stores import Store

POISONED = Path(__file__).with_name("poisoned")


def files_of(tree: Path) -> dict[str, bytes]:
    """split-stem.jpg -> content of every picture of a tree."""
    return {
        f"{split}-{path.name}": path.read_bytes()
        for split, folder in SPLITS.items()
        for path in sorted((tree / folder / "images").glob("*"))
    }


def rows_of(out) -> list[dict]:
    """The rows of a folder that `label` or `prepare` wrote, by `image_id`."""
    store = Store(out)
    tables = [pq.read_table(io.BytesIO(store.read(name))) for name, _, _ in store.names("data")]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["image_id"])


def poison() -> bytes:
    """A whole PNG that crashes the decoder of a process with `POISONED` on its path."""
    said = PngImagePlugin.PngInfo()
    said.add_text("comment", "POISON")
    file = io.BytesIO()
    Image.new("RGB", (30, 30), (9, 80, 20)).save(file, "PNG", pnginfo=said)
    return file.getvalue()

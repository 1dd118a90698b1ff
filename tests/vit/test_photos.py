"""Photos as people have them: their formats, their sizes, which way up they are, and what is said of the others."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from affectnet_plus_modeling.vit import photos
from affectnet_plus_modeling.vit.photos import read_photo

ORIENTATION = 0x0112


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """Smooth, and without symmetry."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across / 2], axis=2).astype(np.uint8))


def written(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "MPO"]  # of these EXIF says which way up they are


@pytest.mark.parametrize(
    ("kind", "turned"), [(kind, 6) for kind in KINDS] + [(kind, None) for kind in [*KINDS, "BMP", "GIF", "HEIF"]]
)
def test_every_format_is_read_upright(tmp_path, kind, turned):
    options = {"save_all": True, "append_images": [scene().rotate(180)]} if kind in ("GIF", "MPO") else {}
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if turned:
        exif = Image.Exif()
        exif[ORIENTATION] = turned  # its upper side is what is stored as the right one
        options["exif"] = exif
    (tmp_path / "no suffix").write_bytes(written(scene(), kind, **options))
    photo = read_photo(tmp_path / "no suffix")
    upright = scene().transpose(Image.Transpose.ROTATE_270) if turned else scene()
    assert photo.size == photo.image.size == upright.size and photo.image.mode == "RGB"
    assert difference(photo.image, upright) < 12  # of a GIF, which has 256 colours


def test_heic_without_its_package_is_named(monkeypatch):
    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="it is HEIC, which needs a package that is not here: pip install pillow-heif"):
        read_photo(bytes(4) + b"ftypheic" + bytes(20))


@pytest.mark.slow
def test_a_photo_of_100_megapixels_is_shrunk():
    content = written(scene(1000, 800).resize((11_180, 8_944)), "JPEG")
    photo = read_photo(content)
    assert photo.size == (11_180, 8_944) and photo.image.size == (4096, 3277)
    assert difference(photo.image.resize((1000, 800)), scene(1000, 800)) < 2


def test_colours_of_other_kinds_are_rgb():
    for mode, kind in (("CMYK", "TIFF"), ("L", "WEBP"), ("1", "TIFF"), ("RGBA", "WEBP"), ("P", "BMP")):
        assert read_photo(written(scene().convert(mode), kind)).image.mode == "RGB"
    deep = Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) << 8)
    assert difference(read_photo(written(deep, "TIFF")).image, scene().convert("L").convert("RGB")) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it has no bytes, expected 1 to 100000000"),
        (b"GIF89a" + bytes(50), "it is not whole, or no JPEG, PNG, WebP"),
        (written(scene(), "WEBP")[:100], ""),
        (written(Image.new("1", (10_001, 10_000)), "PNG"), "it is 10001x10000, expected at most 100 megapixels"),
        (written(Image.new("F", (9, 9)), "TIFF"), "its pixels have the mode 'F'"),
    ],
)
def test_what_cannot_be_read_is_named_without_addresses_of_memory(tmp_path, content, words):
    (tmp_path / "odd.jpg").write_bytes(content)
    with pytest.raises(OSError, match=f"odd.jpg cannot be read as a photo: .*{words}") as refused:
        read_photo(tmp_path / "odd.jpg")
    assert " at 0x" not in str(refused.value)


def test_pipes_devices_and_folders_are_no_photos(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=f"{path} cannot be read as a photo: it is no file"):
            read_photo(path)
    with pytest.raises(FileNotFoundError, match="gone.jpg"):
        read_photo(tmp_path / "gone.jpg")

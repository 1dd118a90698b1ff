"""The rule for pictures: what is decoded, that landmarks stay where they are, and that both decoders agree."""

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from affectnet_plus import BadRow, check_image
from affectnet_plus_modeling import images
from affectnet_plus_modeling.images import decode, resize
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.sources.synthetic.draw import jpeg
from support.trees import full_record

FAIRFACE = Path(__file__).resolve().parents[2] / "shared" / "fairface" / "faces.tar"
WIDTH, HEIGHT = 133, 101  # odd, and not square
ORIENTATION, XMP = 0x0112, '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"></x:xmpmeta>'
# Which of NumPy's moves stores an upright picture so that the EXIF orientation brings it back (CIPA DC-008, 4.6.4 A).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.fixture(params=[True, False], ids=["simplejpeg", "pillow"])
def decoder(request, monkeypatch):
    """Runs the test with each decoder."""
    monkeypatch.setattr(images, "FAST", request.param)


@pytest.fixture
def left_to_pillow(monkeypatch):
    """What Pillow was asked to decode, in a list."""
    asked = []
    whole = images._decode_with_pillow
    monkeypatch.setattr(images, "_decode_with_pillow", lambda data: asked.append(data) or whole(data))
    return asked


def saved(image: Image.Image, kind="JPEG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}) | options)
    return content.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def png(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits, which Pillow writes for grey only; values (height, width, channels)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


# ---- landmarks stay on the face


def landmarks(seed=0) -> np.ndarray:
    """68 whole points, no two within 8 pixels, that no turn or reflection brings onto themselves."""
    columns, rows = np.meshgrid(np.arange(6, WIDTH - 4, 8), np.arange(5, HEIGHT - 4, 8))
    every = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return np.random.default_rng(seed).permutation(every)[:68]


def dotted(points: np.ndarray) -> Image.Image:
    """A dark picture with a white dot of 3 x 3 pixels at each point."""
    values = np.full((HEIGHT, WIDTH, 3), 30, dtype=np.uint8)
    for x, y in points:
        values[y - 1 : y + 2, x - 1 : x + 2] = 255
    return Image.fromarray(values)


def turned(image: Image.Image, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(image)))), kind, exif=exif)


def see_through(image: Image.Image) -> Image.Image:
    alpha = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    image.putalpha(Image.fromarray(alpha))
    return image


PICTURES = {
    **{f"jpeg-{turn}": (lambda image, turn=turn: turned(image, turn, "JPEG")) for turn in STORED},
    **{f"png-{turn}": (lambda image, turn=turn: turned(image, turn, "PNG")) for turn in STORED},
    "plain": saved,
    "progressive": lambda image: saved(image, progressive=True),
    "halved-colour": lambda image: saved(image, subsampling=2),
    "grey-jpeg": lambda image: saved(image.convert("L")),
    "grey-turned": lambda image: turned(image.convert("L"), 6, "JPEG"),
    "grey-png": lambda image: saved(image.convert("L"), "PNG"),
    "one-bit": lambda image: saved(image.convert("1", dither=Image.Dither.NONE), "PNG"),
    "cmyk": lambda image: saved(image.convert("CMYK")),
    "rgb-jpeg": lambda image: saved(image, keep_rgb=True),
    "alpha": lambda image: saved(see_through(image), "PNG"),
    "grey-alpha": lambda image: saved(see_through(image.convert("L")), "PNG"),
    "palette": lambda image: saved(image.convert("P"), "PNG"),
    "palette-see-through": lambda image: saved(image.convert("P"), "PNG", transparency=bytes(range(256))),
    "palette-one-colour": lambda image: saved(image.convert("P"), "PNG", transparency=0),
    "16-bit": lambda image: saved(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"),
    "xmp": lambda image: saved(image.transpose(Image.Transpose.ROTATE_90), xmp=XMP.encode()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_dot_at_each_landmark_is_there_when_it_is_decoded(name, decoder):
    points = landmarks()
    upright = dotted(points)
    found = decode(PICTURES[name](upright.copy()))
    assert found.shape == (HEIGHT, WIDTH, 3) and found.dtype == np.uint8 and found.flags.writeable
    assert np.array_equal(found.min(axis=2) > 140, np.asarray(upright.convert("L")) > 140)


@pytest.mark.parametrize("width, height", [(64, 64), (300, 300), (67, 333), (WIDTH, HEIGHT)])
@pytest.mark.parametrize("name", ["plain", "jpeg-6", "cmyk", "alpha"])
def test_a_dot_at_each_landmark_is_there_when_it_is_resized(name, width, height, decoder):
    points = landmarks()[:20]
    found = np.empty((height, width, 3), dtype=np.uint8)
    assert decode(PICTURES[name](dotted(points)), found) is found
    light = found.astype(float).mean(axis=2) - 30
    scale = np.array([width / WIDTH, height / HEIGHT])
    reach = np.ceil(3.5 * scale).astype(int)
    for x, y in (points + 0.5) * scale - 0.5:  # the corners of the pictures coincide, not the centres of their pixels
        left, top = np.maximum(np.round([x, y]).astype(int) - reach, 0)
        part = light[top : round(y) + reach[1] + 1, left : round(x) + reach[0] + 1].clip(min=15) - 15
        rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
        centre = (left + (part * columns).sum() / part.sum(), top + (part * rows).sum() / part.sum())
        assert centre == pytest.approx((x, y), abs=0.12)


def test_the_dots_are_there_through_load_dataset_too(prepared_from):
    names = [name for name in PICTURES if name != "16-bit"]  # datasets gives it as it is; convert makes it white
    pairs = []
    for seed, name in enumerate(names):
        points = landmarks(seed)
        record = full_record(0, 0)
        record["meta-data"]["landmark-68"] = points.ravel().tolist()
        pairs.append((PICTURES[name](dotted(points)), record))
    rows = datasets.load_dataset(str(prepared_from(pairs)), "default", split="train").sort("image_id")
    assert len(rows) == len(names)
    ours = rows.cast_column("image", datasets.Image(decode=False))
    for row, plain in zip(rows, ours, strict=True):
        name = names[int(row["image_id"].removeprefix("train/"))]
        points = np.array(row["landmarks_68"]).astype(int)
        seen = np.asarray(row["image"].convert("RGB"))
        assert np.array_equal(seen.min(axis=2) > 140, np.asarray(dotted(points).convert("L")) > 140), name
        assert np.array_equal(decode(plain["image"]["path"]), seen), f"{name} is not what datasets makes of it"


# ---- colours


def noise(width, height, channels=3, seed=0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values if channels > 1 else values[:, :, 0])


def test_inverted_cmyk_becomes_the_colours_that_its_ink_leaves(decoder):
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 128, 255, 0], [64, 32, 0, 128]]], dtype=np.uint8)
    blocks = inks.repeat(16, axis=0).repeat(16, axis=1)
    content = saved(Image.frombytes("CMYK", (64, 16), blocks.tobytes()), quality=100)
    stored = simplejpeg.decode_jpeg(content, "CMYK")
    assert b"Adobe" in content and np.abs(stored.astype(int) - (255 - blocks.astype(int))).max() <= 2, "not inverted"
    paper = 255 - blocks.astype(float)
    assert np.abs(decode(content) - paper[:, :, :3] * paper[:, :, 3:] / 255).max() <= 3


def test_alpha_is_dropped_and_the_colour_beneath_it_counts():
    see_through = noise(20, 10, 4)
    found = decode(saved(see_through, "PNG"))
    assert np.array_equal(found, np.asarray(see_through)[:, :, :3])


def test_a_palette_with_transparency_gives_its_colours_without_a_warning(recwarn):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 255])
    found = decode(saved(image, "PNG", transparency=b"\x00\x80\xff"))
    assert found.tolist() == [[[10, 20, 30], [200, 100, 50]], [[0, 0, 255], [200, 100, 50]]]
    assert not [warning for warning in recwarn if "Transparency" in str(warning.message)]


LEVELS = np.array([[0, 255, 256], [511, 32768, 65535]])


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["grey", "rgb", "la", "rgba"])
def test_of_16_bits_the_upper_8_count(colour_type, channels):
    found = decode(png(LEVELS[:, :, None].repeat(channels, axis=2), colour_type))
    assert found.tolist() == [[[0] * 3, [0] * 3, [1] * 3], [[1] * 3, [128] * 3, [255] * 3]]


def test_a_plain_convert_would_lose_a_grey_face_of_16_bits():
    """Why the rule has its exception; when Pillow scales instead, the exception can go."""
    assert by_pillow(png(LEVELS[:, :, None], 0))[:, :, 0].tolist() == [[0, 255, 255], [255, 255, 255]]


# ---- both decoders


def plain_jpegs() -> dict[str, bytes]:
    colour, smooth = np.asarray(noise(77, 51)), draw_face(0, 3).image.resize((211, 187))
    found = {
        f"{subsampling}-{quality}": simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=subsampling)
        for subsampling in ("444", "422", "420", "440", "411")
        for quality, pixels in ((60, np.asarray(smooth)), (95, colour))
    }
    found |= {f"side {side}": saved(noise(side, side + 1), subsampling=2) for side in (1, 2, 7, 8, 9, 15, 16, 17)}
    found |= {f"progressive-{way}": saved(smooth, progressive=True, subsampling=way) for way in (0, 1, 2)}
    found["optimised"] = saved(smooth, optimize=True, quality=30, subsampling=2)
    found["restarts"] = saved(smooth, restart_marker_rows=1, subsampling=2)
    found["grey"] = saved(noise(33, 21, 1))
    found["profile"] = saved(smooth, icc_profile=bytes(range(256)) * 300)
    return found


def test_a_plain_jpeg_is_decoded_by_simplejpeg_to_the_very_pixels_of_pillow(left_to_pillow):
    for name, content in plain_jpegs().items():
        expected = by_pillow(content)
        assert np.array_equal(decode(content), expected), name
        out = np.full(expected.shape, 99, dtype=np.uint8)
        assert decode(content, out) is out and np.array_equal(out, expected), f"{name} into a batch"
    assert not left_to_pillow


@pytest.mark.parametrize("name", ["jpeg-1", "jpeg-8", "xmp", "cmyk", "rgb-jpeg", "png-1", "alpha"])
def test_what_is_no_plain_jpeg_is_left_to_pillow(name, left_to_pillow):
    decode(PICTURES[name](dotted(landmarks())))
    assert len(left_to_pillow) == 1


def test_nothing_is_left_to_simplejpeg_when_pillow_is_forced(left_to_pillow, monkeypatch):
    monkeypatch.setattr(images, "FAST", False)
    contents = plain_jpegs().values()
    for content in contents:
        assert np.array_equal(decode(content), by_pillow(content))
    assert len(left_to_pillow) == len(contents)


def test_drawn_faces_have_the_same_pixels_from_both_decoders(left_to_pillow):
    for index in range(30):
        content = jpeg(draw_face(1, index))
        assert np.array_equal(decode(content), by_pillow(content))
    assert not left_to_pillow


@pytest.mark.skipif(not FAIRFACE.is_file(), reason="no FairFace in shared/fairface beside the checkout")
def test_real_faces_have_the_same_pixels_from_both_decoders(left_to_pillow):
    with tarfile.open(FAIRFACE) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][::5]
        contents = [tar.extractfile(member).read() for member in members]
    assert len(contents) == 1000
    assert all(np.array_equal(decode(content), by_pillow(content)) for content in contents)
    assert not left_to_pillow


def test_a_damaged_jpeg_gives_the_same_with_both_decoders(monkeypatch):
    whole = saved(draw_face(0, 1).image.resize((96, 96)), quality=85, subsampling=2)
    rng, outcomes = np.random.default_rng(0), set()
    for round_ in range(300):
        content = bytearray(whole)
        for place in rng.integers(2, len(whole), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        content = bytes(content[: rng.integers(20, len(whole))] if round_ % 3 == 0 else content)
        answers = []
        for fast in (True, False):
            monkeypatch.setattr(images, "FAST", fast)
            try:
                answers.append(decode(content))
            except OSError as error:
                answers.append(str(error).partition("<_io")[0])  # Pillow's own words may hold an address in memory
        assert type(answers[0]) is type(answers[1]) and np.array_equal(*answers), f"round {round_}"
        outcomes.add(type(answers[0]))
    assert outcomes == {str, np.ndarray}, "all or none can be read, so nothing was compared"


# ---- sizes and limits


def test_resizing_is_pillows_bilinear_and_the_size_that_is_asked_is_not_touched(decoder):
    image = noise(40, 30)
    out = np.empty((21, 33, 3), dtype=np.uint8)
    decode(saved(image, "PNG"), out)
    assert np.array_equal(out, np.asarray(image.resize((33, 21), Image.Resampling.BILINEAR)))
    assert resize(out, 33, 21) is out
    batch = np.zeros((3, 30, 40, 3), dtype=np.uint8)
    decode(saved(image, "PNG"), batch[1])
    assert np.array_equal(batch[1], np.asarray(image)) and not batch[0].any() and not batch[2].any()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_limits_are_those_of_prepare(tmp_path, kind, decoder, monkeypatch):
    for size in ((4096, 1), (1, 4096)):
        content = saved(Image.new("RGB", size), kind)
        check_image(content)
        assert decode(content).shape == (*size[::-1], 3)
    content = saved(Image.new("RGB", (4097, 2)), kind)
    (tmp_path / "wide.jpg").write_bytes(content)
    with pytest.raises(BadRow):
        check_image(content)
    with pytest.raises(OSError, match="wide.jpg cannot be read as JPEG or PNG: it is 4097x2, expected at most 4096"):
        decode(tmp_path / "wide.jpg")
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(content))
    with pytest.raises(OSError, match="4097x2"):
        decode(content)
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(content) - 1)
    for source in (content, tmp_path / "wide.jpg"):
        with pytest.raises(OSError, match=f"it has {len(content)} bytes, expected 1 to {len(content) - 1}"):
            decode(source)
    with pytest.raises(OSError, match="embedded image cannot be read as JPEG or PNG: it has 0 bytes"):
        decode(b"")


def test_only_a_file_is_opened_and_no_more_is_read_than_a_picture_may_have(tmp_path, decoder):
    os.mkfifo(tmp_path / "pipe.jpg")
    for source in (tmp_path / "pipe.jpg", "/dev/zero"):  # the one would wait for ever, the other never ends
        with pytest.raises(OSError, match="cannot be read as JPEG or PNG: it is not a file"):
            decode(source)


def test_a_folder_or_a_missing_file_is_refused_with_its_name(tmp_path, decoder):
    for name in (".", "gone.jpg"):
        with pytest.raises(OSError, match=f"{(tmp_path / name).name}.* cannot be read"):
            decode(tmp_path / name)

"""Near duplicates: every close pair is found, the same photograph is recognised and other people are not."""

import io
import tarfile
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from affectnet_plus_modeling.checking import duplicates
from affectnet_plus_modeling.checking.duplicates import (
    DHASH_DISTANCE,
    PHASH_DISTANCE,
    Pictures,
    _bands,
    _masks,
    group_equal,
    group_near,
    near_pairs,
    perceptual_hash,
)
from affectnet_plus_modeling.sources.synthetic.draw import draw_tree

SHARED = Path(__file__).resolve().parents[3] / "shared"


def brute_force(hashes, distance) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
        if (int(hashes[one]) ^ int(hashes[other])).bit_count() <= distance
    ]


@pytest.mark.parametrize("distance", [0, 1, 2, 4, 7])
def test_near_pairs_are_those_of_comparing_all(distance):
    """Random hashes, and copies of them with up to 9 bits changed, so that every distance around the limit occurs."""
    rng = np.random.default_rng(distance)
    hashes = list(rng.integers(0, 2**64, 60, dtype=np.uint64))
    for changed in range(10):
        for copy in range(12):
            bits = rng.choice(64, changed, replace=False)
            hashes.append(hashes[copy] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64)))
    hashes = rng.permutation(np.array(hashes, dtype=np.uint64))
    expected = brute_force(hashes, distance)
    assert len(expected) > 10
    assert [tuple(pair) for pair in near_pairs(hashes, distance)] == expected


@pytest.mark.parametrize("bands", [6, 8])
def test_more_bands_find_the_same_pairs(bands, monkeypatch):
    rng = np.random.default_rng(bands)
    hashes = rng.integers(0, 2**64, 200, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (6, 200)).astype(np.uint64)
    for flip in flips:  # up to 6 bits, so that both sides of the limit occur
        hashes = np.r_[hashes, hashes[-200:] ^ flip]
    expected = near_pairs(hashes, 4)
    monkeypatch.setattr(duplicates, "_bands", lambda number, distance: bands)
    assert len(expected) > 1000 and np.array_equal(near_pairs(hashes, 4), expected)


def test_what_is_compared_grows_by_little_more_than_the_pictures():
    """Pairs that are compared by chance for each of 16 times as many random hashes: not 16 times as many."""

    def compared(number: int) -> float:
        hashes = np.random.default_rng(0).integers(0, 2**64, number, dtype=np.uint64)
        masks = list(_masks(_bands(number, PHASH_DISTANCE), PHASH_DISTANCE))
        sizes = [np.unique(hashes & mask, return_counts=True)[1].astype(float) for mask in masks]
        return sum((some * (some - 1)).sum() / 2 for some in sizes) / number

    few, many = compared(20_000), compared(320_000)
    assert many < 2 * few, (few, many)


def test_near_pairs_in_large_groups_of_the_same_bits():
    """600 hashes that agree in all bits but 10, so that all of them share bands."""
    hashes = np.random.default_rng(0).integers(0, 1 << 10, 600, dtype=np.uint64) << np.uint64(27)
    assert [tuple(pair) for pair in near_pairs(hashes, 2)] == brute_force(hashes, 2)


@pytest.mark.parametrize("hashes", [[], [7], [7, 2**64 - 1]])
def test_few_hashes_have_no_pairs(hashes):
    assert near_pairs(np.array(hashes, dtype=np.uint64), 4).shape == (0, 2)


def test_groups_of_near_pictures_are_chains_and_need_both_hashes():
    hashes = [
        (0, 0),
        (0b1111, 0),
        (0b11111111, 0),  # a chain: its ends are 8 bits apart
        (0b1111 << 20, (1 << 63) - 1),  # near the first by phash alone
        ((1 << 60) - 1, 0),  # near by dhash alone
        (0, 0),
    ]
    groups = group_near(np.array(hashes, dtype=np.uint64))
    assert groups[0] == groups[1] == groups[2] == groups[5]
    assert len(set(groups)) == 3


@pytest.mark.parametrize(
    "bits, same",
    [((PHASH_DISTANCE, DHASH_DISTANCE), True), ((PHASH_DISTANCE + 1, 0), False), ((0, DHASH_DISTANCE + 1), False)],
)
def test_the_limits_are_inclusive(bits, same):
    groups = group_near(np.array([(0, 0), tuple((1 << count) - 1 for count in bits)], dtype=np.uint64))
    assert (groups[0] == groups[1]) == same


def test_many_pictures_that_are_all_alike_are_one_group_at_once():
    assert set(group_near(np.zeros((100_000, 2), dtype=np.uint64))) == {0}


def test_no_pictures_have_no_groups():
    assert len(group_near(np.empty((0, 2), dtype=np.uint64))) == 0
    assert len(group_equal(np.empty((0, 2), dtype=np.uint64))) == 0
    assert Pictures().findings("check", "the same", group_equal) == []


def test_equal_groups_against_python():
    keys = np.random.default_rng(0).integers(0, 6, (200, 2), dtype=np.uint64)
    groups = group_equal(keys)
    for one in range(200):
        for other in range(200):
            assert (groups[one] == groups[other]) == (tuple(keys[one]) == tuple(keys[other]))


def test_pictures_do_not_keep_the_tables_that_they_came_from():
    """Other tests rest on what is found; this one on what a million rows cost."""
    pictures, before = Pictures(), pa.total_allocated_bytes()
    for number in range(10):
        ids = pa.array([f"train/{number}-{row}" for row in range(50_000)])
        pictures.add("train", ids[:5], np.zeros((5, 2), dtype=np.uint64))
        del ids
    assert pa.total_allocated_bytes() - before < 100_000


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> list[Image.Image]:
    """60 drawn faces, which are 60 different people."""
    root = tmp_path_factory.mktemp("faces") / "tree"
    draw_tree(root, 60)
    return [Image.open(path).convert("RGB") for path in sorted(root.rglob("*.jpg"))]


def encoded(image: Image.Image, kind="JPEG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def grouped(images) -> np.ndarray:
    return group_near(np.array([perceptual_hash(image) for image in images], dtype=np.uint64))


def test_the_hash_is_phash_by_its_definition():
    """DCT of the 32x32 grey picture by scipy.fft, low 8x8 against their median; a PNG, which is decoded as it is."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    grey = Image.fromarray(noise)
    small = np.asarray(grey.resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
    low = dctn(small, type=2)[:8, :8]
    bits = (low > np.median(low)).ravel()
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.LANCZOS), dtype=int)
    slopes = (steps[:, 1:] > steps[:, :-1]).ravel()
    expected = tuple(int("".join("01"[bit] for bit in row), 2) for row in (bits.astype(int), slopes.astype(int)))
    assert perceptual_hash(encoded(grey, "PNG")) == expected


def test_a_jpeg_that_is_decoded_small_has_nearly_the_hash_of_the_whole(faces):
    for face in faces[:20]:
        image = encoded(face, quality=92)
        quick, whole = perceptual_hash(image)[0], int(str(imagehash.phash(Image.open(io.BytesIO(image)))), 16)
        assert (quick ^ whole).bit_count() <= 2


@pytest.mark.parametrize(
    "change",
    [
        lambda face: encoded(face, quality=40),
        lambda face: encoded(face, "PNG"),
        lambda face: encoded(face.resize((112, 112))),
        lambda face: encoded(face.convert("L")),
        lambda face: encoded(ImageEnhance.Brightness(face).enhance(0.8)),
        lambda face: encoded(face.crop((1, 1, face.width - 1, face.height - 1))),
    ],
    ids=["compressed", "png", "smaller", "grey", "darker", "cropped by a pixel"],
)
def test_the_same_face_saved_another_way_is_a_near_duplicate(faces, change):
    groups = grouped([encoded(face, quality=95) for face in faces] + [change(face) for face in faces])
    assert np.mean(groups[:60] == groups[60:]) > 0.95


def test_other_faces_are_no_near_duplicates(faces):
    assert len(set(grouped([encoded(face) for face in faces]))) == 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_of_one_colour_has_no_hash(kind):
    assert perceptual_hash(encoded(Image.new("RGB", (64, 64), (200, 120, 40)), kind)) is None
    ramp = Image.fromarray(np.tile(np.linspace(100, 140, 64).astype(np.uint8), (64, 1)))
    assert perceptual_hash(encoded(ramp, kind)) is not None


def test_a_truncated_picture_is_an_error(faces):
    with pytest.raises(OSError):
        perceptual_hash(encoded(faces[0])[:2000])


# --- real faces ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "ferplus").is_dir(), reason="no FER+ in shared/ferplus beside the checkout")
def test_real_faces_with_equal_pixels_are_found_and_saved_again_too():
    with tarfile.open(SHARED / "ferplus" / "FER2013Valid.tar") as archive:
        images = [archive.extractfile(file).read() for file in archive if file.name.endswith(".png")][:800]
    pixels = [Image.open(io.BytesIO(image)).tobytes() for image in images]
    again = [encoded(Image.open(io.BytesIO(image)), quality=90) for image in images]
    groups = grouped(images + again)
    assert np.mean(groups[:800] == groups[800:]) > 0.95
    doubles = [(pixels.index(same), place) for place, same in enumerate(pixels) if pixels.index(same) != place]
    assert doubles and all(groups[one] == groups[other] for one, other in doubles)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "fairface").is_dir(), reason="no FairFace in shared/fairface beside the checkout")
def test_different_real_people_are_not_called_duplicates():
    """1,500 people give 1.1 million pairs; all 5,000 give 3 pairs, of which each is one photograph."""
    with tarfile.open(SHARED / "fairface" / "faces.tar") as archive:
        images = [archive.extractfile(file).read() for file in archive if file.name.endswith(".jpg")][:1500]
    assert 1500 - len(set(grouped(images))) <= 1

"""The quick way may leave a face to the plain one, but may never say anything else than it."""

import json
import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import MsgspecError
from PIL import Image

from affectnet_plus import BadRow, check_image, features, read_annotation, to_table
from affectnet_plus_modeling.preparing import quick
from affectnet_plus_modeling.preparing.quick import ROW_SCHEMA, jpeg_size, read_form
from affectnet_plus_modeling.sources.tree import annotation
from support.trees import full_record, picture

ALL = features("all")
COLUMNS = ROW_SCHEMA.names[2:]


def quick_rows(texts: list[bytes]) -> list[dict | None]:
    """The columns of each text as the quick way gives them; None is left to the plain way."""
    forms: list = []
    for text in texts:
        try:
            forms.append(read_form(text))
        except MsgspecError:
            forms.append(None)
    records = [quick._packed(form, b"image", (1, 1)) for form in forms if form is not None]
    table = quick._table("/", ["1.jpg"] * len(records), ["train/1"] * len(records), records)
    rows = iter(table.select(COLUMNS).to_pylist())
    return [None if form is None else next(rows) for form in forms]


def plain_row(text: bytes) -> dict | None:
    try:
        row = {"image": None, "image_id": "train/1"} | read_annotation(text)
    except BadRow:
        return None
    typed = to_table([row], ALL).to_pylist()[0]
    return {name: typed[name] for name in COLUMNS}


def assert_never_another(texts: list[bytes]) -> int:
    """How many were read the quick way, each of which the plain way reads alike, to the sign of a zero."""
    taken = 0
    for text, row in zip(texts, quick_rows(texts), strict=True):
        if row is not None:
            taken += 1
            assert repr(row) == repr(plain_row(text)), text
    return taken


# --- one annotation --------------------------------------------------------------------------------------------------

NUMBERS = [
    "0",
    "1",
    "-0",
    "-0.0",
    "0.0",
    "1.0",
    "1e0",
    "0e5",
    "1E-400",
    "-1e-400",
    "5e-324",
    "2.5e-324",
    "1e400",
    "-1",
    "-1.0",
    "-2",
    "-2.0",
    "-1.5",
    "-1.0000000000000002",
    "1.0000000000000002",
    "0.1",
    "0.33333333333333333333333",
    "0.50000001490116119384765625",
    "0.500000014901161193847656250001",
    "1" + "0" * 30,
    "9" * 400,
    "01",
    "1.",
    ".5",
    "+1",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "false",
    "null",
    '"1"',
    '"a:b"',
    "[]",
    "{}",
    "[1]",
    "2",
    "10",
    "11",
    "150",
    "151",
    "-4096",
    "-4097",
    "8192",
    "8193",
    "32767",
    "32768",
    "1000",
    "-1000.5",
    "18446744073709551616",
]


@pytest.mark.parametrize(
    "key",
    [
        "human-label",
        "subset",
        "valence",
        "arousal",
        "age",
        "female",
        "middle eastern",
        "yaw",
        "soft-label",
        "landmark-68",
        "landmark-29",
        "gender",
        "race",
        "pose",
        "meta-data",
    ],
)
def test_any_number_in_any_field_is_read_as_the_plain_reader_reads_it(key):
    text = json.dumps(full_record(2, 0, seed=1))
    start = text.index(f'"{key}": ') + len(key) + 4
    _, end = json.JSONDecoder().raw_decode(text, start)
    texts = [text[:start] + number + text[end:] for number in NUMBERS]
    if text[start] == "[":  # the first number of a list, too
        comma = text.index(",", start)
        texts += [text[: start + 1] + number + text[comma:] for number in NUMBERS]
    taken = assert_never_another([text.encode() for text in texts])
    assert taken >= (0 if key == "meta-data" else 1)


FIELDS = st.fixed_dictionaries(
    {
        "label": st.none() | st.integers(0, 10),
        "soft_label": st.none() | st.lists(st.floats(0, 1) | st.integers(0, 1), min_size=8, max_size=8),
        "subset": st.none() | st.integers(0, 2),
        "valence": st.none() | st.floats(-1, 1) | st.sampled_from([-2, -2.0, -1.5]),
        "arousal": st.none() | st.floats(-1, 1),
        "age": st.none() | st.floats(0, 150) | st.integers(0, 150),
        "gender": st.none() | st.fixed_dictionaries({"female": st.floats(0, 1), "male": st.floats(0, 1)}),
        "pose": st.none() | st.fixed_dictionaries(dict.fromkeys(("yaw", "pitch", "roll"), st.floats(-1000, 1000))),
        "landmarks_68": st.none() | st.just([(-3, 230), *[(100, 7)] * 67]),
        "landmarks_29": st.none() | st.just([(-4096, 8192)] * 29),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=4))
def test_any_annotation_in_the_form_of_the_release_is_read_the_quick_way(fields):
    texts = [json.dumps(annotation(**field)).encode() for field in fields]
    assert assert_never_another(texts) == sum(field["valence"] != -1.5 for field in fields)


TEXT = json.dumps(full_record(2, 0, seed=3))
PIECES = [TEXT[start:end] for start, end in ((0, 18), (1, 18), (17, 40), (0, 300), (100, 700), (1000, 1400))] + NUMBERS
PIECES += [
    '"human-label": 1, ',
    '"subset": 1, ',
    '"female": 0.5, ',
    '"was": 1, ',
    '"Subset": 1, ',
    '"\\u0073ubset": 2, ',
    '"',
    "\\",
    "/*x*/",
    "e",
    ".",
    *",:{}[] \t\n\x00\ufeff\u00a0",
]
PLACES = sorted({0, len(TEXT), *(i + step for i, sign in enumerate(TEXT) if sign in '{[,:}]"' for step in (0, 1))})
DAMAGE = st.lists(
    st.tuples(st.sampled_from(PLACES), st.integers(0, 5) | st.integers(0, 400), st.sampled_from([*PIECES, ""])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(DAMAGE, min_size=1, max_size=5), st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"]))
def test_no_damaged_annotation_is_read_as_something_else(damages, encoding):
    texts = []
    for damage in damages:
        text = TEXT
        for place, length, piece in damage:
            text = text[:place] + piece + text[place + length :]
        texts.append(text.encode(encoding))
    assert_never_another(texts)


@pytest.mark.parametrize(
    "old, new",
    [
        ('"subset": ', '"subset": 1, "subset": '),
        ('"female": ', '"female": 1, "female": '),
        ('"age": ', '"\\u0061ge": 1, "age": '),
        ('"meta-data": ', '"meta-data": {}, "meta-data": '),
        ('"subset": ', '"Subset": 1, "subset": '),
        ('"subset": ', '"more": 1, "subset": '),
        ('"subset": ', '"sub_set": '),
        ('"valence": ', '"valence": -1.5, "x": '),
        ('"female": ', '"female": null, "x": '),
    ],
)
def test_what_is_not_in_the_form_is_left_to_the_plain_way(old, new):
    text = json.dumps(full_record(2, 0))
    assert text.count(old) == 1 and quick_rows([text.encode()]) != [None]
    assert quick_rows([text.replace(old, new).encode()]) == [None]


def test_shares_are_divided_by_the_sum_that_the_plain_reader_uses():
    rng = np.random.default_rng(5)
    records = [annotation(soft_label=rng.uniform(0, 1, 8).tolist()) for _ in range(300)]
    records += [annotation(soft_label=soft) for soft in ([0] * 8, [5e-324] * 8, [1e-310, 1, 0, 0, 0, 0, 0, 0])]
    assert assert_never_another([json.dumps(record).encode() for record in records]) == len(records)


def test_a_record_is_packed_as_it_is_unpacked():
    assert quick._RECORD.itemsize == len(quick._packed(read_form(TEXT.encode()), b"x", (1, 1)))


# --- one image -------------------------------------------------------------------------------------------------------


def jpeg(mode="RGB", size=(24, 17), **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), "uint8")
    content = BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, "JPEG", **options)
    return content.getvalue()


COMMON = [jpeg(), jpeg("L"), jpeg(quality=95), jpeg(optimize=True), jpeg(progressive=True), jpeg(subsampling=0)]
UNCOMMON = [jpeg("CMYK"), jpeg(comment=b"x"), jpeg(icc_profile=b"x"), jpeg(restart_marker_rows=1)]
UNCOMMON += [jpeg(exif=b"Exif\0\0x")]


def assert_size_is_right(data: bytes) -> bool:
    size = jpeg_size(data)
    if size is not None:
        check_image(data)
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            assert image.size == size
    return size is not None


@pytest.mark.parametrize("data", COMMON)
def test_the_size_of_a_common_jpeg_is_read(data):
    assert jpeg_size(data) == (24, 17)


def two_tables_in_one_segment(data: bytes) -> bytes:
    first, second = data.index(b"\xff\xdb"), data.index(b"\xff\xdb", data.index(b"\xff\xdb") + 69)
    assert second == first + 69
    return data[:first] + b"\xff\xdb\x00\x84" + data[first + 4 : second] + data[second + 4 :]


def test_two_tables_may_share_a_segment():
    assert assert_size_is_right(two_tables_in_one_segment(COMMON[0]))


OTHERS = [picture(kind="PNG"), b"", COMMON[0][:-2], COMMON[0] + b"\0", b"\xff\xd8\xff\xd9"]


@pytest.mark.parametrize("data", UNCOMMON + OTHERS)
def test_an_uncommon_file_is_left_to_pillow(data):
    assert jpeg_size(data) is None


@pytest.mark.parametrize("side, taken", [(0, False), (1, True), (4096, True), (4097, False), (65535, False)])
def test_a_size_beyond_the_limits_is_left_to_pillow(side, taken):
    for first in (0, 1):
        size = (side, 9) if first else (9, side)
        at = COMMON[0].index(b"\xff\xc0") + 5
        data = COMMON[0][:at] + struct.pack(">HH", size[1], size[0]) + COMMON[0][at + 4 :]
        assert jpeg_size(data) == (size if taken else None)
        assert assert_size_is_right(data) == taken


@pytest.mark.parametrize("data", COMMON)
def test_a_jpeg_with_one_byte_changed_or_lost_is_read_as_pillow_reads_it(data):
    end = data.index(b"\xff\xda") + 14
    taken = 0
    for place in range(end):
        for value in (0, 1, 2, 16, 0x43, 0xC4, 0xDA, 0xFF):
            taken += assert_size_is_right(data[:place] + bytes([value]) + data[place + 1 :])
        assert_size_is_right(data[:place] + data[place + 1 :])
        assert_size_is_right(data[:place] + b"\xff\xd9")
    assert taken > end


SEGMENTS = [
    b"\xff\xc4\x00\x02",
    b"\xff\xc4\x00\x00",
    b"\xff\xc4\x00\x01",
    b"\xff\xda\x00\x02",
    b"\xff\xdb\x00\x43",
    b"\xff",
    b"\xff\xff",
    b"\xff\xc0\x00\x11\x08\x00\x05\x00\x06\x03" + b"1" * 9,
    b"\xff\xfe\x00\x04ab",
    b"\xff\xd9",
    b"\xff\xd8",
    b"\x00",
    b"\xff\x00",
]
HARM = st.tuples(
    st.integers(0, 700), st.integers(0, 3) | st.integers(0, 200), st.sampled_from(SEGMENTS) | st.binary(max_size=4)
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(COMMON + UNCOMMON), st.lists(HARM, min_size=1, max_size=3), st.booleans())
def test_no_damaged_jpeg_is_taken_that_pillow_refuses(data, damage, at_marker):
    for place, length, piece in damage:
        place = max(data.find(b"\xff", place), 0) if at_marker else place
        data = data[:place] + piece + data[place + length :]
    assert_size_is_right(data)

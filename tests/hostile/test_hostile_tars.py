"""Damaged and hostile tars: each picture is read as it was or is a reason, or the tar is refused in a sentence."""

import io
import struct
import tarfile

import pytest
from hypothesis import strategies as st

from affectnet_plus import BadRow, LayoutError
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.sources import ferplus_files
from affectnet_plus_modeling.sources.ferplus_files import FaceTar
from hostile.damage import check_sentence, damaged_bytes, many, runs
from support.archives import as_tar
from support.trees import picture

FACES = {f"FER2013Train/fer{n:07d}.png": picture((n, 90, 30), "PNG") for n in range(10)}
BLOCK = 512


def good_tar(format=tarfile.GNU_FORMAT, long_names=False) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, content in FACES.items():
            member = tarfile.TarInfo("x" * 120 * long_names + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


TARS = {
    (form, long): good_tar(form, long) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT) for long in (False, True)
}


def headers(content: bytes) -> list[int]:
    return [at for at in range(0, len(content), BLOCK) if content[at + 257 : at + 262] == b"ustar"]


def sealed(header: bytes) -> bytes:
    """The same with the checksum that its bytes ask for."""
    total = 256 + sum(header[:148]) + sum(header[156:])
    return header[:148] + b"%06o\0 " % total + header[156:]


def with_size(header: bytes, size: bytes) -> bytes:
    return sealed(header[:124] + size.rjust(12, b"0")[:12] + header[136:])


SIZES = (
    b"\xff" * 4 + struct.pack(">q", -512),
    b"\xff" * 12,
    b"\x80" + (1 << 33).to_bytes(11, "big"),
    b"77777777777\0",
    b"-0000000100\0",
    b"00000000000\0",
    b"00000001000\0",
)


class Sealed(bytes):
    """A tar whose headers lie and have the checksum for it: it may mean other files, and is only to do no harm."""

    __repr__ = object.__repr__


class Damaged(bytes):
    """A tar as an accident leaves it."""

    __repr__ = object.__repr__


@st.composite
def damaged_tars(draw) -> Damaged | Sealed:
    content = TARS[draw(st.sampled_from(sorted(TARS, key=repr)))]
    at = draw(st.sampled_from(headers(content)))
    header, rest = content[at : at + BLOCK], content[at + BLOCK :]
    kind = draw(st.sampled_from(("bit", "zeroed", "zeros", "cut", "size", "type", "pax", "other")))
    if kind == "bit":
        place, bit = draw(st.integers(0, BLOCK - 1)), draw(st.integers(0, 7))
        header = header[:place] + bytes([header[place] ^ 1 << bit]) + header[place + 1 :]
    elif kind == "zeroed":
        header = bytes(BLOCK)
    elif kind == "zeros":
        header = bytes(BLOCK * draw(st.integers(1, 3))) + header
    elif kind == "cut":
        return Damaged(content[: draw(st.integers(at, len(content) - 1))])
    elif kind == "size":
        header = with_size(header, draw(st.sampled_from(SIZES)))
    elif kind == "type":
        header = sealed(
            header[:156] + draw(st.sampled_from([b"%c" % n for n in b"01234567SxgLKVDMN?\0"])) + header[157:]
        )
    elif kind == "pax":
        text = draw(
            st.sampled_from((b"%d size=1\n" % 10**20, b"11 size=-1\n", b"30 size=" + b"9" * 21 + b"\n", b"6 =x\n"))
        )
        extra = sealed(with_size(header, b"%011o" % len(text))[:156] + b"x" + header[157:])
        header = extra + text.ljust(BLOCK, b"\0") + header
    else:
        return Damaged(draw(damaged_bytes(content)))
    made = Sealed if kind in ("size", "type", "pax") else Damaged
    return made(content[:at] + header + rest)


def outcome(read) -> list[tuple] | str:
    """What `read` gives, or the sentence by which it refuses."""
    try:
        return read()
    except ValueError as error:
        check_sentence(str(error))
        return str(error)


@pytest.mark.timeout(600)
@runs(250, 20_000)
def test_no_picture_of_a_damaged_tar_is_lost_without_a_word(tmp_path, count):
    path = tmp_path / "FER2013Train.tar"

    def pictures():
        opened = open_pictures(path, annotated=True)
        found = []
        for one in opened.pictures():
            try:
                found.append((one.name, opened.read(one)[1]))
            except BadRow as reason:
                found.append((one.name, str(reason)))
        return found, opened.passed_over

    def check(content):
        path.write_bytes(content)
        kinds = {}
        found = outcome(lambda: kinds.setdefault("label", pictures()))
        votes = outcome(lambda: list(FaceTar(path, "Training").faces()))
        if isinstance(found, str) or isinstance(votes, str):
            assert isinstance(found, str) == isinstance(votes, str) or "holds no .jpg" in found, (found, votes)
            return
        names, passed_over = found
        if isinstance(content, Sealed):
            return
        assert len(votes) >= len(FACES)
        whole = {content for _, content in names if isinstance(content, bytes)}
        assert whole <= set(FACES.values())
        assert len(whole) + sum(isinstance(content, str) for _, content in names) + passed_over >= len(FACES)

    many(count, damaged_tars(), check)


# --- the cases that were found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage, said",
    [
        ("bit", "at byte 8,192, after 4 members, stands no header that can be read, and 5 more, in "),
        ("zeroed", "at byte 8,192, after 4 members, stands an end mark, and 5 more, in "),
        ("two zero blocks", "at byte 8,192, after 4 members, stands an end mark, and 6 more, in "),
        ("cut", "it ends at byte 8,192, after 4 members, without its end mark"),
        ("within", "member 4 is said to have "),
    ],
)
def test_what_lies_behind_the_damage_is_counted(tmp_path, damage, said):
    files = {f"{n}.png": picture((n, 90, 30), "PNG").ljust(1536, b"\0") for n in range(10)}
    path = as_tar(tmp_path / "faces.tar", files)
    content, at = path.read_bytes(), 4 * (BLOCK + 1536)
    header = content[at : at + BLOCK]
    damaged = {
        "bit": content[:at] + b"5" + content[at + 1 :],
        "zeroed": content[:at] + bytes(BLOCK) + content[at + BLOCK :],
        "two zero blocks": content[:at] + bytes(2 * BLOCK) + content[at:],
        "cut": content[:at],
        "within": content[: at - 10],
    }[damage]
    assert header.startswith(b"4.png")
    path.write_bytes(damaged)
    with pytest.raises(LayoutError, match=f"faces.tar is not a whole, uncompressed tar: {said}"):
        open_pictures(path)


@pytest.mark.parametrize("size", SIZES[:5])
def test_a_size_that_leads_out_of_the_tar_is_refused(tmp_path, size):
    path = as_tar(tmp_path / "faces.tar", FACES)
    content = path.read_bytes()
    path.write_bytes(with_size(content[:BLOCK], size) + content[BLOCK:])
    with pytest.raises(LayoutError, match="faces.tar is not a whole, uncompressed tar: member 1 is said to have"):
        open_pictures(path)


def test_long_names_records_and_links_are_those_that_tarfile_reads(tmp_path):
    from affectnet_plus_modeling.sources.tar_archive import Tar

    for number, (form, long) in enumerate(TARS):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(TARS[form, long])
        with tarfile.open(path, "a", format=form) as tar:
            for kind, name in (
                (tarfile.DIRTYPE, "folder/"),
                (tarfile.SYMTYPE, "y" * 150),
                (tarfile.CHRTYPE, "\udcff"),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "z" * 150
                tar.addfile(member)
        with tarfile.open(path) as tar:
            expected = [(member.name, member.offset_data, member.size, member.isreg()) for member in tar]
        found = [(name, start, size, kind == "file") for name, start, size, kind in Tar(path).members()]
        assert found == expected and len(found) == len(FACES) + 3


def test_a_table_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ferplus_files, "MAX_TABLE_BYTES", 1000)
    path = as_tar(tmp_path / "FER2013Train.tar", {"FER2013Train/label.csv": bytes(1001)})
    with pytest.raises(ValueError, match="FER2013Train.tar/label.csv has 1,001 bytes, expected at most 1,000"):
        FaceTar(path, "Training").label_csv()

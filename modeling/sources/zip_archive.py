"""One zip archive, whole or in pieces, read where it lies: what its directory lists, and what a member holds.

Format: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 and 4.4. The standard library's `zipfile` cannot read archives that
span disks, which is what `zip -s` writes, and keeps every member as an object of 0.7 kB, in every process again: a
release has 1.9 million. Here a member is a place in the directory, and is looked up when it is wanted.

Nothing in an archive is believed: sizes are limits and are compared with what is found, offsets may point anywhere.
"""

import hashlib
import os
import re
import struct
import weakref
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import NamedTuple

from affectnet_plus import BadRow, LayoutError

MAX_RATIO = 100  # bytes unpacked for one packed; JPEGs have about 1, annotations about 4

_END = struct.Struct("<4s4H2LH")
_LOCATOR64 = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4xHH4xLLLHHHH2xLL")
_LOCAL = struct.Struct("<4s22xHH")
_BLOCK = 1 << 20  # more than the 196,651 bytes that the longest entry can have
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PATCHED = 0x20
_UTF8 = 0x800
_HOSTILE = re.compile(rb"\\|\0|\A/|\A[A-Za-z]:|(?:\A|/)\.\.(?:/|\Z)")


class Pieces:
    """Files that continue one another, read as one. Processes may share it: nothing of it moves."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        sizes = [path.stat().st_size for path in paths]
        self.starts = list(accumulate(sizes, initial=0))
        self.size = self.starts.pop()
        self._open: dict[int, int] = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": {}}

    def read(self, start: int, size: int) -> bytes:
        """The bytes from `start` on: `size` of them, or fewer at the end."""
        found, end = [], min(start + size, self.size)
        while start < end:
            piece = bisect_right(self.starts, start) - 1
            data = os.pread(self._number(piece), end - start, start - self.starts[piece])
            if not data:  # the file has become shorter
                break
            found.append(data)
            start += len(data)
        return b"".join(found)

    def _number(self, piece: int) -> int:
        if piece not in self._open:
            self._open[piece] = os.open(self.paths[piece], os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._open[piece])
        return self._open[piece]


class Entry(NamedTuple):
    """What the directory says of one member. `at` is the entry's place and `offset` the member's, in the pieces."""

    at: int
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int

    def text(self) -> str:
        return decoded(self.name, self.flags)

    def problem(self) -> str | None:
        """Why the member is not read, whatever it holds."""
        if _HOSTILE.search(self.name):
            return f"its name in the archive is {self.text()!r}, expected a path inside of it with / between"
        if S_IFMT(self.mode) not in (0, S_IFREG, S_IFDIR):
            return "is a link or a device in the archive, expected a file"
        if self.flags & _ENCRYPTED:
            return "is encrypted. Unpack the archive with its password, and give the folder"
        if self.flags & _PATCHED:
            return "is a patch of another file, expected the file"
        if self.method not in (0, 8):
            return f"is compressed by method {self.method}, expected 0 (stored) or 8 (deflated). Unpack the archive"
        if self.size > MAX_RATIO * self.packed:
            return f"unpacks from {self.packed} bytes to {self.size}, expected at most {MAX_RATIO} times as many"
        return None


class Archive:
    """One archive: its pieces in order, of which most often there is one.

    Raises:
        LayoutError: it is no zip, damaged, or not all of its pieces are given.
    """

    def __init__(self, paths: list[Path]):
        self.name = re.sub(r"\.[0-9]{3}$", "", paths[-1].name)
        self.pieces = Pieces(paths)
        self._start, self._size, self._count, self._disks = self._directory()

    def _directory(self) -> tuple[int, int, int, list[int]]:
        """Start and size of the directory, how many entries it has, and where each disk starts in the pieces."""
        tail_start = max(0, self.pieces.size - _END.size - 0xFFFF)
        tail = self.pieces.read(tail_start, _END.size + 0xFFFF)
        at = len(tail)
        while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
            if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] <= len(tail):
                break
        if at < 0:
            raise self._headless()
        _, disk, directory_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
        disks, mask, end = disk + 1, 0xFFFF, tail_start + at  # old tools count past 65,535 without Zip64
        locator = self.pieces.read(max(0, end - _LOCATOR64.size), _LOCATOR64.size)
        if locator[:4] == b"PK\6\7" and end >= _LOCATOR64.size:
            _, record_disk, record, disks = _LOCATOR64.unpack(locator)
            starts = self._starts(disks)
            record = self._position(starts, record_disk, record)
            found = self.pieces.read(record, _END64.size)
            if found[:4] != b"PK\6\6" or len(found) < _END64.size:
                raise self._damaged("its Zip64 end record is not where it says")
            *_, directory_disk, _, count, size, offset = _END64.unpack(found)
            mask, end = -1, record
        starts = self._starts(disks)
        start = self._position(starts, directory_disk, offset)
        if start + size > end:
            raise self._damaged("its directory is not where it says")
        return start, size, count & mask, starts

    def _headless(self) -> LayoutError:
        path = self.pieces.paths[-1]
        if self.pieces.read(0, 2) != b"PK":
            return LayoutError(f"{path} is not a zip archive. Fetch it again, or give the extracted folder")
        return LayoutError(
            f"{path} is not the end of a zip archive: the download is not complete, or a later piece is missing. "
            f"Fetch it again"
        )

    def _damaged(self, how: str) -> LayoutError:
        return LayoutError(f"{self.pieces.paths[-1]} is damaged: {how}. Fetch it again")

    def _starts(self, disks: int) -> list[int]:
        """Where each disk starts: offsets count from there. Pieces cut with no regard to the format are one disk."""
        if disks <= 1:
            return [0]
        if len(self.pieces.paths) != disks:
            path = self.pieces.paths[-1]
            raise LayoutError(
                f"{path} is the last of {disks} pieces, of which {len(self.pieces.paths)} are here. Put all of them, "
                f"{path.stem}.z01 to {path.stem}.z{disks - 1:02d} and {path.name}, into one folder"
            )
        return self.pieces.starts

    def _position(self, starts: list[int], disk: int, offset: int) -> int:
        if disk >= len(starts):
            raise self._damaged(f"it points to disk {disk + 1} of {len(starts)}")
        return starts[disk] + offset

    def entries(self) -> Iterator[Entry]:
        """Every entry of the directory, in its order, folders too.

        Raises:
            LayoutError: the directory is damaged.
        """
        at, end, count = self._start, self._start + self._size, 0
        while at < end:
            block, used = self.pieces.read(at, min(_BLOCK, end - at)), 0
            while found := self._parse(block, used, at + used):
                entry, length = found
                yield entry
                used += length
                count += 1
            if not used:
                raise self._damaged(f"its directory ends within entry {count + 1}")
            at += used
        if (count ^ self._count) & 0xFFFF or count < self._count:
            raise self._damaged(f"its directory holds {count} entries, expected {self._count}")

    def _parse(self, block: bytes, start: int, at: int) -> tuple[Entry, int] | None:
        """The entry at `start` of a block, which is at `at` of the pieces, and its length; None if it goes on."""
        if start + _ENTRY.size > len(block):
            return None
        fields = _ENTRY.unpack_from(block, start)
        magic, flags, method, crc, packed, size, name_length, extra, comment, disk, attributes, offset = fields
        if magic != b"PK\1\2":
            raise self._damaged("its directory holds something else than entries")
        name_start = start + _ENTRY.size
        extra_start = name_start + name_length
        if extra_start + extra + comment > len(block):
            return None
        if 0xFFFFFFFF in (packed, size, offset) or disk == 0xFFFF:
            field = _zip64(block[extra_start : extra_start + extra])
            size, packed, offset, disk = self._widened(field, (size, packed, offset, disk))
        if disk >= len(self._disks):
            raise self._damaged(f"a member is said to be on disk {disk + 1} of {len(self._disks)}")
        name, place = block[name_start:extra_start], self._disks[disk] + offset
        entry = Entry(at, name, flags, method, crc, packed, size, attributes >> 16, place)
        return entry, _ENTRY.size + name_length + extra + comment

    def _widened(self, field: bytes, values: tuple[int, int, int, int]) -> list[int]:
        wide, used = [], 0
        for value, full, kind in zip(values, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF), "QQQL"):
            if value == full:
                length = struct.calcsize(f"<{kind}")
                if used + length > len(field):
                    raise self._damaged("a large member has no Zip64 sizes")
                (value,) = struct.unpack_from(f"<{kind}", field, used)
                used += length
            wide.append(value)
        return wide

    def entry(self, at: int) -> Entry:
        """The entry at a place of the pieces.

        Raises:
            LayoutError: there is none.
        """
        found = self._parse(self.pieces.read(at, 512), 0, at) or self._parse(self.pieces.read(at, _BLOCK), 0, at)
        if found is None:
            raise self._damaged("its directory has become shorter")
        return found[0]

    def content(self, entry: Entry, most: int) -> bytes:
        """What a member without a `problem` holds; of more than `most` bytes, `most` + 1 at least.

        Raises:
            BadRow: it is damaged, or not what the directory says.
        """
        name = os.path.basename(entry.text())
        if entry.packed > most:
            raise BadRow(f"{name!r} takes {entry.packed} bytes in the archive, expected at most {most}")
        found = self.pieces.read(entry.offset, _LOCAL.size + len(entry.name) + 64 + entry.packed)
        if len(found) < _LOCAL.size or found[:4] != b"PK\3\4":
            raise BadRow(f"{name!r} is not where the archive's directory says")
        _, name_length, extra = _LOCAL.unpack_from(found)
        if found[_LOCAL.size : _LOCAL.size + name_length] != entry.name:
            raise BadRow(f"{name!r} has another name in the archive than in its directory")
        start = _LOCAL.size + name_length + extra
        packed = found[start : start + entry.packed]
        if len(packed) < entry.packed:
            packed = self.pieces.read(entry.offset + start, entry.packed)
        content = packed if entry.method == 0 else _inflated(name, packed, min(entry.size, most) + 1)
        if len(content) <= most and (len(content) != entry.size or zlib.crc32(content) != entry.crc):
            raise BadRow(f"{name!r} is damaged in the archive: its size or checksum is not the one listed")
        return content

    def digest(self) -> bytes:
        """SHA-256 of the pieces' names and sizes, and of the directory: names, sizes and checksums of all members."""
        sizes = [path.stat().st_size for path in self.pieces.paths]
        total = hashlib.sha256(repr([(p.name, size) for p, size in zip(self.pieces.paths, sizes)]).encode())
        for at in range(self._start, self._start + self._size, _BLOCK):
            total.update(self.pieces.read(at, min(_BLOCK, self._start + self._size - at)))
        return total.digest()


def decoded(name: bytes, flags: int) -> str:
    """The text of a name; bytes that mean nothing in its encoding are written as \\x.."""
    return name.decode("utf-8" if flags & _UTF8 else "cp437", "backslashreplace")


def _zip64(extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _inflated(name: str, packed: bytes, most: int) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(packed, most)
    except zlib.error as error:
        raise BadRow(f"{name!r} is damaged in the archive: {error}") from error

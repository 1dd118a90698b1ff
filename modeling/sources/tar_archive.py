"""One plain tar, read where it lies: what its headers list, and what a member holds.

Format: POSIX pax and ustar (IEEE 1003.1, pax), and the extensions of GNU tar: long names, numbers in base 256, files
with holes. A header is understood by the standard library's `TarInfo.frombuf`. Its `TarFile` is not used: it takes a
damaged header for the end of the archive and says nothing of what lies behind, and goes where a size sends it, which
may be backwards, for ever (CVE-2025-8194).

Nothing in an archive is believed: a member ends within the file, and behind the end there is nothing.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from affectnet_plus import BadRow, LayoutError

BLOCK = 512
MAX_EXTENSION_BYTES = 1 << 20  # of one long name, or of the records of one member

_MAGIC_AT, _MAGIC = 257, b"ustar"
_AT_A_TIME = 1 << 20
_SPARSE_MAP, _SPARSE_MORE = 482, 504  # whether another block of holes follows: in the header, and in such a block
_RECORD = re.compile(rb"([0-9]{1,9}) ([^=\n]{1,200})=")


class Member(NamedTuple):
    """One member. `kind` is "file", "folder", or "other": a link, a device, or a file with holes."""

    name: str  # bytes that are no UTF-8 are surrogates
    start: int
    size: int
    kind: str


class Tar:
    """A tar that is not compressed.

    Args:
        instead: what else may be given, as the end of a sentence.
    """

    def __init__(self, path: Path, instead: str = "the unpacked folder"):
        self.path, self._instead = path, instead

    def members(self) -> Iterator[Member]:
        """Every member in the order of the archive.

        Raises:
            LayoutError: it is no tar, is cut off, or something lies behind a damaged header or an early end; the
                message counts what was read and what was not.
        """
        with open(self.path, "rb", buffering=0) as file:
            yield from _Walk(self, file.fileno(), os.fstat(file.fileno()).st_size).members()

    def content(self, member: Member) -> bytes:
        """What a file holds.

        Raises:
            BadRow: the archive has become shorter since it was listed.
        """
        with open(self.path, "rb", buffering=0) as file:
            content = os.pread(file.fileno(), member.size, member.start)
        if len(content) < member.size:
            raise BadRow(f"has {len(content)} of its {member.size} bytes: the tar is cut off")
        return content

    def damaged(self, why: str) -> LayoutError:
        return LayoutError(
            f"{self.path} is not a whole, uncompressed tar: {why}. Fetch it again, decompress it, or give "
            f"{self._instead}"
        )


class _Walk:
    """From header to header. A long name or a record stands before the header of the member that it is of."""

    def __init__(self, tar: Tar, number: int, size: int):
        self._tar, self._number, self._size = tar, number, size
        self._at = 0
        self._listed = 0

    def members(self) -> Iterator[Member]:
        shared: dict[bytes, bytes] = {}  # records of all members that follow
        own: dict[bytes, bytes] = {}
        while header := self._header():
            start = self._at
            if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
                records = self._records(self._extension(header))
                shared, own = (shared | records, own) if header.type == tarfile.XGLTYPE else (shared, own | records)
            elif header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                text = self._extension(header).split(b"\0")[0]
                own = own | ({b"path": text} if header.type == tarfile.GNUTYPE_LONGNAME else {})
            else:
                yield self._member(header, start, shared | own)
                self._listed += 1
                own = {}
        if own:
            raise self._damaged("it ends with a name of no file")

    def _read(self, size: int) -> bytes:
        content = os.pread(self._number, size, self._at)
        if len(content) < size:
            raise self._damaged(f"it ends at byte {self._size:,}, after {self._counted()}, without its end mark")
        self._at += size
        return content

    def _header(self) -> tarfile.TarInfo | None:
        """The next header; None at the end."""
        at, block = self._at, self._read(BLOCK)
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            empty = not block.strip(b"\0")
            if not self._listed and not empty and at == 0:
                raise self._damaged("it does not begin with a header") from error
            bytes_behind, files_behind = self._behind(at)
            if empty and not bytes_behind:
                return None
            what = "an end mark" if empty else "no header that can be read"
            raise self._damaged(
                f"at byte {at:,}, after {self._counted()}, stands {what}, and {files_behind:,} more, in "
                f"{bytes_behind:,} bytes, lie behind it"
            ) from error

    def _behind(self, at: int) -> tuple[int, int]:
        """The bytes from the block at `at` to the last that is not 0, and the headers of files among them."""
        last, files, tail = 0, 0, b""
        self._at = at
        while chunk := os.pread(self._number, _AT_A_TIME, at):
            if found := len(chunk.rstrip(b"\0")):
                last = at + found - self._at
            window, first = tail + chunk, at - len(tail)
            place = window.find(_MAGIC)
            while place >= 0:
                files += first + place - _MAGIC_AT >= self._at and self._is_file(first + place - _MAGIC_AT)
                place = window.find(_MAGIC, place + 1)
            tail, at = chunk[-(len(_MAGIC) - 1) :], at + len(chunk)
        return last, files

    def _is_file(self, at: int) -> bool:
        try:
            return tarfile.TarInfo.frombuf(os.pread(self._number, BLOCK, at), "utf-8", "surrogateescape").isfile()
        except tarfile.HeaderError:
            return False

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= MAX_EXTENSION_BYTES:
            raise self._damaged(
                f"at byte {self._at - BLOCK:,} a name or a record is said to have {header.size:,} bytes, expected at "
                f"most {MAX_EXTENSION_BYTES:,}"
            )
        return self._read(_in_blocks(header.size))[: header.size]

    def _records(self, content: bytes) -> dict[bytes, bytes]:
        """The records of a pax header: "<length> <keyword>=<value>", and a line break."""
        found, at = {}, 0
        while at < len(content):
            record = _RECORD.match(content, at)
            end = at + int(record[1]) if record else 0
            if record is None or not record.end() < end <= len(content) or content[end - 1 : end] != b"\n":
                raise self._damaged(f"a record of pax before byte {self._at:,} cannot be read")
            found[record[2]] = content[record.end() : end - 1]
            at = end
        return found

    def _member(self, header: tarfile.TarInfo, start: int, records: dict[bytes, bytes]) -> Member:
        name = records.get(b"path", header.name.encode("utf-8", "surrogateescape"))
        name = records.get(b"GNU.sparse.name", name)
        sparse = header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(b"GNU.sparse.") for key in records)
        if header.type == tarfile.GNUTYPE_SPARSE:
            start = self._pass_holes(start)
        size = self._declared(header.size, records) if header.isreg() or _is_unknown(header) else 0
        if not 0 <= size <= self._size - start:
            raise self._damaged(
                f"member {self._listed + 1} is said to have {size:,} bytes, and {self._size - start:,} are left"
            )
        self._at = start + _in_blocks(size)
        kind = "folder" if header.isdir() else "file" if header.isreg() and not sparse else "other"
        text = name.decode("utf-8", "surrogateescape")
        return Member(text.rstrip("/") if kind == "folder" else text, start, size, kind)

    def _declared(self, size: int, records: dict[bytes, bytes]) -> int:
        if b"size" not in records:
            return size
        if not re.fullmatch(rb"[0-9]{1,30}", records[b"size"]):
            raise self._damaged(f"the size of member {self._listed + 1} is no number")
        return int(records[b"size"])

    def _pass_holes(self, start: int) -> int:
        """Where the content of a file with holes begins: behind the blocks that list more of them."""
        self._at = start
        block = os.pread(self._number, BLOCK, start - BLOCK)
        more = block[_SPARSE_MAP]
        while more:
            more = self._read(BLOCK)[_SPARSE_MORE]
        return self._at

    def _counted(self) -> str:
        return f"{self._listed:,} member{'s' * (self._listed != 1)}"

    def _damaged(self, why: str) -> LayoutError:
        return self._tar.damaged(why)


def _is_unknown(header: tarfile.TarInfo) -> bool:
    return header.type not in tarfile.SUPPORTED_TYPES  # POSIX: to be taken for a file


def _in_blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

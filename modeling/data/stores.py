"""Folders of files, on this machine or behind an address such as s3://bucket/faces, by the file systems of pyarrow.

A file that is written is there whole or not at all: on this machine by a rename, in an object store by its own rule.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from ..files import written_whole
from ..hub_names import is_address
from ..sentences import first_line

from_uri = fs.FileSystem.from_uri


class Store:
    """A folder; names in it have / between them and never begin with one.

    Args:
        where: a path; or an address that pyarrow or fsspec knows, with the options that pyarrow takes behind a "?",
            such as s3://bucket/faces?endpoint_override=http://localhost:9000.

    Raises:
        ValueError: nothing knows the protocol of the address.
    """

    def __init__(self, where):
        self.where, self.options = str(where).rstrip("/"), ""
        self.local = not is_address(where)
        if self.local:
            self._fs, self._root = fs.LocalFileSystem(), os.path.abspath(where)
            return
        address, sign, options = self.where.partition("?")
        self.where, self.options = address.rstrip("/"), sign + options
        try:
            self._fs, root = from_uri(self.where + self.options)
        except (ValueError, ImportError, OSError) as error:
            raise ValueError(f"{self.where} cannot be opened: {first_line(error)}") from error
        self._root = root.rstrip("/")

    def beside(self, ending: str) -> "Store":
        """The folder of the same name with something behind it."""
        return Store(self.where + ending + self.options)

    def place(self, name: str) -> str:
        """Where a file is, for people."""
        return f"{self.where}/{name}"

    def names(self, folder: str = "", deep: bool = False) -> list[tuple[str, int, float]]:
        """Names of the files, sorted, with their bytes and the time of their last change; none of no such folder."""
        selector = fs.FileSelector(self._at(folder), allow_not_found=True, recursive=deep)
        found = [info for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]
        cut = len(self._root) + 1
        return sorted((info.path[cut:], info.size, (info.mtime_ns or 0) / 1e9) for info in found)

    def exists(self, name: str) -> bool:
        return self._fs.get_file_info(self._at(name)).type == fs.FileType.File

    def read(self, name: str) -> bytes:
        """What a file holds.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        with self._fs.open_input_stream(self._at(name)) as file:
            return file.read()

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to this machine."""
        with self._fs.open_input_stream(self._at(name)) as file, open(to, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 23)

    def write(self, name: str, content) -> None:
        """Write a file of bytes, or what may be read as such, whole or not at all.

        Raises:
            OSError: the disk is full, or the object store refuses.
        """
        if self.local:
            path = Path(self._at(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as partial:
                partial.write_bytes(content)
            return
        with self._fs.open_output_stream(self._at(name)) as file:
            file.write(content)

    def mark(self, name: str) -> None:
        """Write an empty file; after a power cut it may be gone."""
        if self.local:
            Path(self._at(name)).parent.mkdir(parents=True, exist_ok=True)
        self._fs.open_output_stream(self._at(name)).close()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._at(name))

    def copy(self, name: str, to: "Store", new: str) -> None:
        """Copy a file into another folder of the same file system; an object store does that within itself."""
        self._fs.copy_file(self._at(name), to._at(new))

    def empty(self) -> None:
        """Remove the folder with all that is in it, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.delete_dir(self._root)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

"""Pictures that lie in rows: faces of which something is known already, and the pictures of any table."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from affectnet_plus import MAX_IMAGE_BYTES, BadRow, LayoutError, read_file

from ..files import MANIFEST
from ..preparing.manifest import read_manifest
from ..sources.delivered import Source
from ..sources.links import refuse_links_out
from ..terms import UNKNOWN
from .readers import WANTED, Listed, NoPictures, Picture, checked

_WHOLE = re.compile(r"[0-9]{1,18}")


class SourceFaces(Listed):
    """The faces of an AffectNet+ tree, of its zips, or of an older release."""

    passed_over = 0

    def __init__(self, source: Source):
        self.root, self.origin, self._source = source.root, source.origin, source
        faces = (face for split in source.splits() for face in source.faces(split))
        found = [Picture(face.image_id, face.image_id, face, face.problem) for face in faces]
        self._pictures = _with_whole_stems(found)

    def places(self) -> list[Path]:
        return self._source.places()

    def encoded(self, picture: Picture) -> bytes:
        return self.read(picture)[1]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return self._source.read(picture.name.split("/")[0], picture.place)

    def fingerprint(self) -> str:
        return self._source.fingerprint()


class ParquetPictures(Listed):
    """The pictures of Parquet files, such as a data set of the Hub has; of other columns nothing is known.

    A row that holds the path of a picture is refused: it could be that of any picture of whoever reads it.
    """

    passed_over = 0
    origin = UNKNOWN

    def __init__(self, root: Path, files: Sequence[Path]):
        self.root = root.resolve()
        self._files = [file.resolve() for file in files]
        self._group: tuple[tuple[int, int], pa.Table] | None = None  # the last that was read from
        self._pictures = _with_whole_stems(list(self._list()))
        if not self._pictures:
            raise NoPictures(f"{root} has no rows; give {WANTED}")

    def _list(self) -> Iterator[Picture]:
        count = 0
        for number, file in enumerate(self._files):
            with pq.ParquetFile(file) as opened:
                column = opened.schema_arrow.field("image").type if "image" in opened.schema_arrow.names else None
                if not (column and pa.types.is_struct(column) and {"bytes", "path"} <= {part.name for part in column}):
                    names = ", ".join(opened.schema_arrow.names)
                    raise LayoutError(f"{file} has no column image of bytes and path (but {names}); give {WANTED}")
                for group in range(opened.num_row_groups):
                    rows = opened.metadata.row_group(group).num_rows
                    for row, name in enumerate(self._names(opened, group, rows)):
                        count += 1
                        yield Picture(name or f"no_human/{count}", name or str(count - 1), (number, group, row))

    def _names(self, opened: pq.ParquetFile, group: int, rows: int) -> Sequence[str | None]:
        """The image_id of each row, where there are such."""
        return [None] * rows

    def places(self) -> list[Path]:
        return self._files

    def _row(self, picture: Picture) -> dict:
        number, group, row = picture.place
        held = self._group
        if held is None or held[0] != (number, group):
            with pq.ParquetFile(self._files[number]) as opened:
                held = self._group = (number, group), _without_extensions(opened.read_row_group(group))
        return {name: held[1][name][row].as_py() for name in held[1].column_names}

    def encoded(self, picture: Picture) -> bytes:
        return self._content(self._row(picture)["image"])

    def _content(self, image: dict) -> bytes:
        if image["bytes"] is None:
            raise BadRow("its row holds the path of a picture, and not the picture")
        return image["bytes"]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, checked(self.encoded(picture))

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for file in self._files:
            found = file.stat()
            total.update(f"{file.name}/{found.st_size}/{found.st_mtime_ns}\n".encode())
        return total.hexdigest()


class PreparedFaces(ParquetPictures):
    """A folder that `prepare` wrote, or a copy of a published one.

    A row holds a path where the manifest says that rows do, and that of a file of the source.
    """

    def __init__(self, folder: Path, follow_links: bool = False):
        try:
            manifest = read_manifest(folder)
        except ValueError as error:
            raise LayoutError(str(error)) from error
        source = manifest["source"]
        self.origin, self._raw = source["origin"], source["path"]
        self._by_path = bool(self._raw) and not manifest["embedded"]
        self._follow = follow_links or source.get("follow_links", False)
        files = [folder / name for name in manifest["files"]]
        if not follow_links:
            refuse_links_out(folder, files)
        super().__init__(folder, files)

    def _content(self, image: dict) -> bytes:
        if image["bytes"] is not None or not self._by_path:
            return super()._content(image)
        if not self._follow and not Path(os.path.abspath(image["path"])).is_relative_to(self._raw):
            raise BadRow(f"its picture lies outside of {self._raw}, which was prepared")
        return read_file(image["path"], MAX_IMAGE_BYTES, self._follow)

    def _names(self, opened: pq.ParquetFile, group: int, rows: int) -> Sequence[str | None]:
        return opened.read_row_group(group, ["image_id"])["image_id"].to_pylist()

    def places(self) -> list[Path]:
        return [self.root] + ([Path(self._raw)] if self._raw else [])

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        known = self._row(picture)
        return known, checked(self._content(known.pop("image")))

    def fingerprint(self) -> str:
        return hashlib.sha256((self.root / MANIFEST).read_bytes()).hexdigest()


class RowPictures(Listed):
    """The pictures of a `datasets.Dataset`, the column `image`."""

    passed_over = 0
    origin = UNKNOWN
    root = Path("rows")

    def __init__(self, data: datasets.Dataset):
        if not isinstance(data.features.get("image"), datasets.Image):
            raise LayoutError(f"the data set has no column image of pictures, but {', '.join(data.column_names)}")
        self._images = data.select_columns("image").cast_column("image", datasets.Image(decode=False))
        names = data["image_id"][:] if "image_id" in data.column_names else map(str, range(len(data)))
        self._pictures = [Picture(f"no_human/{row + 1}", name, row) for row, name in enumerate(names)]

    def places(self) -> list[Path]:
        return []

    def encoded(self, picture: Picture) -> bytes:
        image = self._images[picture.place]["image"]
        return read_file(image["path"], MAX_IMAGE_BYTES, True) if image["bytes"] is None else image["bytes"]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, checked(self.encoded(picture))

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for picture in self._pictures:
            total.update(hashlib.sha256(self.encoded(picture)).digest())
        return total.hexdigest()


def _without_extensions(table: pa.Table) -> pa.Table:
    """The same with landmarks as lists: as arrays, null ones would be full of NaN."""
    plain = {
        name: pa.chunked_array([chunk.storage for chunk in column.chunks])
        if isinstance(column.type, pa.ExtensionType)
        else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(plain)


def _with_whole_stems(pictures: list[Picture]) -> list[Picture]:
    """The pictures, numbered anew in each split where a stem is no whole number, as a tree cannot hold it then.

    Those that cannot be read do not count: they are in no tree.
    """
    if all(picture.problem or _WHOLE.fullmatch(picture.image_id.partition("/")[2]) for picture in pictures):
        return pictures
    numbers: Counter[str] = Counter()
    found = []
    for picture in pictures:
        split = picture.image_id.split("/")[0]
        numbers[split] += 1
        found.append(picture._replace(image_id=f"{split}/{numbers[split]}"))
    return found

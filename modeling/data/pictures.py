"""The one place that opens pictures, for every verb: whatever holds them, it gives a reader of them (`readers`)."""

import os
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from affectnet_plus import IMAGE_SUFFIXES, LayoutError, is_system_file

from ..files import is_prepared
from ..hub_names import fetched, on_hub
from ..sources.delivered import open_source
from ..sources.links import LinkOut, refuse_links_out
from ..sources.zips import find_archives
from ..vit.photos import SUFFIXES
from .plain_pictures import FilePictures, FolderPictures, HeldPictures, TarPictures, ZipPictures
from .readers import WANTED, Images, NoPictures, Picture
from .row_pictures import ParquetPictures, PreparedFaces, RowPictures, SourceFaces

__all__ = ["Images", "Picture", "open_pictures"]

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_IN_A_TAR = "of a tar only the pictures are read. Extract it, and give the folder"


def open_pictures(source, annotated: bool = False, photos: bool = False, follow_links: bool = False) -> Images:
    """The reader of the pictures of `source`.

    What prepare wrote gives its faces. System files (`is_system_file`) are no pictures anywhere, and a folder is
    searched in depth.

    Args:
        source: a folder, tar or zip of pictures; one picture, or a list of them; a Parquet file, or a folder of such;
            an AffectNet+ tree, its zips, or an older release; a folder that prepare wrote; "you/name", a data set of
            the Hub, see `hub_names`; a `datasets.Dataset` with a column `image`; a PIL image, an (height, width, 3)
            uint8 RGB array, or a list of such.
        annotated: what is known of the faces is wanted too. A tree or a release is then read as such, and what holds
            annotations that cannot be read is refused; else they are folders of pictures.
        photos: plain pictures may be of any kind that `vit.photos` reads, not JPEG and PNG alone.
        follow_links: files and folders of a folder may be links that leave it. Those that are named themselves may.

    Raises:
        FileNotFoundError: nothing is there, or no picture (`NoPictures`, a LayoutError too).
        OSError: as `hub_names.fetched`.
        LayoutError: it is nothing that holds pictures; or it holds annotations that cannot be read as they are, and
            would be lost if its faces were taken for plain pictures.
        ValueError: an array is no such picture, or paths and pictures are mixed.
    """
    if isinstance(source, datasets.Dataset):
        return _rows(source, annotated)
    if isinstance(source, Image.Image) or (isinstance(source, np.ndarray) and source.ndim != 4):
        return HeldPictures([source])
    if isinstance(source, (list, tuple, np.ndarray)):
        return _listed(list(source))
    path = Path(os.path.abspath(fetched(source)))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give {WANTED}")
    # A data set that was fetched lies in the Hub's cache as links to its files.
    follow_links = follow_links or on_hub(source, "dataset") is not None
    if is_prepared(path):
        return PreparedFaces(path, follow_links)
    suffixes = SUFFIXES if photos else IMAGE_SUFFIXES
    return (
        _in_folder(path, annotated, suffixes, follow_links) if path.is_dir() else _in_file(path, annotated, suffixes)
    )


def _rows(data: datasets.Dataset, annotated: bool) -> RowPictures:
    if annotated and (known := {"label", "soft_label", "valence", "arousal"} & set(data.column_names)):
        raise LayoutError(
            f"the data set has the columns {', '.join(sorted(known))}, so something is known of its faces already; "
            "give the folder that prepare wrote"
        )
    return RowPictures(data)


def _listed(items: Sequence) -> FilePictures | HeldPictures:
    paths = [item for item in items if isinstance(item, (str, os.PathLike))]
    if not paths:
        return HeldPictures(items)
    if len(paths) < len(items):
        raise ValueError(f"{len(paths)} of {len(items)} are paths and the others pictures; give the two one by one")
    return FilePictures([Path(os.path.abspath(path)) for path in paths])


def _in_file(path: Path, annotated: bool, suffixes: Sequence[str]) -> Images:
    if path.suffix.lower() == ".parquet":
        return ParquetPictures(path, [path])
    if find_archives(path):
        why = None
        if annotated:
            try:
                return SourceFaces(open_source(path))
            except LayoutError as error:
                why = str(error)
        return ZipPictures(path, why, suffixes)
    if _is_picture(path, suffixes):
        return FilePictures([path])
    return TarPictures(path, _IN_A_TAR if annotated else None, suffixes)


def _is_picture(path: Path, suffixes: Sequence[str]) -> bool:
    """By its name, or by how it begins: a damaged one is a picture too, and a picture need not be named as one."""
    if path.suffix.lower() in suffixes:
        return True
    with open(path, "rb") as file:
        return file.read(8).startswith(_MAGIC)


def _in_folder(path: Path, annotated: bool, suffixes: Sequence[str], follow_links: bool) -> Images:
    why = None
    if annotated:
        try:
            return SourceFaces(open_source(path, follow_links))
        except LinkOut:
            raise
        except LayoutError as error:
            why = str(error)
    try:
        return FolderPictures(path, why, suffixes, follow_links)
    except NoPictures:
        if files := sorted(
            file for file in path.rglob("*.parquet") if not is_system_file(str(file.relative_to(path)))
        ):
            if not follow_links:
                refuse_links_out(path, files)
            return ParquetPictures(path, files)
        raise

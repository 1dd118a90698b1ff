"""What tells that the files of a folder are still the same, without reading them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def listing(folder: Path) -> Iterator[bytes]:
    """Name, size and time of each file as a line, in order; one by one, as the release has two million."""
    if not folder.is_dir():
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        for name in sorted(os.listdir(folder)):
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            yield f"{name}/{found.st_size}/{found.st_mtime_ns}\n".encode(errors="surrogateescape")
    finally:
        os.close(place)


def fingerprint_of(folders: dict[str, Path]) -> str:
    """Digest of what lies in the images/ and annotations/ of each split's folder."""
    total = hashlib.sha256()
    for split, folder in folders.items():
        for part in ("images", "annotations"):
            total.update(f"{split}/{part}\n".encode())
            for line in listing(folder / part):
                total.update(line)
    return total.hexdigest()

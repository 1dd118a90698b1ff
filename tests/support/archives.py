"""The same pictures in a folder, a tar and a zip."""

import io
import tarfile
import zipfile

from support.trees import picture

FILES = {
    "b.png": picture((1, 2, 3), "PNG"),
    "a.jpg": picture((10, 20, 30)),
    "sub/a.JPEG": picture((40, 50, 60)),
    "sub/deep er/ü.jpg": picture((70, 80, 90)),
    "notes.txt": b"none",
}


def as_folder(place, files=FILES):
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def as_tar(path, files=FILES, prefix=""):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def as_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path

"""The faces in plain pictures, each a picture of its own: what `label --faces` labels."""

import hashlib
import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from affectnet_plus import BadRow

from ..stages import Progress, silent, told
from ..vit.faces import Face, cut_out, find_faces, installed
from .photos import pixels_of
from .readers import Images, Listed, Picture

KEPT = 4  # photos whose pixels are kept, as the faces of one are read one after the other


class FacePictures(Listed):
    """A face is named as its photo, with its crop behind it: `party.jpg#xywh=120,40,180,180`, in pixels of the photo.

    All photos are looked at when it is made. One that cannot be read is a picture with that problem, and one without a
    face counts as passed over.

    Raises:
        ImportError: no detector of faces is installed.
    """

    def __init__(self, photos: Images, progress: Progress = silent):
        self.root, self.origin, self._photos = photos.root, photos.origin, photos
        self.without_face = 0
        self._pixels: OrderedDict[str, np.ndarray] = OrderedDict()
        found: list[tuple[str, tuple[Picture, Face] | None, str | None]] = []
        for photo in told(photos.pictures(), "find faces", progress):
            found += self._faces(photo)
        self.passed_over = photos.passed_over + self.without_face
        self._pictures = [
            Picture(f"no_human/{number}", name, place, problem)
            for number, (name, place, problem) in enumerate(found, start=1)
        ]

    def _faces(self, photo: Picture) -> list[tuple[str, tuple[Picture, Face] | None, str | None]]:
        try:
            pixels, scale = pixels_of(self._photos, photo)
        except (BadRow, OSError) as error:
            return [(photo.name, None, str(error))]
        faces = find_faces(pixels)
        self.without_face += not faces
        return [(f"{photo.name}#xywh={_xywh(face, scale)}", (photo, face), None) for face in faces]

    def places(self) -> list[Path]:
        return self._photos.places()

    def encoded(self, picture: Picture) -> np.ndarray:
        if picture.problem:
            raise BadRow(picture.problem)
        photo, face = picture.place
        if photo.name not in self._pixels:
            try:
                self._pixels[photo.name], _ = pixels_of(self._photos, photo)
            except OSError as error:  # it could be read before
                raise BadRow(str(error)) from error
            if len(self._pixels) > KEPT:
                self._pixels.popitem(last=False)
        return cut_out(self._pixels[photo.name], face)

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        file = io.BytesIO()
        Image.fromarray(self.encoded(picture)).save(file, "PNG")
        return {}, file.getvalue()

    def fingerprint(self) -> str:
        total = hashlib.sha256(f"{self._photos.fingerprint()} {installed()}\n".encode())
        for picture in self._pictures:
            total.update(f"{picture.name}\n".encode())
        return total.hexdigest()


def _xywh(face: Face, scale: float) -> str:
    left, top, right, bottom = (round(edge * scale) for edge in face.box)
    return f"{left},{top},{right - left},{bottom - top}"

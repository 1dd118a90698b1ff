"""On the path of a process, it makes Pillow crash at a picture that says POISON, as a damaged codec would."""

import ctypes

from PIL import Image

_open = Image.open


def _crashing(file, *words, **named):
    content = file.getvalue() if hasattr(file, "getvalue") else b""
    if b"POISON" in content:
        ctypes.string_at(0)
    return _open(file, *words, **named)


Image.open = _crashing

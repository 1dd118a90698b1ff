"""`affectnet-plus app`: the page for a local model, served to this machine alone."""

import os
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from affectnet_plus import EMOTIONS

from ..evaluation.exported import ExportedModel
from ..evaluation.predict import forward, name_of, open_model
from ..images import resize
from ..sources.synthetic.examples import example_faces
from ..vit import AffectNetPlusForSoftLabels
from ..vit.answers import answers
from .known_faces import known_faces


def serve(model_folder, data=None, port: int | None = None, say: Callable[[str], None] = print) -> None:
    """Serve the page on the loopback address until interrupted (Ctrl-C). No picture is kept after that.

    Args:
        data: a prepared folder, whose faces can be looked at too.
        port: None takes the first free one from 7860.
        say: gets the address once the page is there.

    Raises:
        FileNotFoundError, ValueError: as `open_model` and `known_faces`; the model has other classes than the data.
        OSError: the port is taken.
        ImportError: gradio is not installed, or for an exported model onnxruntime.
    """
    model = open_model(model_folder)
    names = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    if data is not None and names != EMOTIONS:
        found, expected = ", ".join(names), ", ".join(EMOTIONS)
        raise ValueError(f"{model_folder} has the classes {found}, expected those of {data}: {expected}")
    known = None if data is None else known_faces(data)
    with tempfile.TemporaryDirectory(prefix="affectnet-plus-app-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read on import and when the page is built
        try:
            from .page import Model, build_page, launch
        except ModuleNotFoundError as error:
            raise ImportError(f"the page needs gradio: pip install 'affectnet-plus[app]' ({error})") from error
        said = Model(name_of(model_folder), lambda crops: answer(model, crops), model.config.uncertainty)
        page = build_page(said, known, example_faces())
        try:
            try:
                address = launch(page, server_name="127.0.0.1", server_port=port)
            except OSError as error:  # gradio speaks of its own options
                raise OSError(f"port {port or '7860 and the next 99'}: taken; give another --port") from error
            say(f"open {address} (Ctrl-C ends it)")
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)


def answer(model: AffectNetPlusForSoftLabels | ExportedModel, crops: list[np.ndarray]) -> list[dict]:
    """What `vit.answers.answers` says of each crop, (height, width, 3) uint8 RGB, as `predict` says it of its file."""
    size = model.config.image_size
    pixels = torch.from_numpy(np.stack([resize(crop, size, size) for crop in crops])).permute(0, 3, 1, 2)
    return answers(model.config, *forward(model, pixels))

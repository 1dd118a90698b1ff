"""PyPI facial-emotion-recognition and what-the-face-classification: their networks with their weights, in our torch.

    run_torch.py FACES OUT ROUNDS NAME FOLDER

FOLDER holds the module of the network and the weights of the package NAME. Both take grey 48x48 faces. Their weights
are pickles: they are read as tensors alone (`weights_only`). Not through their classes, which find faces first and
read the pickles whole.
"""

import importlib
import sys
from pathlib import Path

import torch
from answering import run

name, folder = sys.argv[4], Path(sys.argv[5])
sys.path.insert(0, str(folder))
torch.set_num_threads(1)


def facial_emotion_recognition():
    """Sigmoids, whose powers of e it compares; here those are made to sum to 1."""
    network = importlib.import_module("networks").NetworkV2(in_c=1, nl=32, out_f=7)
    weights = folder / "model" / "model.pkl"
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["network"])
    return network, weights, lambda faces: faces / 127.5 - 1


def what_the_face_classification():
    channels = [[1, 28], [28, 56], [56, 112]]
    network = importlib.import_module("model").SimpleConvolutionalNetwork(
        3, channels, [3] * 3, [0] * 3, 304, 4 * 4 * 112
    )
    weights = folder / "active_model.pth"
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network, weights, lambda faces: faces / 255


network, weights, prepared = globals()[name.replace("-", "_")]()
network.eval()


@torch.inference_mode()
def answer(faces):
    return network(prepared(torch.from_numpy(faces)[:, None].float())).softmax(-1).double().numpy()


run(answer, weights)

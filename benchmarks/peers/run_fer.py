"""PyPI fer: its class answers; a face goes in as `FER.detect_emotions` prepares it, 64x64 and from -1 to 1.

Not through `detect_emotions` itself, which finds faces first and rounds its answers to two places.
"""

import sys
from importlib.resources import files

import cv2
import numpy as np
from answering import run
from fer.fer import FER

lite = sys.argv[4] == "tflite"  # its default; else the Keras model
tool = FER(use_tflite=lite)


def answer(faces):
    large = np.array([cv2.resize(face, (64, 64)) for face in faces], dtype="float32")
    return np.asarray(tool._classify_emotions((large / 255.0 - 0.5) * 2.0))


run(answer, files("fer") / "data" / ("emotion_model_quantized.tflite" if lite else "emotion_model.hdf5"))

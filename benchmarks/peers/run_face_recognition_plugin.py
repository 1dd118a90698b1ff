"""npm face-recognition-plugin: its fr_expression.onnx, fed as its lib/fr_expression.js does: RGB, 224x224, 0 to 1.

ONNX Runtime of Python runs it; the package does in WebAssembly, in a browser. The graph takes one face at a time. The
image that it cuts out is the whole face here, and the softmax after the network is its own. It names no emotions:
that its order is that of FER2013 was read off its answers to 400 faces of FER2013Valid, the faces it is measured on.
"""

import sys

import cv2
import numpy as np
import onnxruntime
from answering import run

weights = sys.argv[4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def answer(faces):
    logits = [session.run(["output"], {"input": _prepared(face)})[0][0] for face in faces]
    powers = np.exp(np.array(logits, dtype=np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def _prepared(face):
    large = cv2.resize(face, (224, 224)).astype(np.float32) / 255.0
    return np.repeat(large[None, None], 3, axis=1)


run(answer, weights)

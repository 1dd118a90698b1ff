"""Ours: a published folder in PyTorch, or its export in ONNX Runtime; of a face, or the mean of it and its mirror."""

import sys
from pathlib import Path

import numpy as np
from answering import run

model, looks = Path(sys.argv[4]), int(sys.argv[5])


def answer(faces):
    """The mirror image goes through the network in the same batch."""
    pixels = np.repeat(faces[:, None], 3, axis=1)
    views = pixels if looks == 1 else np.concatenate([pixels, pixels[..., ::-1]])
    logits = ask(views).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).reshape(looks, len(faces), -1).mean(axis=0)


if model.suffix == ".onnx":  # what it needs is loaded alone: the cold start is measured
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0].name
    weights = model

    def ask(pixels):
        return session.run(["logits"], {taken: pixels.astype(np.float32) / 127.5 - 1})[0]
else:
    import torch

    from affectnet_plus_modeling.data.dataset import normalise
    from affectnet_plus_modeling.evaluation.predict import load_model

    network, weights = load_model(model), model / "model.safetensors"

    @torch.inference_mode()
    def ask(pixels):
        return network(normalise(torch.from_numpy(pixels))).logits.numpy()


run(answer, weights)

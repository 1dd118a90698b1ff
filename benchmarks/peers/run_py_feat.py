"""py-feat 0.3: the weights of its Detector, loaded and fed as `Detector.process_frame` does: grey, 48x48, 0 to 1.

Not through its class: to build one it loads a landmark model that whole faces do not need, and its imports do not
hold for libraries of today.
"""

import sys

import numpy as np
from answering import run
from tf_keras import models  # the Keras of its time

weights = sys.argv[4]  # fer_aug_model.h5 of the unpacked package
model = models.load_model(weights)


def answer(faces):
    return model(np.asarray(faces[..., None] / 255.0, dtype="float32"), training=False).numpy()


run(answer, weights)

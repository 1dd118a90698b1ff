"""A small ensemble that nobody trained."""

from pathlib import Path

import numpy as np
import torch

from affectnet_plus_modeling import images
from affectnet_plus_modeling.labelling.ensemble.model import (
    ALL_FOLDS,
    BinaryEnsemble,
    BinaryEnsembleConfig,
)
from affectnet_plus_modeling.labelling.ensemble.seen import pixel_digests, write_seen

SIZE = 24
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8],
    "depths": [1],
    "layer_type": "basic",
}


def make_ensemble(folder: Path, folds=(ALL_FOLDS,), constants=None, seen=(), **changes) -> Path:
    """A small random ensemble with a member for each fold; with `constants` a member always gives its own log-odds.

    seen: (picture's bytes, fold) of the faces that it was trained on.
    """
    torch.manual_seed(0)
    members = [{"backbone": 0, "seed": seed, "fold": fold} for seed, fold in enumerate(folds)]
    model = BinaryEnsemble(BinaryEnsembleConfig(image_size=SIZE, backbones=[RESNET], members=members, **changes))
    for number, networks in enumerate(model.members):
        for network in networks:
            if constants is not None:
                network.classifier[1].weight.data.zero_()
                network.classifier[1].bias.data = torch.tensor([0.0, float(constants[number])])
            else:
                network.classifier[1].weight.data.mul_(30)  # so that faces differ
    model.save_pretrained(folder)
    pixels = np.array([images.decode(content, np.empty((SIZE, SIZE, 3), np.uint8)) for content, _ in seen])
    digests = pixel_digests(pixels) if len(seen) else np.empty(0, np.uint64)
    write_seen(folder / "seen.parquet", digests, np.array([fold for _, fold in seen], dtype=int))
    return folder

"""A model that trains in about a second."""

from affectnet_plus_modeling.training.options import TrainingOptions

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "stem_channels": (8, 16),
    "pooling": "mean",
}


def quick(**options) -> TrainingOptions:
    """Options of a run that takes about a second: 2 epochs of 2 steps on `drawn`, in float32."""
    return TrainingOptions(**({"epochs": 2, "batch_size": 16, "image_size": 48, "bf16": False} | options))

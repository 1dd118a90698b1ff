"""A model that trains in about a second, and the code that travels with every model."""

from affectnet_plus_modeling.training.options import TrainingOptions

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "stem_channels": (8, 16),
    "pooling": "mean",
}

CODE = [
    "answers.py",
    "batches.py",
    "configuration_affectnet_plus.py",
    "faces.py",
    "fetching.py",
    "losses.py",
    "modeling_affectnet_plus.py",
    "photos.py",
    "pipeline_affectnet_plus.py",
    "stems.py",
]
LOADED = ["config.json", "model.safetensors", "preprocessor_config.json"]


def quick(**options) -> TrainingOptions:
    """Options of a run that takes about a second: 2 epochs of 2 steps on `drawn`, in float32."""
    return TrainingOptions(**({"epochs": 2, "batch_size": 16, "image_size": 48, "bf16": False} | options))

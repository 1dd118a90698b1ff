"""What stands beside exported files so that the Hub's own tools take them for a stock vision transformer."""

from pathlib import Path

from transformers import ViTConfig, ViTForImageClassification

from ..training.saving import save_processor
from ..vit import AffectNetPlusForSoftLabels

_SAME = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "num_channels",
    "qkv_bias",
    "id2label",
    "label2id",
    "problem_type",
)


def write_layout(model: AffectNetPlusForSoftLabels, folder: Path) -> None:
    """Write config.json of `stock_config`, and preprocessor_config.json: optimum and transformers.js read no more."""
    stock_config(model).save_pretrained(folder)
    save_processor(model.config.image_size, folder)


def stock_config(model: AffectNetPlusForSoftLabels) -> ViTConfig:
    """The configuration as one of `model_type` "vit", without code. Of a stem it knows nothing: the graph has it."""
    config = ViTConfig(**{name: getattr(model.config, name) for name in _SAME}, dtype="float32")
    config.architectures = [ViTForImageClassification.__name__]
    return config


def plain_model(model: AffectNetPlusForSoftLabels, name: str) -> ViTForImageClassification:
    """The same soft labels from a class of transformers, with the temperature in the weights of the classifier.

    Valence and arousal, the rule of the prediction set and the pipeline "facial-affect" have no place in it.

    Args:
        name: what a refusal calls the model.

    Raises:
        ValueError: the model has a stem, or looks at all tokens; the message says which.
    """
    config, reasons = model.config, []
    if config.stem_channels:
        reasons.append(f"its stem of {len(config.stem_channels)} convolutions comes before the transformer")
    if config.pooling != "cls":
        reasons.append("its heads look at the mean of all tokens, and not at the class token")
    if reasons:
        raise ValueError(
            f"{name} cannot be a ViTForImageClassification: {', and '.join(reasons)}. Leave --plain out, or train one "
            "with --size small or --from-vit"
        )
    plain = ViTForImageClassification(stock_config(model)).eval()
    plain.vit.load_state_dict(model.vit.state_dict())
    for part, value in model.classifier.state_dict().items():
        plain.classifier.state_dict()[part].copy_(value / config.logit_temperature)
    return plain

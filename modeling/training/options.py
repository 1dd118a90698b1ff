"""Everything that decides a training run, in one typed place; saved with the model as `training.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass, field

# mini and tiny are ours, for small pictures and CPUs; small and base are DeiT-S and ViT-B, so that their checkpoints
# fit.
SIZES: dict[str, dict] = {
    "mini": {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "stem_channels": (32, 64, 96, 128),
        "pooling": "mean",
        "initializer_range": 0.088,  # 1 / sqrt(128), for the reason given at tiny
    },
    "tiny": {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "stem_channels": (32, 64, 128, 256),
        "pooling": "mean",
        # 1 / sqrt(192). The usual .02 suits a width of 768 and more: with it, drawn faces were not learnt within 500
        # steps of 32, with this KL fell from 1.33 to .89 in the same time.
        "initializer_range": 0.07,
    },
    "small": {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6},
    "base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}


@dataclass(frozen=True)
class Augmentation:
    """How strongly `augmentation.augment` changes faces.

    Attributes:
        flip: chance of a left-right mirror image.
        rotation: largest turn either way, in degrees.
        scale: largest zoom in or out, as a share of the size.
        shift: largest move along each axis, as a share of the size.
        contrast: largest change of contrast, as a share.
        brightness: largest change of brightness, as a share of the range.
        erase: chance that a rectangle of the picture is greyed out (random erasing, Zhong et al. 2020).
    """

    flip: float = 0.5
    rotation: float = 15.0
    scale: float = 0.15
    shift: float = 0.08
    contrast: float = 0.3
    brightness: float = 0.15
    erase: float = 0.25

    def scaled(self, strength: float) -> "Augmentation":
        """The same with everything but the mirror image times `strength`: 0 is none of it, 1 all of it."""
        return Augmentation(self.flip, **{name: getattr(self, name) * strength for name in _SCALED})


_SCALED = ("rotation", "scale", "shift", "contrast", "brightness", "erase")


@dataclass(frozen=True)
class TrainingOptions:
    """Attributes, beside the obvious ones:

    size: mini, tiny, small or base; ignored when `from_vit` names a checkpoint.
    image_size: side in pixels; None takes the side of the first training picture.
    patch_size: in pixels; None takes 8 below 112 pixels and 16 from there.
    target: "soft" trains on the soft label, "hard" on the one-hot label (cross-entropy).
    holdout: share of the training faces that choose the best checkpoint; 0 lets the validation split choose, which
        makes the figures on that split a little too good.
    bf16: None measures whether bfloat16 is the faster on this device, and uses it if so.
    """

    size: str = "tiny"
    view: str = "default"
    target: str = "soft"
    image_size: int | None = None
    patch_size: int | None = None
    from_vit: str | None = None
    epochs: float = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    valence_arousal_weight: float = 1.0
    holdout: float = 0.0
    seed: int = 0
    bf16: bool | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        for name, allowed in (("size", tuple(SIZES)), ("target", ("soft", "hard"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout is {self.holdout}; it must be in [0, 1)")

"""Everything that decides a training run, in one typed place; saved with the model as `training.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass, field, replace

# mini, tiny and wide (a teacher for tiny) are ours, for small pictures; small and base are DeiT-S and ViT-B, so that
# their checkpoints fit.
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
    # Most of its 2.8 million weights are convolutions: at 48 pixels they win over more layers of the transformer
    # (benchmarks/README.md, the ablations of FER+).
    "tiny": {
        "hidden_size": 192,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "stem_channels": (48, 96, 160, 208),
        "stem_type": "residual",
        "pooling": "mean",
        # 1 / sqrt(192). The usual .02 suits a width of 768 and more: with it, drawn faces were not learnt within 500
        # steps of 32, with this KL fell from 1.33 to .89 in the same time.
        "initializer_range": 0.07,
    },
    "wide": {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "stem_channels": (64, 128, 192, 256),
        "stem_type": "residual",
        "pooling": "mean",
        "initializer_range": 0.0625,
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
        aspect: largest stretch of the width against the height either way, as a share.
        shear: largest slant of the upright axis either way, as a share of the height.
        shift: largest move along each axis, as a share of the size.
        contrast: largest change of contrast, as a share.
        brightness: largest change of brightness, as a share of the range.
        gamma: light, from 0 to 1, is raised to a power from 2^-gamma to 2^gamma.
        erase: chance that a rectangle of the picture is greyed out (random erasing, Zhong et al. 2020).
        random_operations: how many of the changes of `randaugment` each face draws for itself, one after another, as
            RandAugment does (Cubuk et al. 2020); 0 is none.
        magnitude: how far the strongest of these goes, in [0, 1].
    """

    flip: float = 0.5
    rotation: float = 15.0
    scale: float = 0.15
    aspect: float = 0.0
    shear: float = 0.0
    shift: float = 0.08
    contrast: float = 0.3
    brightness: float = 0.15
    gamma: float = 0.0
    erase: float = 0.25
    random_operations: int = 0
    magnitude: float = 0.5

    def __post_init__(self):
        if self.random_operations < 0:
            raise ValueError(f"random_operations is {self.random_operations}; it must be 0 or more")
        if self.random_operations and not 0 <= self.magnitude <= 1:
            raise ValueError(f"magnitude is {self.magnitude}; it must be in [0, 1]")

    def scaled(self, strength: float) -> "Augmentation":
        """The same with every size and chance but that of the mirror image times `strength`: 0 is none, 1 all of it.

        Raises:
            ValueError: random operations are drawn, and their magnitude would pass 1.
        """
        return replace(self, **{name: getattr(self, name) * strength for name in _SCALED})


_SCALED = (
    "rotation",
    "scale",
    "aspect",
    "shear",
    "shift",
    "contrast",
    "brightness",
    "gamma",
    "erase",
    "magnitude",
)


@dataclass(frozen=True)
class TrainingOptions:
    """Attributes, beside the obvious ones:

    size: mini, tiny, wide, small or base; ignored when `from_vit` or `from_pretrained` names a checkpoint.
    image_size: side in pixels; None takes the side of the first training picture.
    patch_size: in pixels; None takes 8 below 112 pixels and 16 from there.
    from_vit: a ViT checkpoint, a folder or a Hub name, whose encoder is the start.
    from_pretrained: a folder that `pretrain` or `train` wrote, whose stem and encoder are the start.
    target: "soft" trains on the soft label, "hard" on the one-hot label (cross-entropy).
    loss: how far the prediction is from the target, one of `LOSSES`.
    batch_size: faces on one device at a time. A step sees `batch_size` x `accumulation` x processes of them, and its
        losses are those of all of these together (see `effective_batch`).
    sampler: "natural", "balanced" or "square-root", see `samplers`.
    mixup, cutmix: the alpha of the Beta distribution that shares are drawn from, see `mixup`; 0 is off.
    drop_path: share of faces that skip the last layer in training, falling to 0 at the first.
    classifier_dropout: share of the pooled features that the heads do not see in training.
    layer_decay: learning rate of a layer as a share of that of the layer above it; 1 gives all the same.
    max_grad_norm: gradients of a greater norm are shortened to it.
    average: decay of the moving average of the weights, which is then what is measured and saved; 0 is off.
    patience: epochs without a better checkpoint after which training stops; None never stops early.
    teachers: model folders; the mean of their answers to the same changed pictures is mixed into the soft labels, and
        stands in their place where they are unknown (distillation, Hinton et al. 2015; with the same view of the
        picture for both, Beyer et al. 2022, "a good teacher is patient and consistent").
    teaching: share of the teachers' answers in the target, in [0, 1].
    holdout: share of the training faces that choose the best checkpoint; 0 lets the validation split choose, which
        makes the figures on that split a little too good.
    allow_empty_classes: train although a class occurs in no training target.
    bf16: None measures whether bfloat16 is the faster on this device, and uses it if so.
    compile: compile the model by torch.compile, which pays on a GPU.
    report_to: a tracker that `transformers` knows, such as trackio (an extra), or "none".
    """

    size: str = "tiny"
    view: str = "default"
    target: str = "soft"
    loss: str = "kl"
    image_size: int | None = None
    patch_size: int | None = None
    from_vit: str | None = None
    from_pretrained: str | None = None
    epochs: float = 30
    batch_size: int = 128
    accumulation: int = 1
    sampler: str = "natural"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    layer_decay: float = 1.0
    drop_path: float = 0.0
    classifier_dropout: float = 0.0
    max_grad_norm: float = 1.0
    average: float = 0.0
    teachers: tuple[str, ...] = ()
    teaching: float = 0.7
    patience: int | None = None
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    valence_arousal_weight: float = 1.0
    mixup: float = 0.0
    cutmix: float = 0.0
    holdout: float = 0.0
    allow_empty_classes: bool = False
    seed: int = 0
    bf16: bool | None = None
    compile: bool = False
    report_to: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        for name, good, expected in (
            ("holdout", 0 <= self.holdout < 1, "in [0, 1)"),
            ("classifier_dropout", 0 <= self.classifier_dropout < 1, "in [0, 1)"),
            ("max_grad_norm", self.max_grad_norm > 0, "above 0"),
            ("teaching", 0 <= self.teaching <= 1, "in [0, 1]"),
            ("average", 0 <= self.average < 1, "in [0, 1)"),
            ("layer_decay", 0 < self.layer_decay <= 1, "in (0, 1]"),
            ("epochs", self.epochs > 0, "above 0"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("accumulation", self.accumulation >= 1, "at least 1"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1"),
            ("mixup", self.mixup >= 0, "0 or positive"),
            ("cutmix", self.cutmix >= 0, "0 or positive"),
        ):
            if not good:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {expected}")
        if self.from_vit and self.from_pretrained:
            raise ValueError("from_vit and from_pretrained both say what to start from; give one of them")


CHOICES = {
    "size": tuple(SIZES),
    "target": ("soft", "hard"),
    "loss": ("kl", "js", "cross_entropy"),
    "sampler": ("natural", "balanced", "square-root"),
}

"""Everything that decides a training run, in one typed place; saved with the model as `training.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass, replace

from ..options import check_options, option

# mini, tiny and wide (a teacher for tiny) are ours, for small pictures; small and base are DeiT-S and ViT-B, so that
# their checkpoints fit.
SIZES: dict[str, dict] = {
    # In equal time of one core far ahead of a plain stem (benchmarks/README.md, "Which stem").
    "mini": {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "stem_channels": (16, 32, 64, 96),
        "stem_type": "residual",
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


def patch_for(size: int) -> int:
    """The patch, in pixels, of pictures of `size` pixels where nobody names one: 8 below 112, and 16 from there."""
    return 8 if size < 112 else 16


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

    flip: float = option(0.5, help="chance of a mirror image", low=0, high=1)
    rotation: float = option(15.0, help="largest turn of a face, in degrees", low=0)
    scale: float = option(0.15, help="largest change of a face's size, as a share of it", low=0)
    aspect: float = option(0.0, help="largest change of width to height, as a share of it", low=0)
    shear: float = option(0.0, help="largest slant: shift of a row as a share of its distance from the middle", low=0)
    shift: float = option(0.08, help="largest move of a face, as a share of the picture's side", low=0)
    contrast: float = option(0.3, help="largest change of contrast, as a share of it", low=0)
    brightness: float = option(0.15, help="largest change of brightness, as a share of all from black to white", low=0)
    gamma: float = option(0.0, help="largest change of gamma, as a power of 2", low=0)
    erase: float = option(0.25, help="chance that a rectangle of a face is greyed out", low=0)
    random_operations: int = option(0, help="further random changes of each face (RandAugment)", low=0)
    magnitude: float = option(0.5, help="strength of the further changes, 0 to 1")

    def __post_init__(self):
        check_options(self)
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


_LOSSES = ("kl", "js", "cross_entropy")


@dataclass(frozen=True)
class TrainingOptions:
    """Attributes, beside the obvious ones:

    size: mini, tiny, wide, small or base; ignored when `from_vit` or `from_pretrained` names a checkpoint.
    image_size: side in pixels; None takes the longer side of the first training picture.
    patch_size: in pixels; None takes that of `patch_for`.
    from_vit: a ViT checkpoint, a folder or a Hub name, whose encoder is the start.
    from_pretrained: a folder that `pretrain` or `train` wrote, "you/name" of the Hub, or "ferplus", the model that
        comes with the package, whose stem and encoder are the start.
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
    teachers: models, as `from_pretrained`; the mean of their answers to the same changed pictures is mixed into the
        soft labels, and stands in their place where they are unknown (distillation, Hinton et al. 2015; with the same
        view of the picture for both, Beyer et al. 2022, "a good teacher is patient and consistent").
    teaching: share of the teachers' answers in the target, in [0, 1].
    holdout: share of the training faces that choose the best checkpoint; 0 lets the validation split choose, which
        makes the figures on that split a little too good.
    allow_empty_classes: train although a class occurs in no training target.
    streaming: read the faces as they come (`data.stream`), so that they need not fit on this disk. The validation
        split chooses the best checkpoint, and every face is shown as often as any other.
    streaming_buffer: rows that each process and each of its workers has at hand and mixes at a time.
    streaming_round: faces of all processes together after which a stream is measured and saved; a run has whole
        rounds, and its log counts these as epochs. None is once in `epochs` = 1.
    bf16: None measures whether bfloat16 is the faster on this device, and uses it if so.
    compile: compile the model by torch.compile, which pays on a GPU.
    report_to: a tracker that `transformers` knows, such as trackio (an extra), or "none".
    """

    size: str = option("tiny", help="size of a model that starts from nothing", choices=tuple(SIZES), group="model")
    from_vit: str | None = option(
        None, help="ViT checkpoint to start from, a folder or a Hub name; not with --size", hub="model"
    )
    from_pretrained: str | None = option(
        None,
        help="folder that pretrain or train wrote, or you/name of the Hub, to start from; not with --size",
        metavar="MODEL",
        hub="model",
    )
    image_size: int | None = option(
        None, help="side of the pictures in pixels; without it, that of the first picture", low=1
    )
    patch_size: int | None = option(
        None, help="side of a patch in pixels; without it, 8 for pictures below 112 pixels, else 16", low=1
    )
    drop_path: float = option(0.0, help="chance that the last layer is skipped in training", low=0, below=1)
    classifier_dropout: float = option(
        0.0, help="share of the pooled features that is hidden from the heads in training", low=0, below=1
    )
    view: str = option("default", help="view of the data, such as easy or 7-class", group="what is learnt")
    target: str = option("soft", help="label to learn: soft, or one-hot (hard)", choices=("soft", "hard"))
    loss: str = option(
        "kl", help="how far a prediction is from its target: KL or JS divergence, or cross-entropy", choices=_LOSSES
    )
    label_smoothing: float = option(
        0.0, help="share of the target that is spread evenly over the emotions", low=0, high=1
    )
    class_weights: tuple[float, ...] | None = option(
        None, help="weights of the 8 emotions in the loss, in the order of the labels", metavar="W", low=0
    )
    valence_arousal_weight: float = option(1.0, help="weight of the loss of valence and arousal", low=0)
    teachers: tuple[str, ...] = option(
        (),
        help="trained models whose answers are mixed into the soft labels (distillation)",
        metavar="MODEL",
        hub="model",
    )
    teaching: float = option(0.7, help="share of the teachers' answers in the target", low=0, high=1)
    sampler: str = option(
        "natural", help="how often the faces of each class are shown", choices=("natural", "balanced", "square-root")
    )
    holdout: float = option(
        0.0,
        help="share of the training faces that chooses the best checkpoint; with 0 the validation split does",
        low=0,
        below=1,
    )
    allow_empty_classes: bool = option(False, help="train although a class has no face to learn from")
    epochs: float = option(30, help="times that every face is shown", above=0, group="optimisation")
    batch_size: int = option(128, help="faces on one device at a time", low=1)
    accumulation: int = option(1, help="batches whose gradients make one step together", low=1)
    learning_rate: float = option(1e-3, help="peak learning rate", low=0)
    warmup: float = option(0.05, help="share of the steps in which the learning rate rises", low=0, high=1)
    weight_decay: float = option(0.05, help="weight decay of AdamW", low=0)
    layer_decay: float = option(
        1.0, help="learning rate of a layer, as a share of that of the layer above it", above=0, high=1
    )
    max_grad_norm: float = option(1.0, help="longest gradient; a longer one is shortened to it", above=0)
    average: float = option(
        0.0, help="decay of the moving average of the weights (EMA), such as .999; 0 is none", low=0, below=1
    )
    patience: int | None = option(
        None, help="epochs without a better checkpoint after which training stops; without it, never", low=1
    )
    seed: int = option(0, help="seed of everything that is random", low=0)
    mixup: float = option(0.0, help="alpha of mixup, which blends faces; 0 is none", low=0, group="augmentation")
    cutmix: float = option(0.0, help="alpha of CutMix, which pastes parts of faces; 0 is none", low=0)
    augmentation: Augmentation = option(
        Augmentation(), help="strength of all random changes together: 0 is none, 1 as given below", scaled=True
    )
    streaming: bool = option(False, help="read the faces as they come, however many there are", group="stream")
    streaming_buffer: int = option(1000, help="faces that are mixed at a time, in each process and worker", low=1)
    streaming_round: int | None = option(
        None, help="faces after which a stream is measured and saved; without it, all of them", low=1
    )
    bf16: bool | None = option(None, help="compute in bfloat16; auto takes what is faster here", group="machine")
    compile: bool = option(False, help="compile the model by torch.compile, which pays on a GPU")
    report_to: str = option("none", help="tracker that transformers knows, such as trackio")

    def __post_init__(self):
        check_options(self)
        if self.from_vit and self.from_pretrained:
            raise ValueError("from_vit and from_pretrained both say what to start from; give one of them")
        if self.streaming and self.holdout:
            raise ValueError("holdout is no option of a stream, whose best checkpoint the validation split chooses")
        if self.streaming and self.sampler != "natural":
            raise ValueError(f"sampler is {self.sampler!r}; of a stream it must be natural")

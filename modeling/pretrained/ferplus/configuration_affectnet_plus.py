"""Configuration of the soft-label vision transformer. Travels with every published model."""

import math

from transformers import ViTConfig

from .losses import LOSSES

STEM_TYPES = ("plain", "residual")
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")


class AffectNetPlusConfig(ViTConfig):
    """A `ViTConfig` with the options of the soft-label and valence/arousal heads.

    Args:
        stem_channels: channels (multiples of 8) of an optional convolutional stem before the transformer. The first
            3x3 convolution keeps the size, each further one halves it; `patch_size` still counts pixels of the image,
            so that 48 pixels, patch 8 and three stem layers give 6x6 tokens. Empty for a plain ViT, which is what any
            checkpoint from the Hub is.
        stem_type: "plain", the convolutions alone with group norm, or "residual", a residual block of two more after
            each that halves the size, with batch norm. Without `stem_channels` it means nothing.
        pooling: "cls" (the class token) or "mean" (the mean of all tokens).
        classifier_dropout: in [0, 1): share of the pooled features that the heads do not see in training.
        label_smoothing: in [0, 1): share of a uniform distribution mixed into each target.
        class_weights: None, or one positive weight per class; a face weighs what its soft label says.
        valence_arousal_weight: weight of the valence/arousal loss beside the soft-label loss; 0 leaves it out, and
            then the output of that head means nothing.
        loss: divergence of the predicted from the true soft label in training, one of `LOSSES`.
        drop_path_rate: in [0, 1): share of faces for which the last layer is skipped in training, falling to 0 at the
            first one (stochastic depth, Huang et al. 2016).
        logit_temperature: positive; the logits are divided by it. 1 in training; `affectnet-plus calibrate` fits it.
        uncertainty: None, or what `affectnet-plus calibrate` found: the rule of the prediction set and of abstaining.

    Raises:
        ValueError: an option is outside its range, or patch, stem and image sizes do not divide.
    """

    model_type = "affectnet_plus"

    stem_channels: list[int] | tuple[int, ...] = ()
    stem_type: str = "plain"
    pooling: str = "cls"
    classifier_dropout: float | int = 0.0
    label_smoothing: float | int = 0.0
    class_weights: list[float] | None = None
    valence_arousal_weight: float | int = 1.0
    loss: str = "kl"
    drop_path_rate: float | int = 0.0
    logit_temperature: float | int = 1.0
    uncertainty: dict | None = None

    def __post_init__(self, **kwargs):
        if self.id2label is None:
            # The stock names LABEL_0 and LABEL_1 are left out of a saved configuration: 8 classes would come back.
            names = [f"class {index}" for index in range(kwargs["num_labels"])] if "num_labels" in kwargs else EMOTIONS
            self.id2label = dict(enumerate(names))
        # Float labels make the stock loss switch a model to sigmoid scores; with the type pinned they stay a softmax.
        self.problem_type = "single_label_classification"
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}
        self._check()

    def __setattr__(self, name, value):
        # `from_pretrained(..., problem_type=...)` sets it after the fact, and the stock loss sets it by the labels.
        super().__setattr__(name, "single_label_classification" if name == "problem_type" else value)

    def _check(self):
        if self.pooling not in ("cls", "mean"):
            raise ValueError(f"pooling is {self.pooling!r}; it must be 'cls' or 'mean'")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be in [0, 1)")
        if self.image_size % self.patch_size or self.patch_size % self.stem_stride:
            raise ValueError(
                f"image_size {self.image_size}, patch_size {self.patch_size} and a stem of stride {self.stem_stride}: "
                "the patch must divide the image, and the stem's stride must divide the patch"
            )
        weights = self.class_weights
        if weights is not None and (len(weights) != self.num_labels or not all(0 < w < math.inf for w in weights)):
            raise ValueError(f"class_weights is {weights}; it must be {self.num_labels} positive numbers or None")
        if self.loss not in LOSSES:
            raise ValueError(f"loss is {self.loss!r}; it must be one of {', '.join(LOSSES)}")
        if self.stem_type not in STEM_TYPES:
            raise ValueError(f"stem_type is {self.stem_type!r}; it must be one of {', '.join(STEM_TYPES)}")
        for name in ("drop_path_rate", "classifier_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")
        if not 0 < self.logit_temperature < math.inf:
            raise ValueError(f"logit_temperature is {self.logit_temperature}; it must be positive")
        if not 0 <= self.valence_arousal_weight < math.inf:
            raise ValueError(f"valence_arousal_weight is {self.valence_arousal_weight}; it must be 0 or positive")

    @property
    def stem_stride(self) -> int:
        return 2 ** max(len(self.stem_channels) - 1, 0)

"""Configuration of the soft-label vision transformer. Travels with every published model."""

import json
import logging
import math
from pathlib import Path

from transformers import ViTConfig

from .losses import LOSSES

logger = logging.getLogger(__name__)

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
        label_smoothing: in [0, 1): share of a uniform distribution mixed into each target. `affectnet-plus train`
            leaves neither it nor `class_weights` in the model that it writes: they belong to that training.
        class_weights: None, or one positive weight per class; a face weighs what its soft label says.
        valence_arousal_weight: weight of the valence/arousal loss beside the soft-label loss; 0 leaves it out, and
            then the output of that head means nothing.
        loss: divergence of the predicted from the true soft label in training, one of `LOSSES`.
        drop_path_rate: in [0, 1): share of faces for which the last layer is skipped in training, falling to 0 at the
            first one (stochastic depth, Huang et al. 2016).
        logit_temperature: positive; the logits are divided by it. 1 in training; `affectnet-plus calibrate` fits it.
        uncertainty: None, or what `affectnet-plus calibrate` found: the rule of the prediction set and of abstaining.
            It and the temperature are dropped once the model is trained further.

    Raises:
        ValueError: an option is outside its range, or patch, stem and image sizes do not divide.
    """

    model_type = "affectnet_plus"
    # Of what the stock Trainer predicts, `compute_metrics` then gets the logits alone and no tuple.
    # `ignore_keys_for_eval=[]` and `ignore_keys=[]` ask for the rest.
    keys_to_ignore_at_inference = ["valence_arousal", "hidden_states", "attentions"]

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
            names = [f"class {index}" for index in range(kwargs["num_labels"])] if "num_labels" in kwargs else EMOTIONS
            self.id2label = dict(enumerate(names))
        # Float labels make the stock loss switch a model to sigmoid scores; with the type pinned they stay a softmax.
        self.problem_type = "single_label_classification"
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}
        self._check()

    def __setattr__(self, name, value):
        if name == "id2label" and value is not None:
            # The stock tutorial has numbers as text. LABEL_0 and LABEL_1 are left out of a saved configuration.
            value = {int(index): label.replace("LABEL_", "class ") for index, label in value.items()}
            self._drop_what_was_fitted(before=self.__dict__.get("id2label"), after=value)
        if name == "label2id" and value is not None:
            value = {label: int(index) for label, index in value.items()}
        # `from_pretrained(..., problem_type=...)` sets it after the fact, and the stock loss sets it by the labels.
        super().__setattr__(name, "single_label_classification" if name == "problem_type" else value)

    def _drop_what_was_fitted(self, before: dict | None, after: dict) -> None:
        """Other classes are another head, to which nothing applies that was fitted to the old one."""
        if before is None or list(before.items()) == list(after.items()):
            return
        # `num_labels` is set before the names that go with it are: such names are nobody's.
        nameless = all(label == f"class {index}" for index, label in after.items())
        classes = f"{len(after)} others" if nameless else ", ".join(after.values())
        if dropped := self._dropped("logit_temperature", "uncertainty", "class_weights"):
            logger.warning("The classes are now %s: dropped what was fitted to others, %s", classes, dropped)
        if set(before.values()) == set(after.values()):
            logger.warning("The classes are now in the order %s: a head that was trained is in the old one", classes)

    def drop_calibration(self) -> None:
        """Other weights give other probabilities, of which nothing holds that was fitted to the old ones."""
        if self.uncertainty is None:
            return
        dropped = self._dropped("logit_temperature", "uncertainty")
        logger.warning("The model is trained further: dropped what was fitted to it as it was, %s", dropped)

    def _dropped(self, *names: str) -> str:
        """Set what is none of its default back to it, and name it."""
        none = {"logit_temperature": 1.0, "uncertainty": None, "class_weights": None}
        dropped = [name for name in names if getattr(self, name) != none[name]]
        for name in dropped:
            setattr(self, name, none[name])
        return ", ".join(dropped)

    def save_pretrained(self, save_directory, **kwargs):
        """As the stock one, and where there is no `preprocessor_config.json`, write that of this network.

        So a model that was saved alone can be asked about pictures. Save a processor of your own after the model.
        """
        super().save_pretrained(save_directory, **kwargs)
        file = Path(save_directory, "preprocessor_config.json")
        if not file.exists():
            file.write_text(json.dumps(self._processor(), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _processor(self) -> dict:
        """What the stock `ViTImageProcessor` is saved as: bilinear resize to a square, values in [-1, 1]."""
        return {
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": self.image_size, "width": self.image_size},
        }

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

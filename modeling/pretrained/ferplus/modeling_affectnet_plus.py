"""The soft-label vision transformer. Travels with every published model, so it needs torch and transformers only."""

import copy
import logging
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, ViTModel
from transformers.models.vit.modeling_vit import ViTLayer, ViTPreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .answers import answers  # noqa: F401 (transformers 4 copies what this module itself imports, and no further)
from .batches import COLUMNS, FaceCollator, affect_targets, soft_targets
from .configuration_affectnet_plus import AffectNetPlusConfig
from .faces import find_faces  # noqa: F401
from .fetching import fetch  # noqa: F401
from .losses import soft_label_loss, valence_arousal_loss
from .photos import read_photo  # noqa: F401
from .pipeline_affectnet_plus import FacialAffectPipeline
from .stems import make_stem

logger = logging.getLogger(__name__)

AUTO_MAP = {
    "AutoConfig": "configuration_affectnet_plus.AffectNetPlusConfig",
    "AutoModel": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
    "AutoModelForImageClassification": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
}
# Saving follows the imports of this module, so that the pipeline's code lies beside the name that points to it.
CUSTOM_PIPELINES = {
    "facial-affect": {
        "impl": f"pipeline_affectnet_plus.{FacialAffectPipeline.__name__}",
        "pt": ["AutoModelForImageClassification"],
        "type": "image",
    }
}
# What transformers 4 calls the parts of a ViT, and so what every saved file does, and what transformers 5 calls them.
RENAMED = {
    r"\bencoder\.layer\.": "layers.",
    r"\battention\.attention\.query\.": "attention.q_proj.",
    r"\battention\.attention\.key\.": "attention.k_proj.",
    r"\battention\.attention\.value\.": "attention.v_proj.",
    r"\battention\.output\.dense\.": "attention.o_proj.",
    r"\bintermediate\.dense\.": "mlp.fc1.",
    r"\boutput\.dense\.": "mlp.fc2.",
}


@dataclass
class AffectNetPlusOutput(ModelOutput):
    """What the model says about a batch.

    Attributes:
        loss: scalar, when any target was given.
        logits: (batch, classes); their softmax is the predicted soft label.
        valence_arousal: (batch, 2) in [-1, 1].
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    valence_arousal: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class DropPathLayer(ViTLayer):
    """A layer that in training is skipped for a random share of the faces (stochastic depth, Huang et al. 2016).

    What it adds to a face that keeps it is divided by the share that keeps it, so that its mean over draws is what it
    adds in inference. Its parameters have the names of a stock layer.
    """

    def __init__(self, config: AffectNetPlusConfig, rate: float):
        super().__init__(config)
        self.rate = rate

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Tensor:
        after = super().forward(hidden_states, *args, **kwargs)
        if not self.training:
            return after
        kept = torch.rand(len(after), 1, 1, device=after.device) >= self.rate
        return hidden_states + (kept / (1 - self.rate)).to(after.dtype) * (after - hidden_states)


class AffectNetPlusForSoftLabels(ViTPreTrainedModel):
    """A stock `ViTModel` with a soft-label head (softmax, KL divergence) and a bounded valence/arousal head (tanh)."""

    config_class = AffectNetPlusConfig
    # The loss is a mean over the batch already: the Trainer must divide it by its accumulation steps itself.
    accepts_loss_kwargs = False
    _no_split_modules = ["ViTEmbeddings", "ViTLayer", "DropPathLayer"]

    def __init__(self, config: AffectNetPlusConfig):
        # `register_for_auto_class` remembers one class only, and both `AutoModel`s are to find this one.
        config.auto_map = AUTO_MAP.copy()
        config.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES)
        super().__init__(config)
        self.stem = make_stem(config.stem_type, config.stem_channels, config.num_channels)
        inner = _transformer_config(config)
        self.vit = ViTModel(inner, add_pooling_layer=False)
        if config.drop_path_rate:
            # The one list in a ViT; transformers 4 has it at another place.
            layers = next(part for part in self.vit.modules() if isinstance(part, nn.ModuleList))
            for index, rate in enumerate(_drop_path_rates(config)):
                layers[index] = DropPathLayer(inner, rate)
        self.vit.register_load_state_dict_pre_hook(_take_saved_names)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.valence_arousal = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def collator(self, image_processor) -> FaceCollator:
        """The `data_collator` that makes this model's batches of the rows of AffectNet+, see `FaceCollator`."""
        return FaceCollator(self.config, image_processor)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        valence_arousal: Tensor | None = None,
        sample_weights: Tensor | None = None,
        **kwargs,
    ) -> AffectNetPlusOutput:
        """Run the model, and the loss when there is a target.

        In training, that is in training mode and with gradients, what `calibrate` fitted to the weights is dropped.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the saved processor does.
            labels: (batch, classes) soft labels, rows that sum to 1, NaN rows where unknown; or (batch,) class
                numbers, -100 where unknown.
            valence_arousal: (batch, 2) in [-1, 1], NaN where unknown.
            sample_weights: (batch,), 0 or positive: what each face weighs in the soft-label loss. Valence and arousal
                know no weights; to leave a face out of their loss, give NaN.
            **kwargs: the columns `soft_label_normalized`, `label`, `valence` and `arousal` of AffectNet+, which are
                targets too, see `batches`; others are those of `ViTModel`.

        Raises:
            ValueError: a target has another shape or type, is a column that is no target, or is valence and arousal
                alone for a model that does not learn them.
        """
        columns = {name: kwargs.pop(name) for name in COLUMNS if name in kwargs}
        misnamed = [name for name in kwargs if "label" in name]
        if misnamed:
            raise ValueError(f"the model takes no {misnamed[0]}: give labels, class numbers or soft labels")
        if self.training and torch.is_grad_enabled():  # also where a trainer keeps the labels for a loss of its own
            self.config.drop_calibration()
        states = self.vit(self.stem(pixel_values.to(self.dtype)), return_dict=True, **kwargs)
        tokens = states.last_hidden_state
        pooled = tokens[:, 0] if self.config.pooling == "cls" else tokens.mean(dim=1)
        pooled = self.dropout(pooled)
        logits = self.classifier(pooled) / self.config.logit_temperature
        affect = self.valence_arousal(pooled).tanh()
        soft_labels = soft_targets(labels, columns, self.config.num_labels)
        return AffectNetPlusOutput(
            loss=self._loss(logits, affect, soft_labels, affect_targets(valence_arousal, columns), sample_weights),
            logits=logits,
            valence_arousal=affect,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )

    def _loss(self, logits, affect, soft_labels, valence_arousal, sample_weights) -> Tensor | None:
        terms = []
        if soft_labels is not None:
            weights, smoothing = self.config.class_weights, self.config.label_smoothing
            options = {"kind": self.config.loss, "sample_weights": sample_weights}
            terms.append(soft_label_loss(logits, soft_labels, weights, smoothing, **options))
        if valence_arousal is not None and self.config.valence_arousal_weight:
            terms.append(self.config.valence_arousal_weight * valence_arousal_loss(affect, valence_arousal))
        elif valence_arousal is not None and not terms:
            advice = "from_pretrained(..., valence_arousal_weight=1.0) lets it"
            raise ValueError(f"valence and arousal alone, and this model does not learn them: {advice}")
        return torch.stack(terms).sum() if terms else None

    @classmethod
    def from_vit(cls, checkpoint, **options) -> "AffectNetPlusForSoftLabels":
        """Start from the encoder of any ViT checkpoint (folder or Hub name); a warning names what is new.

        Args:
            checkpoint: whatever `ViTModel.from_pretrained` takes.
            **options: of `AffectNetPlusConfig`; another `image_size` resizes the position embeddings (bicubic).

        Raises:
            ValueError: the checkpoint is not a ViT, lacks a weight of the encoder, or an option contradicts it.
        """
        source = AutoConfig.from_pretrained(checkpoint)
        if source.model_type != "vit":
            raise ValueError(f"{checkpoint} is a {source.model_type!r} checkpoint; from_vit needs model_type 'vit'")
        fixed = {name: getattr(source, name) for name in _ENCODER_OPTIONS} | {"stem_channels": ()}
        changed = [name for name, value in fixed.items() if options.get(name, value) != value]
        if changed:
            raise ValueError(f"{checkpoint} decides {', '.join(changed)}; only its image_size can be changed")
        model = cls(AffectNetPlusConfig(**({"image_size": source.image_size} | fixed | options)))
        encoder, report = ViTModel.from_pretrained(
            checkpoint, add_pooling_layer=False, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
        if report["missing_keys"]:  # transformers would start them at random
            missing = ", ".join(sorted(report["missing_keys"]))
            raise ValueError(f"{checkpoint} lacks {missing}; give a checkpoint with the whole encoder")
        weights = encoder.state_dict()
        positions = "embeddings.position_embeddings"
        weights[positions] = _resize_positions(weights[positions], model.vit.embeddings.position_embeddings.shape[1])
        model.vit.load_state_dict(weights)
        new = [name for name, _ in model.named_parameters() if not name.startswith("vit.")]
        logger.warning("%s gave every weight of the encoder. New, to be trained: %s", checkpoint, ", ".join(new))
        return model

    @classmethod
    def from_faces(cls, folder, **options) -> "AffectNetPlusForSoftLabels":
        """Start from the stem and the encoder of a folder of this model's own kind; the two heads are new.

        Args:
            folder: what `affectnet-plus pretrain` or `train` wrote, or a Hub name of such a model.
            **options: of `AffectNetPlusConfig`; another `image_size` resizes the position embeddings (bicubic).

        Raises:
            ValueError: it is another kind of model, or lacks a weight of the stem or the encoder.
        """
        source = AutoConfig.from_pretrained(folder)
        if source.model_type != cls.config_class.model_type:
            kind = cls.config_class.model_type
            raise ValueError(f"{folder} is a {source.model_type!r} model; from_faces needs {kind!r}")
        names = (*_ENCODER_OPTIONS, "stem_channels", "stem_type", "pooling", "initializer_range", "image_size")
        model = cls(AffectNetPlusConfig(**({name: getattr(source, name) for name in names} | options)))
        loaded, report = cls.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
        missing = sorted(name for name in report["missing_keys"] if name.startswith(("stem.", "vit.")))
        if missing:  # transformers would start them at random
            raise ValueError(f"{folder} lacks {', '.join(missing)}; give a whole checkpoint")
        weights = loaded.state_dict()
        positions = "vit.embeddings.position_embeddings"
        weights[positions] = _resize_positions(weights[positions], model.vit.embeddings.position_embeddings.shape[1])
        encoder = {name: value for name, value in weights.items() if name.startswith(("stem.", "vit."))}
        model.load_state_dict(model.state_dict() | encoder)
        return model


def _take_saved_names(vit: ViTModel, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Give each weight of a saved file the name that the encoder has it under, before `load_state_dict` looks.

    `from_pretrained` does so itself, but the Trainer, which restores its best checkpoint and a resumed run, does not:
    it would leave the encoder as it was.
    """
    own = vit.state_dict().keys()
    for name in [name for name in state_dict if name.startswith(prefix)]:
        renamed = name.removeprefix(prefix)
        for old, new in RENAMED.items():
            renamed = re.sub(old, new, renamed)
        if renamed in own and prefix + renamed != name:
            state_dict[prefix + renamed] = state_dict.pop(name)


_ENCODER_OPTIONS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "patch_size",
    "num_channels",
    "qkv_bias",
)


def _transformer_config(config: AffectNetPlusConfig) -> AffectNetPlusConfig:
    """The configuration as the transformer sees it: its picture is the stem's output."""
    if not config.stem_channels:
        return config
    inner = copy.deepcopy(config)
    inner.image_size = config.image_size // config.stem_stride
    inner.patch_size = config.patch_size // config.stem_stride
    inner.num_channels = config.stem_channels[-1]
    inner.stem_channels = ()
    return inner


def _drop_path_rates(config: AffectNetPlusConfig) -> list[float]:
    """Of each layer, linear from 0 at the first one to `drop_path_rate` at the last one; 0 if it is the only one."""
    last = max(config.num_hidden_layers - 1, 1)
    return [config.drop_path_rate * index / last for index in range(config.num_hidden_layers)]


def _resize_positions(positions: Tensor, length: int) -> Tensor:
    """Bicubic resize of (1, 1 + side^2, width) position embeddings to `length` tokens; the class token stays."""
    if positions.shape[1] == length:
        return positions
    side, width = int((positions.shape[1] - 1) ** 0.5), positions.shape[2]
    new_side = int((length - 1) ** 0.5)
    grid = positions[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=(new_side, new_side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)

"""The soft-label vision transformer. Travels with every published model, so it needs torch and transformers only."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, ViTModel
from transformers.models.vit.modeling_vit import ViTPreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_affectnet_plus import AffectNetPlusConfig
from .losses import soft_label_loss, valence_arousal_loss


AUTO_MAP = {
    "AutoConfig": "configuration_affectnet_plus.AffectNetPlusConfig",
    "AutoModel": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
    "AutoModelForImageClassification": "modeling_affectnet_plus.AffectNetPlusForSoftLabels",
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


class ConvolutionalStem(nn.Sequential):
    """3x3 convolutions before the transformer (Xiao et al. 2021, "Early convolutions help transformers see better").

    Group norm rather than batch norm: it has no buffers, and the same answer in training and inference.
    """

    def __init__(self, channels: list[int] | tuple[int, ...], in_channels: int):
        layers: list[nn.Module] = []
        for index, out_channels in enumerate(channels):
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, stride=1 if index == 0 else 2, padding=1, bias=False),
                nn.GroupNorm(8, out_channels),
                nn.GELU(),
            ]
            in_channels = out_channels
        super().__init__(*layers)


class AffectNetPlusForSoftLabels(ViTPreTrainedModel):
    """A stock `ViTModel` with a soft-label head (softmax, KL divergence) and a bounded valence/arousal head (tanh)."""

    config_class = AffectNetPlusConfig
    # The loss is a mean over the batch already: the Trainer must divide it by its accumulation steps itself.
    accepts_loss_kwargs = False

    def __init__(self, config: AffectNetPlusConfig):
        # `register_for_auto_class` remembers one class only, and both `AutoModel`s are to find this one.
        config.auto_map = AUTO_MAP.copy()
        super().__init__(config)
        self.stem = ConvolutionalStem(config.stem_channels, config.num_channels)
        self.vit = ViTModel(_transformer_config(config), add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.valence_arousal = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        soft_labels: Tensor | None = None,
        labels: Tensor | None = None,
        valence_arousal: Tensor | None = None,
        **kwargs,
    ) -> AffectNetPlusOutput:
        """Run the model, and the loss when there is a target.

        Args:
            pixel_values: (batch, channels, height, width), normalised as the saved processor does.
            soft_labels: (batch, classes), rows that sum to 1, NaN rows where unknown.
            labels: (batch,) class numbers; they are the target only when no soft labels are given.
            valence_arousal: (batch, 2) in [-1, 1], NaN where unknown.
        """
        states = self.vit(self.stem(pixel_values.to(self.dtype)), return_dict=True, **kwargs)
        tokens = states.last_hidden_state
        pooled = tokens[:, 0] if self.config.pooling == "cls" else tokens.mean(dim=1)
        logits = self.classifier(pooled) / self.config.logit_temperature
        affect = self.valence_arousal(pooled).tanh()
        return AffectNetPlusOutput(
            loss=self._loss(logits, affect, soft_labels, labels, valence_arousal),
            logits=logits,
            valence_arousal=affect,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )

    def _loss(self, logits, affect, soft_labels, labels, valence_arousal) -> Tensor | None:
        if soft_labels is None and labels is not None:
            soft_labels = nn.functional.one_hot(labels, self.config.num_labels).float()
        terms = []
        if soft_labels is not None:
            weights = self.config.class_weights
            weights = None if weights is None else torch.tensor(weights, device=soft_labels.device)
            terms.append(soft_label_loss(logits, soft_labels, weights, self.config.label_smoothing))
        if valence_arousal is not None and self.config.valence_arousal_weight:
            terms.append(self.config.valence_arousal_weight * valence_arousal_loss(affect, valence_arousal))
        return torch.stack(terms).sum() if terms else None

    @classmethod
    def from_vit(cls, checkpoint, **options) -> "AffectNetPlusForSoftLabels":
        """Start from the encoder of any ViT checkpoint (folder or Hub name); the two heads are new.

        Args:
            checkpoint: whatever `ViTModel.from_pretrained` takes.
            **options: of `AffectNetPlusConfig`; another `image_size` resizes the position embeddings (bicubic).

        Raises:
            ValueError: the checkpoint is not a ViT, or an option contradicts its encoder.
        """
        source = AutoConfig.from_pretrained(checkpoint)
        if source.model_type != "vit":
            raise ValueError(f"{checkpoint} is a {source.model_type!r} checkpoint; from_vit needs model_type 'vit'")
        fixed = {name: getattr(source, name) for name in _ENCODER_OPTIONS} | {"stem_channels": ()}
        changed = [name for name, value in fixed.items() if options.get(name, value) != value]
        if changed:
            raise ValueError(f"{checkpoint} decides {', '.join(changed)}; only its image_size can be changed")
        model = cls(AffectNetPlusConfig(**({"image_size": source.image_size} | fixed | options)))
        weights = ViTModel.from_pretrained(checkpoint, add_pooling_layer=False, dtype=torch.float32).state_dict()
        positions = "embeddings.position_embeddings"
        weights[positions] = _resize_positions(weights[positions], model.vit.embeddings.position_embeddings.shape[1])
        model.vit.load_state_dict(weights)
        return model


_ENCODER_OPTIONS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps",
    "patch_size", "num_channels", "qkv_bias",
)  # fmt: skip


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


def _resize_positions(positions: Tensor, length: int) -> Tensor:
    """Bicubic resize of (1, 1 + side^2, width) position embeddings to `length` tokens; the class token stays."""
    if positions.shape[1] == length:
        return positions
    side, width = int((positions.shape[1] - 1) ** 0.5), positions.shape[2]
    new_side = int((length - 1) ** 0.5)
    grid = positions[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=(new_side, new_side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)

"""The stem and encoder of `AffectNetPlusForSoftLabels`, asked for the pixels that were hidden from them."""

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import MaskedImageModelingOutput
from transformers.models.vit.modeling_vit import ViTPreTrainedModel

from ..vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from .masking import hide, pixel_masks


class MaskedFaceModel(ViTPreTrainedModel):
    """Masked-image modelling as in SimMIM (Xie et al. 2022); its stem and `vit` have the names of the later model.

    What is hidden becomes grey before the stem, or its convolutions would carry hidden pixels into patches that are
    seen, and its group norm into all. The encoder then gets the stock mask token in the place of hidden patches. The
    head is that of the stock `ViTForMaskedImageModeling`, which knows no stem: one linear layer.
    """

    config_class = AffectNetPlusConfig
    accepts_loss_kwargs = False  # the loss is a mean over the batch already

    def __init__(self, config: AffectNetPlusConfig):
        super().__init__(config)
        later = AffectNetPlusForSoftLabels(config)
        self.stem, self.vit = later.stem, later.vit
        self.vit.embeddings.mask_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        values = config.num_channels * config.patch_size**2
        self.decoder = nn.Sequential(nn.Conv2d(config.hidden_size, values, 1), nn.PixelShuffle(config.patch_size))
        self.post_init()

    def forward(self, pixel_values: Tensor, masks: Tensor) -> MaskedImageModelingOutput:
        """Fill in what is hidden.

        Args:
            pixel_values: (batch, channels, size, size), normalised.
            masks: (batch, patches) bool, as `draw_masks` gives them.

        Returns:
            `loss`, the mean absolute difference over the values of hidden pixels, of all pictures together;
            `reconstruction` (batch, channels, size, size), which means nothing where the picture was seen.
        """
        hidden = pixel_masks(masks, self.config.patch_size)
        tokens = self.encode(hide(pixel_values, hidden), masks)[:, 1:]
        side = self.config.image_size // self.config.patch_size
        grid = tokens.transpose(1, 2).unflatten(2, (side, side))
        reconstruction = self.decoder(grid).float()
        difference = (reconstruction - pixel_values).abs().mean(dim=1, keepdim=True)
        loss = (difference * hidden).sum() / hidden.sum()
        return MaskedImageModelingOutput(loss=loss, reconstruction=reconstruction)

    def encode(self, hidden_pictures: Tensor, masks: Tensor) -> Tensor:
        """(batch, 1 + patches, width): what the encoder makes of pictures in which the hidden pixels are grey."""
        return self.vit(self.stem(hidden_pictures), bool_masked_pos=masks, return_dict=True).last_hidden_state

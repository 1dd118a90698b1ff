"""Distillation: finished models whose answers are mixed into the soft labels of the faces (Hinton et al. 2015)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..loading import load_whole
from ..shipped import model_folder
from ..vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from ..vit.stems import folded


class Teachers:
    """They see each face as the student sees it, changed and mixed (Beyer et al. 2022).

    Args:
        folders: of models of the student's emotions, published or as `train` writes them.
        share: of their mean answer in the target, in [0, 1].
        student: its configuration.
        device: where the student is.
        bf16: they answer in bfloat16 autocast, as the student trains.

    Raises:
        ValueError: a teacher has other classes or another size of picture.
    """

    def __init__(
        self, folders: Sequence[str], share: float, student: AffectNetPlusConfig, device: torch.device, bf16: bool
    ):
        self._share, self._device, self._bf16 = share, device, bf16
        self._models = [folded(_teacher(folder, student)).to(device).requires_grad_(False) for folder in folders]

    @torch.no_grad()
    def taught(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with (1 - share) x its soft labels + share x the teachers' mean answer; where unknown, that alone.

        Args:
            batch: `pixel_values` (batch, 3, side, side) and `soft_labels` (batch, classes), rows of NaN if unknown.
        """
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            answers = [model(batch["pixel_values"]).logits.float().softmax(dim=1) for model in self._models]
        mean, known = torch.stack(answers).mean(dim=0), batch["soft_labels"]
        return batch | {"soft_labels": torch.where(known.isnan(), mean, known.lerp(mean, self._share))}


def _teacher(folder: str, student: AffectNetPlusConfig) -> AffectNetPlusForSoftLabels:
    model = load_whole(AffectNetPlusForSoftLabels, model_folder(folder))
    names, expected = model.config.id2label, student.id2label
    if names != expected:
        found = f"the teacher {folder} answers {', '.join(names.values())}"
        raise ValueError(f"{found}; expected {', '.join(expected.values())}")
    if model.config.image_size != student.image_size:
        sizes = f"{model.config.image_size} pixels, and the student {student.image_size}"
        raise ValueError(f"the teacher {folder} takes {sizes}")
    return model

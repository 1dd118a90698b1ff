"""The ensemble of binary classifiers (EBC): for each emotion a network that answers "this one, or any other?".

A member is eight networks of one backbone, trained from one seed. With cross-fitting a member also has a fold, the
part of the training faces that it never saw; `seen` finds the fold of a face again by its pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from affectnet_plus import EMOTIONS

from ...checkpoints import read_config
from ...loading import load_whole
from ...sentences import lacks
from ...vit import AffectNetPlusConfig

ALL_FOLDS = -1  # of a face that was not trained on: every member may answer


class BinaryEnsembleConfig(PreTrainedConfig):
    """What an ensemble is made of.

    Args:
        image_size: side in pixels of the square pictures.
        backbones: configurations of two-class image classifiers of `transformers`, as dicts.
        members: {"backbone": index into backbones, "seed": number, "fold": number of the fold it did not see, or
            ALL_FOLDS where it saw every training face}.
        calibration: as `calibration.fit_calibration` gives it, or None for the logistic function alone.
    """

    model_type = "affectnet_plus_ensemble"

    image_size: int = 48
    backbones: list[dict] | tuple[dict, ...] = ()
    members: list[dict] | tuple[dict, ...] = ()
    calibration: dict | None = None

    def __post_init__(self, **kwargs):
        if self.id2label is None:
            self.id2label = dict(enumerate(EMOTIONS))
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}


@dataclass
class BinaryEnsembleOutput(ModelOutput):
    """`logits`: (batch, 8) log-odds of each emotion against the rest, before calibration, mean over the members."""

    logits: Tensor | None = None


class BinaryEnsemble(PreTrainedModel):
    """Log-odds of each emotion against the rest, averaged over the members that may answer."""

    config_class = BinaryEnsembleConfig
    main_input_name = "pixel_values"

    def __init__(self, config: BinaryEnsembleConfig):
        super().__init__(config)
        self.members = nn.ModuleList(
            nn.ModuleList(make_network(config.backbones[member["backbone"]]) for _ in EMOTIONS)
            for member in config.members
        )
        self.post_init()

    def forward(self, pixel_values: Tensor, folds: Tensor | None = None) -> BinaryEnsembleOutput:
        """Average the members of each face.

        Args:
            pixel_values: (batch, 3, size, size), normalised as the saved processor does.
            folds: (batch,) the fold in which a face was trained on: only members that did not see that fold answer
                for it. ALL_FOLDS, or no folds at all: every member answers.

        Returns:
            Log-odds; NaN rows for faces that every member has seen.
        """
        if folds is None:
            folds = torch.full((len(pixel_values),), ALL_FOLDS, device=pixel_values.device)
        total = pixel_values.new_zeros(len(pixel_values), len(EMOTIONS), dtype=torch.float32)
        count = torch.zeros_like(total[:, :1])
        for member, networks in zip(self.config.members, self.members, strict=True):
            may = (folds == ALL_FOLDS) | (folds == member["fold"])
            if may.any():
                own = pixel_values[may]
                each = [log_odds(network(own).logits) for network in networks]  # type: ignore[attr-defined]
                total[may] += torch.stack(each, dim=1)
                count[may] += 1
        return BinaryEnsembleOutput(logits=total / count)  # 0 / 0 is NaN: nobody may answer


AutoConfig.register(BinaryEnsembleConfig.model_type, BinaryEnsembleConfig)
AutoModel.register(BinaryEnsembleConfig, BinaryEnsemble)


def log_odds(logits: Tensor) -> Tensor:
    """(batch, 2) logits of "the rest" and "this emotion" as (batch,) log-odds of the emotion, float32.

    The softmax of two logits is the logistic function of their difference, so that cross-entropy over the two is the
    binary cross-entropy; two classes are what every image classifier of `transformers` takes.
    """
    return (logits[:, 1] - logits[:, 0]).float()


def make_network(backbone: dict) -> PreTrainedModel:
    """A new two-class image classifier of the configuration `backbone`."""
    options = {name: value for name, value in backbone.items() if name != "model_type"}
    config = AutoConfig.for_model(backbone["model_type"], **options)
    network = AutoModelForImageClassification.from_config(config)
    if isinstance(config, AffectNetPlusConfig) and not torch.cuda.is_available():
        network.set_attn_implementation("eager")  # training/train.py says why
    return network


def load_ensemble(folder) -> BinaryEnsemble:
    """The ensemble of a local folder, in float32 and ready to label.

    Raises:
        FileNotFoundError: the folder holds no config.json and model.safetensors.
        ValueError: it holds another kind of model, or one whose emotions are others or in another order; or as
            `load_whole`.
    """
    folder = Path(folder)
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{lacks(folder, missing)}; give the folder of train-ensemble")
    config = read_config(folder)
    if config.get("model_type") != BinaryEnsembleConfig.model_type:
        kind = config.get("model_type")
        raise ValueError(f"{folder} holds a {kind!r} model, expected {BinaryEnsembleConfig.model_type!r}")
    names = [name for _, name in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0]))]
    if names != list(EMOTIONS):
        expected = ", ".join(EMOTIONS)
        raise ValueError(f"{folder} has the emotions {', '.join(names)}; expected {expected}, in this order")
    model = load_whole(BinaryEnsemble, folder)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")

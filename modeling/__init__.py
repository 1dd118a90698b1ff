"""AffectNet+ from Python: `import affectnet_plus_modeling as ap`, and `ap.<TAB>` shows the way.

A name is imported when it is first asked for (PEP 562), so that the package itself costs nothing and torch is loaded
by what needs it alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from .alignment import align
    from .data.pictures import open_pictures
    from .evaluation.calibrate import CalibrationOptions, calibrate
    from .evaluation.evaluate import EvaluationOptions, compare, evaluate
    from .evaluation.predict import load_model, predict
    from .examination import doctor
    from .exporting.export import export
    from .labelling.ensemble.options import EnsembleOptions
    from .labelling.ensemble.train import train_ensemble
    from .labelling.fit_labelled import fit_labelled as fit_fusion
    from .labelling.label import label
    from .labelling.label_options import LabelOptions
    from .labels import remap
    from .preparing.prepare import prepare
    from .publishing.hub import HubOptions
    from .publishing.publish import publish, stage
    from .shipped import pretrained
    from .training.options import Augmentation, TrainingOptions
    from .training.pretrain import pretrain
    from .training.pretrain_options import PretrainingOptions
    from .training.train import train
    from .vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels, FacialAffectPipeline
    from .vit.losses import soft_label_loss, valence_arousal_loss

# Name -> the module that has it, and its name there where that is another. tests/test_front_door.py holds this table
# and the imports above, which editors and mypy read, together.
_NAMES = {
    # data
    "prepare": "preparing.prepare",
    "doctor": "examination",
    "open_pictures": "data.pictures",
    "align": "alignment",
    "remap": "labels",
    # training
    "train": "training.train",
    "TrainingOptions": "training.options",
    "Augmentation": "training.options",
    "pretrain": "training.pretrain",
    "PretrainingOptions": "training.pretrain_options",
    # a model, and what it says
    "load_model": "evaluation.predict",
    "pretrained": "shipped",
    "predict": "evaluation.predict",
    "evaluate": "evaluation.evaluate",
    "EvaluationOptions": "evaluation.evaluate",
    "compare": "evaluation.evaluate",
    "calibrate": "evaluation.calibrate",
    "CalibrationOptions": "evaluation.calibrate",
    "export": "exporting.export",
    # soft labels
    "label": "labelling.label",
    "LabelOptions": "labelling.label_options",
    "train_ensemble": "labelling.ensemble.train",
    "EnsembleOptions": "labelling.ensemble.options",
    "fit_fusion": "labelling.fit_labelled:fit_labelled",
    # the Hub
    "publish": "publishing.publish",
    "stage": "publishing.publish",
    "HubOptions": "publishing.hub",
    # the model that travels
    "AffectNetPlusConfig": "vit",
    "AffectNetPlusForSoftLabels": "vit",
    "FacialAffectPipeline": "vit",
    "soft_label_loss": "vit.losses",
    "valence_arousal_loss": "vit.losses",
}

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # takes longer than all else here

        return version("affectnet-plus")
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _NAMES[name].partition(":")
    found = getattr(importlib.import_module(f".{module}", __name__), there or name)
    globals()[name] = found  # asked for once
    return found


def __dir__() -> list[str]:
    return sorted({*_NAMES, *(name for name in globals() if name.startswith("__"))})

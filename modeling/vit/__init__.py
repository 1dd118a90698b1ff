"""The model that travels: configuration, model and losses, known to the Auto classes once this is imported."""

from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

from .configuration_affectnet_plus import AffectNetPlusConfig
from .modeling_affectnet_plus import AffectNetPlusForSoftLabels, AffectNetPlusOutput

AutoConfig.register(AffectNetPlusConfig.model_type, AffectNetPlusConfig)
AutoModel.register(AffectNetPlusConfig, AffectNetPlusForSoftLabels)
AutoModelForImageClassification.register(AffectNetPlusConfig, AffectNetPlusForSoftLabels)
AffectNetPlusConfig.register_for_auto_class()
AffectNetPlusForSoftLabels.register_for_auto_class("AutoModelForImageClassification")

__all__ = ["AffectNetPlusConfig", "AffectNetPlusForSoftLabels", "AffectNetPlusOutput"]

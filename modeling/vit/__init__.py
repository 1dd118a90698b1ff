"""The model that travels: configuration, model, losses and pipeline, known to transformers once this is imported."""

from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_affectnet_plus import AffectNetPlusConfig
from .modeling_affectnet_plus import AffectNetPlusForSoftLabels, AffectNetPlusOutput
from .pipeline_affectnet_plus import FacialAffectPipeline

AutoConfig.register(AffectNetPlusConfig.model_type, AffectNetPlusConfig)
AutoModel.register(AffectNetPlusConfig, AffectNetPlusForSoftLabels)
AutoModelForImageClassification.register(AffectNetPlusConfig, AffectNetPlusForSoftLabels)
AffectNetPlusConfig.register_for_auto_class()
AffectNetPlusForSoftLabels.register_for_auto_class("AutoModelForImageClassification")
PIPELINE_REGISTRY.register_pipeline(
    "facial-affect", FacialAffectPipeline, pt_model=AutoModelForImageClassification, type="image"
)

__all__ = ["AffectNetPlusConfig", "AffectNetPlusForSoftLabels", "AffectNetPlusOutput", "FacialAffectPipeline"]

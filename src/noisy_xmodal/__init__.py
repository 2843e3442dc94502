"""Image-text retrieval models trained on pairs and labels that cannot be trusted.

Importing the package registers its configs, models and processors with the Auto classes of
transformers, and its tasks with `transformers.pipeline`. Everything else is imported when it is
first asked for.
"""

from importlib import import_module
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from .models.common_space.configuration_common_space import CommonSpaceConfig
from .models.common_space.modeling_common_space import CommonSpaceModel
from .models.common_space.processing_common_space import CommonSpaceProcessor
from .models.dmcm.configuration_dmcm import DmcmConfig
from .models.dmcm.modeling_dmcm import DmcmModel
from .models.dmcm.processing_dmcm import DmcmProcessor
from .models.matching.configuration_matching import MatchingConfig
from .models.matching.modeling_matching import MatchingModel
from .models.matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from .models.ncr.configuration_ncr import NcrConfig
from .models.ncr.modeling_ncr import NcrModel
from .models.ncr.processing_ncr import NcrProcessor
from .models.rcar.configuration_rcar import RcarConfig
from .models.rcar.modeling_rcar import RcarModel
from .models.rcar.processing_rcar import RcarProcessor
from .pipelines import ImageTextMatchPipeline, ImageTextRetrievalPipeline, register_pipelines

__version__ = "0.1.0"

for _config, _model, _processor in (
    (MatchingConfig, MatchingModel, MatchingProcessor),
    (NcrConfig, NcrModel, NcrProcessor),
    (RcarConfig, RcarModel, RcarProcessor),
    (CommonSpaceConfig, CommonSpaceModel, CommonSpaceProcessor),
    (DmcmConfig, DmcmModel, DmcmProcessor),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoProcessor.register(_config, _processor, exist_ok=True)
for _config in (MatchingConfig, NcrConfig, RcarConfig):
    AutoImageProcessor.register(
        _config, image_processor_classes={"pil": RegionFeatureProcessor}, exist_ok=True
    )
register_pipelines()

_LAZY = {
    "NcrTrainer": ".models.ncr.trainer_ncr",
    "RcarTrainer": ".models.rcar.trainer_rcar",
    "RcarTrainingArguments": ".models.rcar.arguments_rcar",
    "DmcmTrainer": ".models.dmcm.trainer_dmcm",
    "LABEL_METHODS": ".models.label_methods",
    "build_label_model": ".models.label_methods",
    "RobustTrainer": ".training",
    "PairTrainer": ".training",
    "MatchingTrainer": ".training",
    "LabelTrainer": ".training",
    "LabelTrainingArguments": ".training",
    "RobustTrainingArguments": ".training",
    "CoTeachingTrainer": ".training",
    "RerankEvaluator": ".evaluation",
    "RetrievalEvaluator": ".evaluation",
    "LabelRetrievalEvaluator": ".evaluation",
    "PairDataset": ".data",
    "LabelDataset": ".data",
    "as_label_pairs": ".data",
    "load_label_pairs": ".data",
    "as_pairs": ".data",
    "load_pairs": ".data",
    "inject_noise": ".data",
    "noise_protocol": ".data",
    "load_openmoji": ".data.builders",
    "load_openmoji_labels": ".data.builders",
    "write_dataset": ".data.builders",
    "train_word_tokenizer": ".modules",
    "BetaMixture": ".noise",
    "clean_posterior": ".noise",
    "CompleteMismatch": ".noise",
    "PartialMismatch": ".noise",
    "SymmetricLabelNoise": ".noise",
    "retrieval_metrics": ".metrics",
    "class_retrieval_metrics": ".metrics",
    "calibrate": ".evaluation",
    "publish_folder": ".hub",
    "export_sentence_transformers": ".hub.sentence_transformers_export",
    "classification_loss": ".losses",
}

__all__ = [
    "CommonSpaceConfig",
    "CommonSpaceModel",
    "CommonSpaceProcessor",
    "DmcmConfig",
    "DmcmModel",
    "DmcmProcessor",
    "ImageTextMatchPipeline",
    "ImageTextRetrievalPipeline",
    "MatchingConfig",
    "MatchingModel",
    "MatchingProcessor",
    "NcrConfig",
    "NcrModel",
    "NcrProcessor",
    "RcarConfig",
    "RcarModel",
    "RcarProcessor",
    "RegionFeatureProcessor",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

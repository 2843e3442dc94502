"""Image-text retrieval models trained on pairs and labels that cannot be trusted.

Importing the package registers its configs, models and processors with the Auto classes of
transformers. Everything else is imported when it is first asked for.
"""

from importlib import import_module
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from .models.matching.configuration_matching import MatchingConfig
from .models.matching.modeling_matching import MatchingModel
from .models.matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from .models.ncr.configuration_ncr import NcrConfig
from .models.ncr.modeling_ncr import NcrModel
from .models.ncr.processing_ncr import NcrProcessor

__version__ = "0.1.0"

for _config, _model, _processor in (
    (MatchingConfig, MatchingModel, MatchingProcessor),
    (NcrConfig, NcrModel, NcrProcessor),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoProcessor.register(_config, _processor, exist_ok=True)
    AutoImageProcessor.register(
        _config, image_processor_classes={"pil": RegionFeatureProcessor}, exist_ok=True
    )

_LAZY = {
    "NcrTrainer": ".models.ncr.trainer_ncr",
    "RobustTrainer": ".training",
    "RobustTrainingArguments": ".training",
    "CoTeachingTrainer": ".training",
    "RetrievalEvaluator": ".evaluation",
    "PairDataset": ".data",
    "as_pairs": ".data",
    "load_pairs": ".data",
    "inject_noise": ".data",
    "noise_protocol": ".data",
    "load_openmoji": ".data.builders",
    "write_dataset": ".data.builders",
    "train_word_tokenizer": ".modules",
    "clean_posterior": ".noise",
    "CompleteMismatch": ".noise",
    "PartialMismatch": ".noise",
    "SymmetricLabelNoise": ".noise",
    "retrieval_metrics": ".metrics",
}

__all__ = [
    "MatchingConfig",
    "MatchingModel",
    "MatchingProcessor",
    "NcrConfig",
    "NcrModel",
    "NcrProcessor",
    "RegionFeatureProcessor",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

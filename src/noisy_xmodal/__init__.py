"""Image-text retrieval models trained on pairs and labels that cannot be trusted.

After `import noisy_xmodal`, the Auto classes of transformers know the configs, models and
processors of this package, and `transformers.pipeline` its tasks. Nothing else is imported before
it is used: neither by this module nor, for the Auto classes, before transformers imports them.
"""

import sys
from importlib import import_module
from typing import Any

from .entry.late_imports import LateImports

__version__ = "0.1.0"

#: The public names, and the module of each.
_MODULES = {
    **dict.fromkeys(("CommonSpaceConfig", "CommonSpaceModel", "CommonSpaceProcessor"), ".models"),
    **dict.fromkeys(("DmcmConfig", "DmcmModel", "DmcmProcessor"), ".models"),
    **dict.fromkeys(("EncoderPairConfig", "EncoderPairModel", "EncoderPairProcessor"), ".models"),
    **dict.fromkeys(("MatchingConfig", "MatchingModel", "MatchingProcessor"), ".models"),
    **dict.fromkeys(("NcrConfig", "NcrModel", "NcrProcessor"), ".models"),
    **dict.fromkeys(("RcarConfig", "RcarModel", "RcarProcessor"), ".models"),
    "RegionFeatureProcessor": ".models",
    "ImageTextMatchPipeline": ".pipelines",
    "ImageTextRetrievalPipeline": ".pipelines",
    **dict.fromkeys(("PeersConfig", "PeersModel"), ".models"),
    "RcarTrainingArguments": ".training",
    "CAPTION_METHODS": ".methods",
    "LABEL_METHODS": ".methods",
    "build_label_model": ".methods.building",
    "build_pair_model": ".methods.building",
    "Constant": ".training",
    "Method": ".training",
    "RobustTrainer": ".training",
    "LabelTrainingArguments": ".training",
    "RobustTrainingArguments": ".training",
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
    "load_openmoji": ".data.readers",
    "load_openmoji_labels": ".data.readers",
    "write_dataset": ".data.readers",
    "train_word_tokenizer": ".modules",
    "BetaMixture": ".noise",
    "clean_posterior": ".noise",
    "CompleteMismatch": ".noise",
    "PartialMismatch": ".noise",
    "SymmetricLabelNoise": ".noise",
    "retrieval_metrics": ".metrics",
    "class_retrieval_metrics": ".metrics",
    "audit": ".auditing.run",
    "calibrate": ".evaluation",
    "publish_folder": ".hub",
    "export_sentence_transformers": ".hub.sentence_transformers_export",
    "export_transformers": ".hub.transformers_export",
    "classification_loss": ".losses",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_LATE = LateImports(
    {
        "transformers.models.auto.configuration_auto": f"{__name__}.models",
        "transformers.pipelines": f"{__name__}.pipelines",
    }
)
sys.meta_path.insert(0, _LATE)
_LATE.import_ready()

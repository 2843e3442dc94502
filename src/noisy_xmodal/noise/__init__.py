"""Noise in pairs and labels: injecting, finding and repairing it. NumPy and scikit-learn only."""

from importlib import import_module
from typing import Any

from .base import CaptionNoise, LabelNoise, NoiseType
from .complete_mismatch import CompleteMismatch
from .index_file import NoiseIndex, read_noise_index, write_noise_index
from .label_noise import SymmetricLabelNoise
from .labels import NoisyLabels
from .noise_types import NOISE_TYPES, parse_noise
from .pairs import Pairs
from .partial_mismatch import PartialMismatch, object_matrix
from .refurbishment import bootstrap, co_rectify, refurbish_alignment

#: Names whose modules import scikit-learn, which takes a second, and those modules.
_MIXTURES = {
    "BetaMixture": ".beta_mixture",
    "CleanPosterior": ".mixture",
    "Division": ".division",
    "clean_posterior": ".mixture",
    "divide": ".division",
    "select_clean": ".division",
    "with_prior": ".division",
}

__all__ = [
    "NOISE_TYPES",
    "BetaMixture",
    "CaptionNoise",
    "CleanPosterior",
    "CompleteMismatch",
    "Division",
    "LabelNoise",
    "NoiseIndex",
    "NoiseType",
    "NoisyLabels",
    "Pairs",
    "PartialMismatch",
    "SymmetricLabelNoise",
    "bootstrap",
    "clean_posterior",
    "co_rectify",
    "divide",
    "object_matrix",
    "parse_noise",
    "read_noise_index",
    "refurbish_alignment",
    "select_clean",
    "with_prior",
    "write_noise_index",
]


def __getattr__(name: str) -> Any:
    if name in _MIXTURES:
        return getattr(import_module(_MIXTURES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

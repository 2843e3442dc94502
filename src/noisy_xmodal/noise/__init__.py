"""Noise in pairs and labels: injecting, finding and repairing it. NumPy and scikit-learn only."""

from .base import CaptionNoise, LabelNoise, NoiseType
from .beta_mixture import BetaMixture
from .complete_mismatch import CompleteMismatch
from .division import Division, divide, select_clean
from .index_file import NoiseIndex, read_noise_index, write_noise_index
from .label_noise import SymmetricLabelNoise
from .labels import NoisyLabels
from .mixture import CleanPosterior, clean_posterior
from .noise_types import NOISE_TYPES, parse_noise
from .pairs import Pairs
from .partial_mismatch import PartialMismatch, object_matrix
from .refurbishment import bootstrap, co_rectify, refurbish_alignment

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
    "write_noise_index",
]

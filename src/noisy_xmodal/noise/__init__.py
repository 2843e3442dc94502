"""Noise in image-text pairs: injecting, finding and repairing it. NumPy and scikit-learn only."""

from .division import Division, divide
from .index_file import NoiseIndex, read_noise_index, write_noise_index
from .injection import NOISE_TYPES, CompleteMismatch, parse_noise
from .mixture import CleanPosterior, clean_posterior
from .pairs import Pairs
from .refurbishment import bootstrap, co_rectify

__all__ = [
    "NOISE_TYPES",
    "CleanPosterior",
    "CompleteMismatch",
    "Division",
    "NoiseIndex",
    "Pairs",
    "bootstrap",
    "clean_posterior",
    "co_rectify",
    "divide",
    "parse_noise",
    "read_noise_index",
    "write_noise_index",
]

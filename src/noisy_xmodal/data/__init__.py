"""The column contract, datasets by name, and how pairs become batches."""

from .collator import PairCollator
from .columns import DatasetError, validate_columns, validate_pairs
from .pair_dataset import PairDataset, drop_noisy_pairs
from .protocol import noise_protocol

__all__ = [
    "DatasetError",
    "PairCollator",
    "PairDataset",
    "drop_noisy_pairs",
    "noise_protocol",
    "validate_columns",
    "validate_pairs",
]

"""The column contract, datasets by name, and how pairs become batches."""

from .any_dataset import (
    as_label_pairs,
    as_pairs,
    config_names,
    load_label_pairs,
    load_pairs,
)
from .boxes import append_boxes
from .collator import PairCollator
from .columns import DatasetError, validate_columns, validate_label_pairs, validate_pairs
from .injection import inject_noise
from .label_dataset import LabelDataset
from .messages import spell_options
from .pair_dataset import PairDataset, drop_noisy_pairs
from .pictures import keep_good_pictures
from .plain_vectors import with_vectors
from .protocol import counted_noise, noise_protocol

__all__ = [
    "DatasetError",
    "LabelDataset",
    "PairCollator",
    "PairDataset",
    "append_boxes",
    "as_label_pairs",
    "as_pairs",
    "config_names",
    "counted_noise",
    "drop_noisy_pairs",
    "inject_noise",
    "keep_good_pictures",
    "load_label_pairs",
    "load_pairs",
    "noise_protocol",
    "spell_options",
    "validate_columns",
    "validate_label_pairs",
    "validate_pairs",
    "with_vectors",
]

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
from .training_splits import (
    PairArguments,
    dataset_label,
    held_out_line,
    hold_out_validation,
    load_training_labels,
    load_training_pairs,
    validation_facts,
)

__all__ = [
    "DatasetError",
    "LabelDataset",
    "PairArguments",
    "PairCollator",
    "PairDataset",
    "append_boxes",
    "as_label_pairs",
    "as_pairs",
    "config_names",
    "counted_noise",
    "dataset_label",
    "drop_noisy_pairs",
    "held_out_line",
    "hold_out_validation",
    "inject_noise",
    "keep_good_pictures",
    "load_label_pairs",
    "load_pairs",
    "load_training_labels",
    "load_training_pairs",
    "noise_protocol",
    "spell_options",
    "validate_columns",
    "validate_label_pairs",
    "validate_pairs",
    "validation_facts",
    "with_vectors",
]

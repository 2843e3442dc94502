"""The pairs with classes that a script trains on, by its options."""

from typing import Any

from datasets import DatasetDict

from .arguments import refuse_share
from .builders import load_openmoji_labels
from .columns import DatasetError, validate_label_pairs
from .injection import inject_noise
from .label_loading import load_label_pairs
from .plain_vectors import with_vectors
from .splits import held_out_line, hold_out_validation

DEMO_CONFIG = "sym_40"  # default config of OpenMoji

_COLUMNS = (
    *("image_column", "text_column"),
    *("label_column", "image_label_column", "text_label_column"),
)


def load_training_labels(args: Any, reads_raw: bool = False) -> DatasetDict:
    """Loads a dataset by name and configuration, with train and validation.

    Args:
        args: `LabelDataArguments`; OpenMoji when no dataset is named.
        reads_raw: Whether the model reads pictures and texts and needs no vectors.

    Returns:
        The splits.

    Raises:
        DatasetError: The name, the configuration or a column is invalid.
        ValueError: The noise cannot be injected into these pairs.
    """
    if args.dataset_name is None:
        args.dataset_config_name = args.dataset_config_name or DEMO_CONFIG
        dataset = load_openmoji_labels(args.dataset_config_name)
    else:
        columns = {name: getattr(args, name) for name in _COLUMNS}
        dataset = load_label_pairs(args.dataset_name, args.dataset_config_name, **columns)
    if "train" not in dataset:
        raise DatasetError(
            f"{args.dataset_name} has no split 'train'; it has {', '.join(dataset)}."
        )
    for split, rows in dataset.items():
        validate_label_pairs(rows, split=split)  # before rows change their numbers
    if "validation" in dataset:
        refuse_share(args.validation_share, type(args))
    else:
        dataset = hold_out_validation(dataset, args.validation_share)
        print(held_out_line(dataset))
    if not reads_raw:
        dataset = _with_vectors(dataset)
    if args.inject_noise is not None:
        dataset = inject_noise(dataset, args.inject_noise, seed=args.noise_seed)
    return dataset


def _with_vectors(dataset: DatasetDict) -> DatasetDict:
    """Adds vectors to sides without them."""
    names = dataset["train"].column_names
    if "image_features" not in names or "text_features" not in names:
        print(
            "Not both sides are vectors: means of region features, gradients and colours of "
            "pictures, and hashed words of texts stand for them. --backbone_name_or_path, such as "
            "a CLIP, describes pictures and texts far better."
        )
    return DatasetDict({split: with_vectors(rows, split) for split, rows in dataset.items()})

"""The splits that a script trains on: loaded by its options, validation held out if there is none.

A held-out validation split is as noisy as the training rows: `validation_facts` says how noisy.
"""

import os
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from ..arguments.labels import LabelDataArguments
from ..arguments.pairs import PairArguments
from ..data.any_dataset import config_names, load_label_pairs, load_pairs
from ..data.columns import (
    IMAGE_FEATURES,
    IMAGE_LABEL,
    IS_NOISY,
    TEXT_FEATURES,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    column_values,
    validate_label_pairs,
)
from ..data.injection import inject_noise
from ..data.pictures import first_few, keep_good_pictures
from ..data.plain_vectors import with_vectors
from ..data.readers import load_openmoji, load_openmoji_labels
from ..noise import LabelNoise, parse_noise
from ..options import field_defaults

DEMO_CONFIG, DEMO_LABEL_CONFIG = "cmp_40", "sym_40"  # default configs of OpenMoji

_LABEL_COLUMNS = (
    *("image_column", "text_column"),
    *("label_column", "image_label_column", "text_label_column"),
)
#: Lines of the description of a split that was held out.
_HELD_OUT = "Held out of train."
_NO_ORACLE = "Which of its pairs are wrong is unknown."  # though noise put into train marks none


def load_training_pairs(args: PairArguments) -> DatasetDict:
    """Load images and captions by name and config, with the splits train and validation.

    Args:
        args: The options; OpenMoji without a name.

    Returns:
        The splits; what is new about them is printed.

    Raises:
        DatasetError: The name, the config, the columns or the pictures are wrong.
        ValueError: The noise cannot be injected into these pairs.
    """
    _check_values(args, labels=False)
    if args.dataset_name is None:
        config = args.dataset_config_name or DEMO_CONFIG
        dataset = load_openmoji(config, objects_from=args.objects_from)
    else:
        dataset = _load_good_pairs(args)
    dataset = _with_validation(dataset, args)
    if args.inject_noise is None:
        return dataset
    return inject_noise(
        dataset, args.inject_noise, seed=args.noise_seed, objects_from=args.objects_from
    )


def load_training_labels(args: LabelDataArguments, reads_raw: bool = False) -> DatasetDict:
    """Load pairs with classes by name and config, with the splits train and validation.

    Args:
        args: The options; OpenMoji without a name.
        reads_raw: Whether the model reads pictures and texts and needs no vectors.

    Returns:
        The splits; what is new about them is printed.

    Raises:
        DatasetError: The name, the config or a column is wrong.
        ValueError: The noise cannot be injected into these pairs.
    """
    _check_values(args, labels=True)
    if args.dataset_name is None:
        args.dataset_config_name = args.dataset_config_name or DEMO_LABEL_CONFIG
        dataset = load_openmoji_labels(args.dataset_config_name)
    else:
        columns = {name: getattr(args, name) for name in _LABEL_COLUMNS}
        dataset = load_label_pairs(args.dataset_name, args.dataset_config_name, **columns)
    for split, rows in dataset.items():
        validate_label_pairs(rows, split=split)  # before rows change their numbers
    dataset = _with_validation(dataset, args)
    if not reads_raw:
        if not {IMAGE_FEATURES, TEXT_FEATURES} <= {*dataset["train"].column_names}:
            print(
                "Not both sides are vectors: means of region features, gradients and colours of "
                "pictures, and hashed words of texts stand for them. --backbone_name_or_path, such "
                "as imagenet+minilm or a CLIP, describes pictures and texts far better."
            )
        dataset = DatasetDict({split: with_vectors(rows, split) for split, rows in dataset.items()})
    if args.inject_noise is None:
        return dataset
    return inject_noise(dataset, args.inject_noise, seed=args.noise_seed)


def _check_values(args: PairArguments | LabelDataArguments, labels: bool) -> None:
    """Refuse what no data could make right, before they are read.

    Raises:
        ValueError: If the noise or the share of validation does not exist.
    """
    if not 0 < args.validation_share < 1:
        raise ValueError(
            f"--validation_share is {args.validation_share:g}: give a share above 0 and below 1."
        )
    noise = None if args.inject_noise is None else parse_noise(args.inject_noise)
    if noise is not None and isinstance(noise, LabelNoise) != labels:
        of, other = ("class labels", "captions") if labels else ("captions", "class labels")
        raise ValueError(
            f"--inject_noise {args.inject_noise} is noise on {other}, and this script learns from "
            f"{of}: give {'sym_40' if labels else 'cmp_40'} or the like, or use "
            f"{'train_ncr.py' if labels else 'train_dmcm.py'}."
        )


def dataset_label(args: PairArguments) -> tuple[str, str]:
    """The names of the dataset and of its config, or of the injected noise, for the results.

    Args:
        args: The options.
    """
    if args.dataset_name is None:
        name, config = "openmoji", args.dataset_config_name or DEMO_CONFIG
    else:
        name = os.path.basename(os.path.abspath(args.dataset_name))  # of `.`, too
        config = args.dataset_config_name or "default"
    return name, args.inject_noise or config


def hold_out_validation(splits: DatasetDict, share: float, seed: int = 0) -> DatasetDict:
    """Moves a random sample of images, with all their captions, from train to "validation".

    If the training pairs are noisy, so is the validation split; `validation_facts` and
    `held_out_line` report this.

    Args:
        splits: Splits with "train" and without "validation".
        share: Share of the images to move, above 0 and below 1.
        seed: Seed of the sample.

    Returns:
        The splits; both parts keep the order of the rows.

    Raises:
        DatasetError: One of both splits would have no image.
    """
    train = splits["train"]
    n_held_out = round(share * len(train))
    if not 0 < n_held_out < len(train):
        raise DatasetError(
            f"A share of {share} of {len(train)} training images is {n_held_out} for validation: "
            "choose a share that leaves images in both splits."
        )
    # Not the stream of the same seed, by which noise chooses its rows.
    rng = np.random.default_rng([seed, *b"validation"])
    order = rng.permutation(len(train))  # (n_images,)
    held_out, rest = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    validation = train.select(held_out)
    no_oracle = _NO_ORACLE if _n_wrong(validation) is None else None
    lines = filter(None, (train.info.description, _HELD_OUT, no_oracle))
    validation.info.description = "\n".join(lines)
    parts = {"train": train.select(rest), "validation": validation}
    return DatasetDict({**parts, **{k: v for k, v in splits.items() if k not in parts}})


def validation_facts(splits: DatasetDict) -> dict[str, Any]:
    """Describes the validation split for the record of a run, which chooses its best epoch on it.

    Args:
        splits: Splits with "validation".

    Returns:
        `validation_held_out`, whether the rows come from the training split; `validation_n_wrong`,
        the number of wrong pairs (or class labels) by the oracle; and `validation_is_noisy`. The
        last two are None without an oracle; a held-out split is then as noisy as the training rows.
    """
    rows = splits["validation"]
    n_wrong = _n_wrong(rows)
    return {
        "validation_held_out": _is_held_out(rows),
        "validation_is_noisy": None if n_wrong is None else n_wrong > 0,
        "validation_n_wrong": n_wrong,
    }


def held_out_line(splits: DatasetDict) -> str | None:
    """Describes a held-out validation split in one line; None if it was not held out.

    Args:
        splits: Splits with "validation".
    """
    rows = splits["validation"]
    if not _is_held_out(rows):
        return None
    n_wrong = _n_wrong(rows)
    unit = "pairs" if IMAGE_LABEL in rows.column_names else "images"
    line = f"There is no split 'validation': {len(rows)} training {unit} are held out for it."
    if n_wrong is None:
        return f"{line} They are as noisy as the rest, and the best epoch is chosen on them."
    if n_wrong:
        return (
            f"{line} {n_wrong} wrong pairs or labels are among them by the oracle, and "
            "the best epoch is chosen on them."
        )
    return line


def _load_good_pairs(args: PairArguments) -> DatasetDict:
    """Loads a dataset of the user, and treats bad rows and pictures by the options."""
    assert args.dataset_name is not None
    configs = config_names(args.dataset_name)
    if args.dataset_config_name is None and len(configs) > 1:
        raise DatasetError(
            f"{args.dataset_name} has the configs {', '.join(configs)}: choose one with "
            "--dataset_config_name."
        )
    left_out: dict[str, list[str]] = {}
    dataset = load_pairs(
        args.dataset_name,
        args.dataset_config_name,
        image_column=args.image_column,
        caption_column=args.caption_column,
        id_column=args.id_column,
        left_out=left_out if args.on_bad_image == "skip" else None,
    )
    for split, lines in left_out.items():
        if lines:
            print(f"Left out of {split}: {first_few(lines)}.")
    if args.on_bad_image != "ignore":
        for split, rows in dataset.items():
            dataset[split], notes = keep_good_pictures(rows, split, args.on_bad_image)
            print(*notes, sep="\n", end="\n" if notes else "")
    return dataset


def _with_validation(dataset: DatasetDict, args: PairArguments | LabelDataArguments) -> DatasetDict:
    """The splits with a validation split, held out of train if there is none."""
    if "train" not in dataset:
        raise DatasetError(
            f"{args.dataset_name} has no split 'train'; it has {', '.join(dataset)}."
        )
    if "validation" not in dataset:
        dataset = hold_out_validation(dataset, args.validation_share)
        print(held_out_line(dataset))
    elif args.validation_share != field_defaults(type(args))["validation_share"]:
        raise DatasetError(
            f"--validation_share is {args.validation_share}: the dataset has a split 'validation', "
            "so nothing is held out. Leave it out."
        )
    return dataset


def _is_held_out(rows: Dataset) -> bool:
    return _HELD_OUT in (rows.info.description or "").splitlines()


def _n_wrong(rows: Dataset) -> int | None:
    """Wrong pairs, or class labels, by the oracle; None without one."""
    if _NO_ORACLE in (rows.info.description or "").splitlines():
        return None
    if IS_NOISY in rows.column_names:
        return sum(map(bool, chain.from_iterable(column_values(rows, IS_NOISY))))
    if TRUE_LABEL not in rows.column_names:
        return None
    true = column_values(rows, TRUE_LABEL)
    sides = [column_values(rows, name) for name in (IMAGE_LABEL, TEXT_LABEL)]
    return sum(a != b for labels in sides for a, b in zip(labels, true, strict=True))

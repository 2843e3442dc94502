"""Which pairs to train on, as the options of a script, and those pairs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import datasets

from ..options import Rule, field_defaults, refuse_unread
from .any_dataset import config_names, load_pairs
from .builders import load_openmoji
from .columns import DatasetError
from .injection import inject_noise
from .pictures import first_few, keep_good_pictures
from .splits import held_out_line, hold_out_validation

DEMO_CONFIG = "cmp_40"  # OpenMoji's, where none is named


def _asks_for_partial_noise(args: Any) -> bool:
    config = args.inject_noise or (args.dataset_name is None and args.dataset_config_name)
    return str(config).startswith("part_")


_OF_A_DATASET = Rule(
    lambda args: args.dataset_name is not None,
    "it is for data of yours. Give --dataset_name too, or leave it out.",
)

#: When an option is read, where it is not always.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("image_column", "caption_column", "id_column", "on_bad_image"), _OF_A_DATASET),
    "noise_seed": Rule(
        lambda args: args.inject_noise is not None,
        "no noise is put in. Give --inject_noise too, or leave it out.",
    ),
    "objects_from": Rule(
        _asks_for_partial_noise,
        "only partial noise needs objects. Give --inject_noise part_N, or leave it out.",
    ),
}

#: What can be done with pictures that do not decode.
ON_BAD_IMAGE = ("error", "skip", "ignore")


@dataclass
class PairArguments:
    """Which pairs to train on."""

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Hub dataset, folder (Parquet, pictures with a table of captions, WebDataset "
            "shards) or file (.csv, .tsv, .jsonl, .parquet, .tar); OpenMoji when left out."
        },
    )
    dataset_config_name: str | None = field(
        default=None,
        metadata={
            "help": "Its configuration, which names the noise; needed where there are several. "
            "OpenMoji's is cmp_40 when left out."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the image, where it is not found by itself."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, likewise."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column that names the image, likewise."}
    )
    on_bad_image: str = field(
        default="error",
        metadata={
            "help": "What to do with pictures that do not decode and rows that lack a picture or a "
            "caption: error, skip, or ignore to train without looking at the pictures first."
        },
    )
    inject_noise: str | None = field(
        default=None,
        metadata={"help": "Noise to put into clean training pairs first, such as cmp_40."},
    )
    noise_seed: int = field(default=0, metadata={"help": "Seed of that noise."})
    objects_from: str | None = field(
        default=None,
        metadata={
            "help": "What part_N takes for the objects of a picture, where nobody has annotated "
            "them: tags or captions (their nouns)."
        },
    )
    validation_share: float = field(
        default=0.1,
        metadata={
            "help": "Share of the training images to hold out where there is no split validation."
        },
    )
    drop_noisy_pairs: bool = field(
        default=False,
        metadata={
            "help": "Drop the wrong pairs by the oracle before training: an upper mark for "
            "comparisons, never a method."
        },
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that are read of a caption; longer ones are cut and counted. If none, "
            "as many as the longest training caption has, at least 64 and at most 256, or what a "
            "pretrained text encoder reads."
        },
    )
    min_word_frequency: int = field(
        default=1, metadata={"help": "Rarer words of the training captions become <unk>."}
    )

    def __post_init__(self) -> None:
        if self.on_bad_image not in ON_BAD_IMAGE:
            raise ValueError(
                f"--on_bad_image is {self.on_bad_image!r}: give one of {', '.join(ON_BAD_IMAGE)}."
            )
        refuse_unread(vars(self), field_defaults(PairArguments), RULES, "--{}")


def load_training_pairs(args: PairArguments) -> datasets.DatasetDict:
    """Loads a dataset by name and configuration, wherever it lives, with train and validation.

    Args:
        args: Which one, and what to do with it first; OpenMoji when it is not named.

    Returns:
        The splits; those that were not there before are told on standard output.

    Raises:
        DatasetError: The name, the configuration, the columns or the pictures do not fit.
        ValueError: The noise that was asked for cannot be put into these pairs.
    """
    if args.dataset_name is None:
        config = args.dataset_config_name or DEMO_CONFIG
        dataset = load_openmoji(config, objects_from=args.objects_from)
    else:
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
    if "train" not in dataset:
        raise DatasetError(
            f"{args.dataset_name} has no split 'train'; it has {', '.join(dataset)}."
        )
    if "validation" in dataset:
        refuse_share(args.validation_share, PairArguments)
    else:
        dataset = hold_out_validation(dataset, args.validation_share)
        print(held_out_line(dataset))
    if args.inject_noise is not None:
        dataset = inject_noise(
            dataset, args.inject_noise, seed=args.noise_seed, objects_from=args.objects_from
        )
    return dataset


def refuse_share(validation_share: float, kind: type) -> None:
    """Refuse a share to hold out where there is a split validation.

    Args:
        validation_share: The share.
        kind: Dataclass of the options.

    Raises:
        DatasetError: If it is not the default.
    """
    if validation_share != field_defaults(kind)["validation_share"]:
        raise DatasetError(
            f"--validation_share is {validation_share}: the dataset has a split 'validation', so "
            "nothing is held out. Leave it out."
        )


def dataset_label(args: PairArguments) -> tuple[str, str]:
    """Names the dataset and its configuration for the results; injected noise is one, too.

    Args:
        args: Which pairs were trained on.

    Returns:
        What to call the dataset, and what to call its configuration.
    """
    if args.dataset_name is None:
        name, config = "openmoji", args.dataset_config_name or DEMO_CONFIG
    else:
        name = os.path.basename(os.path.abspath(args.dataset_name))  # of `.`, too
        config = args.dataset_config_name or "default"
    return name, args.inject_noise or config

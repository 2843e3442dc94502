"""Load the training pairs of a script by its options."""

import os

import datasets

from ..arguments.pairs import PairArguments
from ..options import field_defaults
from .any_dataset import config_names, load_pairs
from .builders import load_openmoji
from .columns import DatasetError
from .injection import inject_noise
from .pictures import first_few, keep_good_pictures
from .splits import held_out_line, hold_out_validation

DEMO_CONFIG = "cmp_40"  # default config of OpenMoji


def load_training_pairs(args: PairArguments) -> datasets.DatasetDict:
    """Load a dataset by name and config, with the splits train and validation.

    Args:
        args: The options; OpenMoji without a name.

    Returns:
        The splits; new ones are printed.

    Raises:
        DatasetError: The name, the config, the columns or the pictures are wrong.
        ValueError: The noise cannot be injected into these pairs.
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
    """Refuse a share to hold out if there is a validation split.

    Args:
        validation_share: The share.
        kind: Dataclass of the options.

    Raises:
        DatasetError: The share is not the default.
    """
    if validation_share != field_defaults(kind)["validation_share"]:
        raise DatasetError(
            f"--validation_share is {validation_share}: the dataset has a split 'validation', so "
            "nothing is held out. Leave it out."
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

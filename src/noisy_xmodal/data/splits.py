"""A validation split, where a dataset came without one."""

import datasets
import numpy as np

from .columns import DatasetError


def hold_out_validation(
    splits: datasets.DatasetDict, share: float, seed: int = 0
) -> datasets.DatasetDict:
    """Moves some images, with all their captions, from train to a new split "validation".

    Noise that the training pairs already carry is then in validation too.

    Args:
        splits: Splits with "train" and without "validation".
        share: Share of the images to move, above 0 and below 1.
        seed: Seed of the choice.

    Returns:
        The splits; both parts keep the order of the rows.

    Raises:
        DatasetError: The share leaves one of both without an image.
    """
    train = splits["train"]
    n_held_out = round(share * len(train))
    if not 0 < n_held_out < len(train):
        raise DatasetError(
            f"A share of {share} of {len(train)} training images is {n_held_out} for validation: "
            "give a share that leaves both splits some."
        )
    order = np.random.default_rng(seed).permutation(len(train))  # (n_images,)
    held_out, kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    parts = {"train": train.select(kept), "validation": train.select(held_out)}
    return datasets.DatasetDict({**parts, **{k: v for k, v in splits.items() if k not in parts}})

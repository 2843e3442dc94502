"""Validation splits for datasets without one."""

import json
from itertools import chain
from typing import Any

import datasets
import numpy as np

from .columns import (
    IMAGE_LABEL,
    IS_NOISY,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
    column_values,
)

_MARK = "Held out of train: "  # a line of the description, before JSON


def hold_out_validation(
    splits: datasets.DatasetDict, share: float, seed: int = 0
) -> datasets.DatasetDict:
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
    order = np.random.default_rng(seed).permutation(len(train))  # (n_images,)
    held_out, rest = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    validation = train.select(held_out)
    facts = {"n_rows": n_held_out, "n_wrong": _n_wrong(validation)}
    lines = [train.info.description or "", f"{_MARK}{json.dumps(facts)}"]
    validation.info.description = "\n".join(filter(None, lines))
    parts = {"train": train.select(rest), "validation": validation}
    return datasets.DatasetDict({**parts, **{k: v for k, v in splits.items() if k not in parts}})


def validation_facts(splits: datasets.DatasetDict) -> dict[str, Any]:
    """Describes the validation split for the record of a run, which chooses its best epoch on it.

    Args:
        splits: Splits with "validation".

    Returns:
        `validation_held_out`, whether the rows come from the training split; `validation_n_wrong`,
        the number of wrong pairs (or class labels) by the oracle; and `validation_is_noisy`. The
        last two are None without an oracle; a held-out split is then as noisy as the training rows.
    """
    held_out = _held_out(splits)
    rows = splits["validation"]
    n_wrong = _n_wrong(rows) if held_out is None else held_out["n_wrong"]
    return {
        "validation_held_out": held_out is not None,
        "validation_is_noisy": None if n_wrong is None else n_wrong > 0,
        "validation_n_wrong": n_wrong,
    }


def held_out_line(splits: datasets.DatasetDict) -> str | None:
    """Describes a held-out validation split in one line; None if it was not held out.

    Args:
        splits: Splits with "validation".
    """
    held_out = _held_out(splits)
    if held_out is None:
        return None
    unit = "pairs" if IMAGE_LABEL in splits["validation"].column_names else "images"
    n_rows = held_out["n_rows"]
    line = f"There is no split 'validation': {n_rows} training {unit} are held out for it."
    if held_out["n_wrong"] is None:
        return f"{line} They are as noisy as the rest, and the best epoch is chosen on them."
    if held_out["n_wrong"]:
        return (
            f"{line} {held_out['n_wrong']} wrong pairs or labels are among them by the oracle, and "
            "the best epoch is chosen on them."
        )
    return line


def _held_out(splits: datasets.DatasetDict) -> dict[str, Any] | None:
    for line in (splits["validation"].info.description or "").splitlines():
        if line.startswith(_MARK):
            return dict(json.loads(line[len(_MARK) :]))
    return None


def _n_wrong(rows: datasets.Dataset) -> int | None:
    """Wrong pairs, or class labels, by the oracle; None without one."""
    if IS_NOISY in rows.column_names:
        return sum(map(bool, chain.from_iterable(column_values(rows, IS_NOISY))))
    if TRUE_LABEL not in rows.column_names:
        return None
    true = column_values(rows, TRUE_LABEL)
    sides = [column_values(rows, name) for name in (IMAGE_LABEL, TEXT_LABEL)]
    return sum(a != b for labels in sides for a, b in zip(labels, true, strict=True))

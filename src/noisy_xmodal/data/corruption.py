"""Noise of any type on clean rows.

The dataset builders, `inject_noise` and noise-index files all use `apply_noise`, so a dataset that
was written with noise and one that gets noise in memory are the same.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..noise import (
    CaptionNoise,
    LabelNoise,
    NoiseType,
    NoisyLabels,
    Pairs,
    object_matrix,
    parse_noise,
    read_noise_index,
)
from ..noise.equal_texts import text_numbers
from .clean_split import CleanSplit
from .columns import (
    CAPTIONS,
    IMAGE_LABEL,
    IS_NOISY,
    OBJECTS,
    TAGS,
    TEXT_LABEL,
    TRUE_LABEL,
    DatasetError,
)
from .protocol import INDEX, describe_noise

ANNOTATIONS = "annotations"
DERIVED_SETS = ("tags", "captions")

# A published index shuffles the captions that it selects, so a few return to their image.
_RATIO_TOLERANCE = 0.05


def read_noise(name: str, split: CleanSplit, noise_index: str | None = None) -> NoiseType | None:
    """Returns the noise of a config, drawn or read from a file.

    Args:
        name: The config: "clean", "cmp_40", "noise_index" ...
        split: The clean train split.
        noise_index: A noise-index file; its level and ratio must be those of the config.

    Returns:
        The noise; None for "clean".

    Raises:
        DatasetError: The file does not fit the config or the rows, or is missing.
    """
    noise = None if name == INDEX else parse_noise(name)
    if noise_index is None:
        if name == INDEX:
            raise DatasetError(f"Config '{INDEX}' needs a file: give noise_index=PATH.")
        return noise
    if split.captions is None:
        raise DatasetError("A noise index moves captions between images, but there are none here.")
    index = read_noise_index(noise_index, [len(texts) for texts in split.captions], len(split))
    level, ratio = ("none", 0.0) if noise is None else (noise.level, noise.ratio)
    if name != INDEX and (index.level != level or abs(index.ratio - ratio) > _RATIO_TOLERANCE):
        raise DatasetError(
            f"Config '{name}' says {ratio:.0%} noise at level '{level}', but {noise_index} has "
            f"{index.ratio:.1%} at level '{index.level}'. Name the config that fits, or use "
            f"'{INDEX}'."
        )
    return index


def apply_noise(
    split: CleanSplit,
    noise: NoiseType | None,
    seed: int,
    objects_from: str | None = None,
    noise_index: str | None = None,
    **details: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Applies noise to clean rows.

    Args:
        split: The clean rows.
        noise: The noise; None keeps the rows clean.
        seed: Seed of the draw; the protocol records it if something is drawn.
        objects_from: "tags" or "captions" to derive object sets; by default the column `objects`.
        noise_index: The file of the noise, for the protocol.
        details: More entries of the protocol.

    Returns:
        The columns that noise can change and the oracle, each with one entry per row, and the
        protocol (see `describe_noise`).

    Raises:
        DatasetError: The rows lack what this noise needs: captions, object sets or labels.
        ValueError: The noise cannot be applied to these rows.
    """
    captions = split.captions
    texts = list(chain.from_iterable(captions or ()))
    counts = None if captions is None else [len(own) for own in captions]
    pairs = None if counts is None else Pairs.from_counts(counts, text_numbers(texts))
    labels = None if split.labels is None else NoisyLabels.clean(split.labels)
    sources = _object_sources(split)
    if noise is not None:
        _check_needs(noise, split, objects_from, sources)
    if noise_index is not None:
        details["noise_index"] = Path(noise_index).name
    details["seed"] = seed if noise is not None and noise.is_drawn else None
    rng = np.random.default_rng(seed)
    if isinstance(noise, LabelNoise):
        labels = noise.apply(split.labels, len(split.class_names), rng)
    elif isinstance(noise, CaptionNoise) and "objects" in noise.needs:
        details["objects"] = objects_from or ANNOTATIONS
        pairs = noise.apply(pairs, rng, object_matrix(sources[details["objects"]]())[0])
    elif isinstance(noise, CaptionNoise):
        pairs = noise.apply(pairs, rng)
    columns: dict[str, Any] = {}
    if pairs is not None:
        rows, is_noisy = pairs.rows(), pairs.is_noisy
        columns[CAPTIONS] = [[texts[i] for i in ids] for ids in rows]
        columns[IS_NOISY] = [is_noisy[ids].tolist() for ids in rows]
    if labels is not None:
        columns |= {IMAGE_LABEL: labels.image, TEXT_LABEL: labels.text, TRUE_LABEL: labels.true}
    return columns, describe_noise(noise, pairs, labels, **details)


def _object_sources(
    split: CleanSplit,
) -> dict[str, Callable[[], Sequence[Iterable[Hashable]]]]:
    """Functions that return the object sets of the rows, by source."""
    sources: dict[str, Callable[[], Sequence[Iterable[Hashable]]]] = {}
    if OBJECTS in split.columns:
        sources[ANNOTATIONS] = lambda: split.values(OBJECTS)
    if TAGS in split.columns:
        sources["tags"] = lambda: split.values(TAGS)
    if split.captions is not None:
        sources["captions"] = lambda: split.nouns
    return sources


def _check_needs(
    noise: NoiseType, split: CleanSplit, objects_from: str | None, sources: dict[str, Any]
) -> None:
    available = {
        "captions": split.captions is not None,
        "objects": (objects_from or ANNOTATIONS) in sources,
        "labels": split.labels is not None,
    }
    for need in noise.needs:
        if not available[need] and need == "objects" and objects_from is not None:
            raise DatasetError(
                f"'{noise.name}' takes its objects from {objects_from!r}, which this dataset "
                f"does not have. Others: objects_from={' or '.join(map(repr, DERIVED_SETS))}."
            )
        if not available[need]:
            raise missing(noise, need)


def missing(noise: NoiseType, need: str) -> DatasetError:
    """Returns the error for data that lacks what a noise needs."""
    return DatasetError(f"'{noise.name}' {noise.needs[need]}")


def check_seed(seed: int) -> None:
    """Checks that a seed is a non-negative integer.

    Raises:
        DatasetError: It is not.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise DatasetError(f"seed is {seed!r}: give a non-negative integer.")

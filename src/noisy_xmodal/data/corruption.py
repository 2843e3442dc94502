"""Noise meets clean rows: the one place where every kind of noise is applied.

The builders of `builders/` and `inject_noise` both end here, so that a dataset that was written
with noise and one that is corrupted in memory are the same.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..noise import (
    NoiseIndex,
    NoiseType,
    NoisyLabels,
    Pairs,
    PartialMismatch,
    SymmetricLabelNoise,
    object_matrix,
)
from .columns import DatasetError
from .equal_texts import text_numbers
from .protocol import describe_noise

ANNOTATIONS = "annotations"
DERIVED_SETS = ("tags", "captions")

ObjectSource = Callable[[], Sequence[Iterable[Hashable]]]


@dataclass(frozen=True, eq=False)
class CleanRows:
    """What noise needs to know of the clean rows of a train split.

    Attributes:
        captions_per_image: Number of captions of each row; None where the text is a vector.
        object_sources: Ways to get the classes of things in each picture, by name or number: of
            "annotations", "tags" and "captions" those that the rows have. Called if needed.
        objects_from: Which of them to use.
        labels: The class of each row, (n_rows,), or None.
        n_classes: Number of classes.
        texts: Number of the text of each caption, see `text_numbers`; None where it is unknown.
    """

    captions_per_image: Sequence[int] | None
    object_sources: Mapping[str, ObjectSource] = field(default_factory=dict)
    objects_from: str = ANNOTATIONS
    labels: NDArray[np.int64] | None = None
    n_classes: int = 0
    texts: NDArray[np.int64] | None = None

    @classmethod
    def of_captions(cls, captions: Sequence[Sequence[str]] | None, **facts: Any) -> "CleanRows":
        """Rows with the captions of each, or with none.

        Args:
            captions: The captions of each row.
            facts: What else is known.
        """
        if captions is None:
            return cls(None, **facts)
        counts = [len(texts) for texts in captions]
        return cls(counts, texts=text_numbers(chain.from_iterable(captions)), **facts)


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A train split after noise.

    Attributes:
        pairs: Which row each caption is given to; None where rows have no captions.
        labels: The labels of both modalities; None where rows have none.
        protocol: What was done, see `describe_noise`.
    """

    pairs: Pairs | None
    labels: NoisyLabels | None
    protocol: dict[str, Any]


def corrupt(
    noise: NoiseType | NoiseIndex | None, rows: CleanRows, seed: int, **details: Any
) -> Corrupted:
    """Applies noise to clean rows.

    Args:
        noise: What to do; None leaves the rows clean.
        rows: The clean rows.
        seed: Seed of the draw; the protocol names it where something is drawn.
        details: More entries of the protocol.

    Returns:
        The pairs, the labels, and the protocol of what was done.

    Raises:
        DatasetError: The rows lack what this noise is about: captions, object sets or labels.
        ValueError: The noise cannot be applied to these rows.
    """
    counts = rows.captions_per_image
    pairs = None if counts is None else Pairs.from_counts(counts, rows.texts)
    labels = None if rows.labels is None else NoisyLabels.clean(rows.labels)
    rng = np.random.default_rng(seed)
    details["seed"] = None if noise is None or isinstance(noise, NoiseIndex) else seed
    if isinstance(noise, SymmetricLabelNoise):
        if rows.labels is None:
            raise DatasetError(
                f"'{noise.name}' makes class labels wrong, but these rows have none. Use noise on "
                "captions, such as cmp_40, or a dataset with classes."
            )
        labels = noise.apply(rows.labels, rows.n_classes, rng)
    elif pairs is None:
        if noise is None:
            return Corrupted(None, labels, describe_noise(None, None, labels, **details))
        name = "A noise index" if isinstance(noise, NoiseIndex) else f"'{noise.name}'"
        raise DatasetError(
            f"{name} gives captions to other images, but the texts of these rows are feature "
            "vectors. Use noise on labels, such as sym_40."
        )
    elif isinstance(noise, NoiseIndex):
        pairs = replace(noise.pairs, text=rows.texts)
    elif isinstance(noise, PartialMismatch):
        if rows.objects_from not in rows.object_sources:
            raise no_object_sets(noise.name, rows.objects_from)
        details["objects"] = rows.objects_from
        sets = rows.object_sources[rows.objects_from]()
        pairs = noise.apply(pairs, rng, object_matrix(sets)[0])
    elif noise is not None:
        pairs = noise.apply(pairs, rng)
    return Corrupted(pairs, labels, describe_noise(noise, pairs, labels, **details))


def check_seed(seed: int) -> None:
    """Refuses a seed that is no whole number from 0 on.

    Raises:
        DatasetError: It is not.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise DatasetError(f"seed is {seed!r}: give a whole number from 0 on.")


def no_object_sets(noise: str, objects_from: str) -> DatasetError:
    """Says what to do about partial noise where the object sets that it asks for do not exist."""
    if objects_from == ANNOTATIONS:
        return DatasetError(
            f"'{noise}' draws partners by the objects of the pictures, but this dataset has no "
            "object sets. Noise that needs none: cmp_N, cmp_image_N. Sets can be made from what "
            "it has; that is a choice of yours: "
            f"objects_from={' or '.join(map(repr, DERIVED_SETS))} (captions: their nouns)."
        )
    return DatasetError(
        f"'{noise}' is to take its objects from {objects_from!r}, which this dataset does not "
        "have. Others: objects_from="
        f"{' or '.join(map(repr, DERIVED_SETS))}."
    )

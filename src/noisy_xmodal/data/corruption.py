"""Applies noise of any type to clean rows.

The builders of `builders/` and `inject_noise` both use this, so a dataset that was written with
noise and one that gets noise in memory are the same.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..noise import CaptionNoise, LabelNoise, NoiseType, NoisyLabels, Pairs, object_matrix
from ..noise.equal_texts import text_numbers
from .columns import CAPTIONS, IMAGE_LABEL, IS_NOISY, TEXT_LABEL, TRUE_LABEL, DatasetError
from .protocol import describe_noise

ANNOTATIONS = "annotations"
DERIVED_SETS = ("tags", "captions")

ObjectSource = Callable[[], Sequence[Iterable[Hashable]]]


@dataclass(frozen=True, eq=False)
class CleanRows:
    """What noise needs to know about the clean rows of a train split.

    Attributes:
        captions_per_image: Number of captions of each row; None if the text is a vector.
        object_sources: Functions that return the object classes in each picture, by name or
            number: those of "annotations", "tags" and "captions" that the rows have. Called only
            if needed.
        objects_from: Which of them to use.
        labels: The class of each row, (n_rows,), or None.
        n_classes: Number of classes.
        texts: Number of the text of each caption, see `text_numbers`; None if unknown.
    """

    captions_per_image: Sequence[int] | None
    object_sources: Mapping[str, ObjectSource] = field(default_factory=dict)
    objects_from: str = ANNOTATIONS
    labels: NDArray[np.int64] | None = None
    n_classes: int = 0
    texts: NDArray[np.int64] | None = None

    @classmethod
    def of_captions(cls, captions: Sequence[Sequence[str]] | None, **facts: Any) -> "CleanRows":
        """Rows with these captions.

        Args:
            captions: The captions of each row; None if the text is a vector.
            facts: Other attributes.
        """
        if captions is None:
            return cls(None, **facts)
        counts = [len(texts) for texts in captions]
        return cls(counts, texts=text_numbers(chain.from_iterable(captions)), **facts)


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A train split after noise.

    Attributes:
        pairs: The row of each caption; None if rows have no captions.
        labels: The labels of both modalities; None if rows have none.
        protocol: The noise, see `describe_noise`.
    """

    pairs: Pairs | None
    labels: NoisyLabels | None
    protocol: dict[str, Any]

    def columns(self, captions: Sequence[Sequence[str]] | None = None) -> dict[str, Any]:
        """Returns the columns that noise changes, with the oracle.

        Args:
            captions: The clean captions of each row, if rows have captions.

        Returns:
            For each column a list or an array with one entry per row.
        """
        columns: dict[str, Any] = {}
        if self.pairs is not None:
            flat = list(chain.from_iterable(captions or ()))
            rows, is_noisy = self.pairs.rows(), self.pairs.is_noisy
            columns[CAPTIONS] = [[flat[i] for i in ids] for ids in rows]
            columns[IS_NOISY] = [is_noisy[ids].tolist() for ids in rows]
        if self.labels is not None:
            columns[IMAGE_LABEL], columns[TEXT_LABEL] = self.labels.image, self.labels.text
            columns[TRUE_LABEL] = self.labels.true
        return columns


def corrupt(noise: NoiseType | None, rows: CleanRows, seed: int, **details: Any) -> Corrupted:
    """Applies noise to clean rows.

    Args:
        noise: The noise; None keeps the rows clean.
        rows: The clean rows.
        seed: Seed of the draw; the protocol records it if something is drawn.
        details: More entries of the protocol.

    Returns:
        The pairs, the labels and the protocol.

    Raises:
        DatasetError: The rows lack what this noise needs: captions, object sets or labels.
        ValueError: The noise cannot be applied to these rows.
    """
    counts = rows.captions_per_image
    pairs = None if counts is None else Pairs.from_counts(counts, rows.texts)
    labels = None if rows.labels is None else NoisyLabels.clean(rows.labels)
    rng = np.random.default_rng(seed)
    details["seed"] = seed if noise is not None and noise.is_drawn else None
    if noise is not None:
        _check_needs(noise, rows)
    if isinstance(noise, LabelNoise):
        labels = noise.apply(rows.labels, rows.n_classes, rng)
    elif isinstance(noise, CaptionNoise) and "objects" in noise.needs:
        details["objects"] = rows.objects_from
        sets = rows.object_sources[rows.objects_from]()
        pairs = noise.apply(pairs, rng, object_matrix(sets)[0])
    elif isinstance(noise, CaptionNoise):
        pairs = noise.apply(pairs, rng)
    return Corrupted(pairs, labels, describe_noise(noise, pairs, labels, **details))


def check_seed(seed: int) -> None:
    """Checks that a seed is a non-negative integer.

    Raises:
        DatasetError: It is not.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise DatasetError(f"seed is {seed!r}: give a non-negative integer.")


def _check_needs(noise: NoiseType, rows: CleanRows) -> None:
    available = {
        "captions": rows.captions_per_image is not None,
        "objects": rows.objects_from in rows.object_sources,
        "labels": rows.labels is not None,
    }
    for need in noise.needs:
        if not available[need] and need == "objects" and rows.objects_from != ANNOTATIONS:
            raise DatasetError(
                f"'{noise.name}' takes its objects from {rows.objects_from!r}, which this dataset "
                f"does not have. Others: objects_from={' or '.join(map(repr, DERIVED_SETS))}."
            )
        if not available[need]:
            raise missing(noise, need)


def missing(noise: NoiseType, need: str) -> DatasetError:
    """Returns the error for data that lacks what a noise needs."""
    return DatasetError(f"'{noise.name}' {noise.needs[need]}")

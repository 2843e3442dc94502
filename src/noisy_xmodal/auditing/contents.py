"""The contents of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DoubtfulPair:
    """One of the worst pairs.

    Attributes:
        pair_id: Flat index of the (row, caption).
        image_id: Name of the image.
        caption: The caption of the image.
        clean_probability: Probability that the pair is right.
        loss: Loss of the pair, larger for a worse match.
        image: The PIL image, or None for region features.
        suggested_caption: The best caption of another image, or None.
        suggested_image_id: The best other image for the caption, or None.
        suggested_image: The PIL image of it, or None.
    """

    pair_id: int
    image_id: str
    caption: str
    clean_probability: float
    loss: float
    image: Any | None = None
    suggested_caption: str | None = None
    suggested_image_id: str | None = None
    suggested_image: Any | None = None


@dataclass(frozen=True)
class Duplicates:
    """A group of duplicates.

    Attributes:
        kind: "picture" for images that look alike, "caption" for one text on several images.
        what: The repeated caption; empty for images.
        image_ids: Names of the first images of the group.
        count: Number of images of the group.
        pictures: PIL images, as many as `image_ids` or none.
    """

    kind: str
    what: str
    image_ids: Sequence[str]
    count: int
    pictures: Sequence[Any] = ()


@dataclass(frozen=True)
class AuditContents:
    """Everything that the report shows.

    Attributes:
        dataset: Name of the dataset, with its configuration and split.
        judge: A sentence that names the model that judged the pairs.
        how: A paragraph about its reliability.
        n_images: Number of images.
        losses: Loss of every pair, (n_pairs,).
        random_losses: Losses of images with captions of other images, (n_random,).
        clean_probability: Of every pair, (n_pairs,).
        wrong_share: Estimated share of wrong pairs, 0 to 1; None if the judge cannot tell.
        wrong_interval: Its interval, low and high; the upper bound is always finite.
        confidence: Level of that interval, such as .95.
        worst: The worst pairs, worst first.
        duplicates: Groups of duplicates.
        left_out: A line for each item that was not judged, such as damaged files.
        warnings: Warnings, a sentence or two each.
        oracle: `auroc`, `average_precision`, `precision_at_100`, `precision_at_500` (None with
            fewer pairs) and `true_share` if the truth is known; else empty.
        facts: Command, seconds and versions, for the end of the report.
    """

    dataset: str
    judge: str
    how: str
    n_images: int
    losses: np.ndarray
    random_losses: np.ndarray
    clean_probability: np.ndarray
    wrong_share: float | None
    wrong_interval: tuple[float, float]
    confidence: float
    worst: Sequence[DoubtfulPair]
    duplicates: Sequence[Duplicates] = ()
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()
    oracle: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

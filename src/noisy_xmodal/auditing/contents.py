"""What an audit has found, as the report and the JSON summary take it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DoubtfulPair:
    """A pair among the worst, ready to be shown.

    Attributes:
        pair_id: Flat index of the (row, caption).
        image_id: Name of the image.
        caption: The caption that the image is given.
        clean_probability: Probability that the pair is right.
        loss: Loss of the pair, larger where image and caption fit less.
        image: The picture (a PIL image), or None for region features.
        suggested_caption: The caption from elsewhere that fits the image best, or None.
        suggested_image_id: The image from elsewhere that fits the caption best, or None.
        suggested_image: Its picture, or None.
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
    """Things that stand in the data more than once.

    Attributes:
        kind: "picture" for images that look alike, "caption" for one text on several images.
        what: What is repeated: the caption, or nothing for pictures.
        image_ids: Names of the images, the first few of `count`.
        count: How many there are.
        pictures: Their pictures, as many as `image_ids`, or none.
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
        judge: A sentence: which model judged the pairs.
        how: A paragraph: how it was kept from judging what it had learnt by heart.
        n_images: Images judged.
        losses: Loss of every pair, (n_pairs,).
        random_losses: Losses of images with captions of other images, (n_random,).
        clean_probability: Of every pair, (n_pairs,).
        wrong_share: Estimated share of wrong pairs, 0 to 1; None where the judge cannot tell.
        wrong_interval: Its interval, low and high; the upper bound is known in any case.
        confidence: Level of that interval, such as .95.
        worst: The worst pairs, worst first.
        duplicates: Near-duplicate warnings.
        left_out: What was not judged, a line each, such as files that do not decode.
        warnings: What else the reader must know, a sentence each.
        oracle: Where the truth is known: `auroc`, `average_precision`, `precision_at_100`,
            `precision_at_500` (None where there are fewer pairs), `true_share`; else empty.
        facts: Command, seconds, versions, as shown at the end.
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

"""From the losses of models to what is known of every pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..evaluation.pair_losses import PairLosses
from ..noise.random_pairs import (
    WrongShare,
    clean_given_share,
    estimate_wrong_share,
    random_pair_tail,
)
from ..noise.sibling_evidence import Evidence, joined, tail_with_siblings

WHAT_A_LOSS_MEANS = (
    "What a loss means was measured on random pairs: images with captions of other images, which "
    "are wrong for certain. Where images have several captions, these bear witness too."
)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is known of every pair.

    Attributes:
        losses: Loss of each pair, (n_pairs,).
        random_losses: Losses of random pairs, (n_random,).
        tail: Share of random pairs that fit as well, by all the evidence, (n_pairs,).
        share: Estimated share of wrong pairs.
        clean_probability: (n_pairs,).
        sets: Share of the wrong pairs that come from images with all captions of another image;
            None where there are no siblings to tell.
        fold_of_row: Which model judged each image, (n_images,).
        models: Folder of the model of each fold; empty where one model judged all.
    """

    losses: NDArray[np.float64]
    random_losses: NDArray[np.float64]
    tail: NDArray[np.float64]
    share: WrongShare
    clean_probability: NDArray[np.float64]
    sets: float | None
    fold_of_row: NDArray[np.int64]
    models: Sequence[Path] = ()


def conclude(
    judged: Sequence[PairLosses],
    own_pairs: Sequence[NDArray[np.int64]],
    row_of_pair: NDArray[np.int64],
    fold_of_row: NDArray[np.int64],
    share: WrongShare | None = None,
    models: Sequence[Path] = (),
    seed: int = 0,
) -> Judgement:
    """Put together what several models say, each of pairs of its own.

    Each pair is ranked among the random pairs of its own model. The share of wrong pairs comes from
    the losses alone, which a random caption and a random set of captions make alike. Where these do
    not tell the pairs from random ones, nothing does: captions that agree with each other say
    nothing of the image.

    Args:
        judged: What each model says.
        own_pairs: The pairs that it judged.
        row_of_pair: Image of each pair, (n_pairs,).
        fold_of_row: See `Judgement`.
        share: The share of wrong pairs, where it is known already.
        models: See `Judgement`.
        seed: Seed of the interval.
    """
    losses, tail = np.empty(len(row_of_pair)), np.empty(len(row_of_pair))
    parts = []
    for own, found in zip(own_pairs, judged, strict=True):
        losses[own] = found.losses
        tail[own] = random_pair_tail(found.losses, found.random_losses)
        exchanged = found.caption_exchanged, found.set_exchanged
        parts.append(Evidence(found.evidence, *exchanged).scored())
    random_losses = np.concatenate([found.random_losses for found in judged])
    if share is None:
        share = estimate_wrong_share(tail, len(random_losses), row_of_pair, seed=seed)
    sets = None
    if share.share is not None:
        order = np.concatenate(list(own_pairs))
        tail[order], sets = tail_with_siblings(joined(parts), tail[order], share.share)
    clean = clean_given_share(tail, share.share)
    return Judgement(losses, random_losses, tail, share, clean, sets, fold_of_row, models)

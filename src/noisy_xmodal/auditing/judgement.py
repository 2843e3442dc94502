"""The judgement of every pair, computed from the losses of the models."""

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

LOSS_EXPLANATION = (
    "Losses are compared with those of random pairs: images with captions of other images, which "
    "are certainly wrong. If an image has several captions, the others serve as evidence too."
)


@dataclass(frozen=True, eq=False)
class Judgement:
    """The judgement of every pair.

    Attributes:
        losses: Loss of each pair, (n_pairs,).
        random_losses: Losses of random pairs, (n_random,).
        tail: Share of random pairs that fit at least as well, by all evidence, (n_pairs,).
        share: Estimated share of wrong pairs.
        clean_probability: (n_pairs,).
        sets: Share of the wrong pairs that belong to images with all captions of another image;
            None without siblings.
        fold_of_row: Fold of the model that judged each image, (n_images,).
        models: Folder of the model of each fold; empty if one model judged all pairs.
    """

    losses: NDArray[np.float64]
    random_losses: NDArray[np.float64]
    tail: NDArray[np.float64]
    share: WrongShare
    clean_probability: NDArray[np.float64]
    sets: float | None
    fold_of_row: NDArray[np.int64]
    models: Sequence[Path] = ()


def combine_losses(
    model_losses: Sequence[PairLosses],
    model_pairs: Sequence[NDArray[np.int64]],
    row_of_pair: NDArray[np.int64],
    fold_of_row: NDArray[np.int64],
    share: WrongShare | None = None,
    models: Sequence[Path] = (),
    seed: int = 0,
) -> Judgement:
    """Combine the losses of several models, each of different pairs.

    Each pair is ranked among the random pairs of its model. The share of wrong pairs is estimated
    from the losses alone, which are the same for a random caption and a random set of captions. If
    the losses do not distinguish the pairs from random pairs, siblings cannot help: captions that
    agree with each other say nothing about the image.

    Args:
        model_losses: Losses of each model.
        model_pairs: The pairs of each model.
        row_of_pair: Image of each pair, (n_pairs,).
        fold_of_row: See `Judgement`.
        share: The share of wrong pairs, if it is already known.
        models: See `Judgement`.
        seed: Seed of the interval.
    """
    losses, tail = np.empty(len(row_of_pair)), np.empty(len(row_of_pair))
    parts = []
    for pairs, result in zip(model_pairs, model_losses, strict=True):
        losses[pairs] = result.losses
        tail[pairs] = random_pair_tail(result.losses, result.random_losses)
        exchanged = result.caption_exchanged, result.set_exchanged
        parts.append(Evidence(result.evidence, *exchanged).scored())
    random_losses = np.concatenate([result.random_losses for result in model_losses])
    if share is None:
        share = estimate_wrong_share(tail, len(random_losses), row_of_pair, seed=seed)
    sets = None
    if share.share is not None:
        order = np.concatenate(list(model_pairs))
        tail[order], sets = tail_with_siblings(joined(parts), tail[order], share.share)
    clean = clean_given_share(tail, share.share)
    return Judgement(losses, random_losses, tail, share, clean, sets, fold_of_row, models)

"""The judgement of every pair, computed from the losses of the models."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..arguments.audit import THRESHOLD
from ..evaluation.pair_losses import PairLosses
from ..noise.random_pairs import (
    WrongShare,
    clean_by_density,
    clean_given_share,
    estimate_wrong_share,
    random_pair_tail,
    tail_density,
)
from ..noise.sibling_evidence import Evidence, joined, sibling_doubt


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
    """

    losses: NDArray[np.float64]
    random_losses: NDArray[np.float64]
    tail: NDArray[np.float64]
    share: WrongShare
    clean_probability: NDArray[np.float64]
    sets: float | None
    fold_of_row: NDArray[np.int64]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Pair ids, worst first, (n_pairs,)."""
        return np.lexsort((-self.losses, -self.tail, self.clean_probability))

    @cached_property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Whether each pair is more likely wrong than right, (n_pairs,)."""
        return self.clean_probability < THRESHOLD


def combine_losses(
    model_losses: Sequence[PairLosses],
    row_of_pair: NDArray[np.int64],
    fold_of_row: NDArray[np.int64],
    share: WrongShare | None = None,
    seed: int = 0,
) -> Judgement:
    """Combine the losses of several models, each of the pairs of one fold.

    Each pair is ranked among the random pairs of its model. The share of wrong pairs is estimated
    from the losses alone, which are the same for a random caption and a random set of captions. If
    the losses do not distinguish the pairs from random pairs, siblings cannot help: captions that
    agree with each other say nothing about the image.

    Args:
        model_losses: Losses by the model of each fold, of its pairs in ascending order.
        row_of_pair: Image of each pair, (n_pairs,).
        fold_of_row: See `Judgement`.
        share: The share of wrong pairs, if it is already known.
        seed: Seed of the interval.
    """
    order = np.argsort(fold_of_row[row_of_pair], kind="stable")  # pairs of the first fold first
    losses, tail = np.empty(len(order)), np.empty(len(order))
    losses[order] = np.concatenate([part.losses for part in model_losses])
    tail[order] = np.concatenate(
        [random_pair_tail(part.losses, part.random_losses) for part in model_losses]
    )
    random_losses = np.concatenate([part.random_losses for part in model_losses])
    if share is None:
        share = estimate_wrong_share(tail, len(random_losses), row_of_pair, seed=seed)
    sets = None
    if share.share is not None:
        evidence = joined([_evidence(part).scored() for part in model_losses])
        doubt = sibling_doubt(evidence, share.share)
        if doubt is not None:
            tail[order], sets = doubt.tail(evidence.given, tail[order]), doubt.sets
    clean = clean_given_share(tail, share.share)
    return Judgement(losses, random_losses, tail, share, clean, sets, fold_of_row)


def _evidence(losses: PairLosses) -> Evidence:
    return Evidence(losses.evidence, losses.caption_exchanged, losses.set_exchanged)


class Calibration:
    """Judges further pairs as those of a judgement: by functions of their evidence.

    Args:
        model_losses: Losses by the model of each fold, see `combine_losses`.
        judgement: What `combine_losses` made of them.
    """

    def __init__(self, model_losses: Sequence[PairLosses], judgement: Judgement) -> None:
        self._losses = model_losses
        self._share = judgement.share.share
        self._density = tail_density(judgement.tail)
        self._doubt = None
        if judgement.sets is not None and self._share is not None:
            evidence = joined([_evidence(part).scored() for part in model_losses])
            self._doubt = sibling_doubt(evidence, self._share)

    def judge(
        self, fold: int, evidence: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tail and clean probability of pairs, (n,) each, as in `Judgement`.

        Args:
            fold: Fold of the model that judged them.
            evidence: Their evidence by it, (n, 3), see `PairLosses`.
        """
        losses = self._losses[fold]
        tail = random_pair_tail(evidence[:, 0], losses.random_losses)
        if self._doubt is not None:
            tail = self._doubt.tail(_evidence(losses).scores_of(evidence), tail)
        return tail, clean_by_density(tail, self._density, self._share)

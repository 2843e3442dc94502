"""Evidence from the other captions of an image, the siblings of a caption.

A caption can be wrong in two ways: it alone was exchanged, or all captions of the image were. In
the first case its siblings disagree with it; in the second they agree with it, and disagree with
the image too. Both kinds of wrong pairs can be constructed, so their evidence can be measured, and
each pair is judged by how much more it looks like one of them than like the pairs of the data:

    doubt = log((1 - b) f_caption(x) / g(x) + b f_set(x) / g(x))

where x is the evidence of a pair, g its density over the pairs of the data, f_caption and f_set its
densities over pairs with an exchanged caption, or with an exchanged set, and b the share of the
second kind among the wrong pairs. Ratios of densities are the odds of a logistic regression that
distinguishes the two samples (Bickel, Brueckner and Scheffer, "Discriminative learning under
covariate shift", JMLR 2009).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from .random_pairs import random_pair_tail

#: Least number of pairs with siblings, and of random pairs.
_LEAST = 200
#: Pairs above this rank of their loss are almost surely wrong.
_SURE = 0.8
#: Least difference between the shares of exchanged captions and sets that disagree with siblings.
_LEAST_DIFFERENCE = 0.1
#: Least share of either kind of wrong pairs: without it an estimate that is off by a tenth costs
#: .02 of AUROC; with it, a kind that does not occur costs .002.
_LEAST_SETS = 0.02
#: Number of standard errors between a share and 0 or 1.
_ERRORS = 2.0
_LARGEST_SCORE = 4.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence against pairs, in three columns; larger values are against the pair.

    Attributes:
        given: The pairs of the data: loss of the pair, mean loss of its siblings with its image,
            mean loss of the caption with its siblings, (n, 3); NaN without siblings.
        caption_exchanged: The same for pairs with an exchanged caption, (n_random, 3).
        set_exchanged: The same for pairs of images with the captions of another image,
            (n_random, 3).
    """

    given: NDArray[np.float64]
    caption_exchanged: NDArray[np.float64]
    set_exchanged: NDArray[np.float64]

    def scored(self) -> "Evidence":
        """Normal scores of the ranks among random pairs, which are comparable between models."""
        parts = (self.given, self.caption_exchanged, self.set_exchanged)
        return Evidence(*map(self.scores_of, parts))

    def scores_of(self, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normal scores of further pairs of the same model among these random pairs, (n, 3).

        Args:
            others: Their evidence, (n, 3).
        """
        loss = np.concatenate([self.caption_exchanged[:, 0], self.set_exchanged[:, 0]])
        references = (loss, self.set_exchanged[:, 1], self.caption_exchanged[:, 2])
        return np.stack([_scores(others[:, k], references[k]) for k in range(3)], axis=1)


def joined(parts: list[Evidence]) -> Evidence:
    """Concatenate the evidence of several models.

    Args:
        parts: Scored evidence.
    """
    return Evidence(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("given", "caption_exchanged", "set_exchanged")
        )
    )


def share_of_sets(evidence: Evidence, share: float) -> float | None:
    """Share of exchanged sets among the wrong pairs.

    Among the pairs with the largest losses, those of exchanged sets agree with their siblings, and
    so do right pairs that the judge does not recognise. Random pairs tell how often each kind of
    wrong pairs disagrees.

    Args:
        evidence: Scored evidence.
        share: Share of wrong pairs, for the number of wrong pairs among the largest losses.

    Returns:
        0 to 1, and exactly 0 or 1 if that is within the error; None if too few pairs are wrong or
        have siblings.
    """
    parts = evidence.given, evidence.caption_exchanged, evidence.set_exchanged
    sure = [part[part[:, 0] > norm.ppf(_SURE), 2] for part in parts]
    sure = [text[~np.isnan(text)] for text in sure]
    if min(map(len, sure)) < _LEAST / 10:
        return None
    # Compare pairs of the same losses: a caption far from an image is also far from its texts.
    disagree, of_captions, of_sets = (float((text > 0).mean()) for text in sure)
    n_sure = (evidence.given[:, 0] > norm.ppf(_SURE)).sum()
    wrong = min(1.0, share * (1 - _SURE) * len(evidence.given) / n_sure)
    scale = (of_captions - of_sets) * wrong
    if scale < _LEAST_DIFFERENCE:
        return None
    sets = 1 - (disagree - of_sets) / scale
    error = _ERRORS * np.sqrt(0.25 / len(sure[0])) / scale
    if sets < error:
        return 0.0
    return 1.0 if sets > 1 - error else float(sets)


@dataclass(frozen=True, eq=False)
class SiblingDoubt:
    """How much more a pair looks like a wrong pair than like the pairs of the data.

    Attributes:
        sets: Share of exchanged sets among the wrong pairs.
        odds: For each kind of wrong pairs, what distinguishes it from the data, and the logarithm
            of its share.
        random: Doubt of random pairs in the proportion of `sets`, (n_random,).
    """

    sets: float
    odds: list[tuple[LogisticRegression, float]]
    random: NDArray[np.float64]

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The doubt of pairs, (n,), by their scored evidence without NaN, (n, 3)."""
        return _log_odds(self.odds, scores)

    def tail(
        self, scores: NDArray[np.float64], loss_tail: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Share of random pairs that fit at least as well, by loss and siblings, (n,).

        Args:
            scores: Scored evidence of pairs, (n, 3).
            loss_tail: The same by loss only, (n,), used for pairs without siblings.
        """
        has = ~np.isnan(scores).any(axis=1)
        tail = loss_tail.copy()
        if has.any():
            tail[has] = random_pair_tail(self.of(scores[has]), self.random)
        return tail


def fit_doubt(evidence: Evidence, sets: float) -> SiblingDoubt:
    """Learn what tells wrong pairs from the pairs of the data.

    Args:
        evidence: Scored evidence, without NaN.
        sets: Share of exchanged sets among the wrong pairs, 0 to 1.
    """
    kinds = [(evidence.caption_exchanged, 1 - sets), (evidence.set_exchanged, sets)]
    kinds = [(random, weight) for random, weight in kinds if weight > 0]
    odds = [(_odds(evidence.given, random), float(np.log(weight))) for random, weight in kinds]
    # Evenly spaced pairs of each kind, because they are ordered by model and image.
    least = min(len(part) for part, _ in kinds)
    random = [
        part[np.linspace(0, len(part) - 1, max(1, round(weight * least))).astype(np.int64)]
        for part, weight in kinds
    ]
    return SiblingDoubt(sets, odds, _log_odds(odds, np.concatenate(random)))


def _log_odds(
    odds: list[tuple[LogisticRegression, float]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    terms = [model.decision_function(x) + weight for model, weight in odds]
    return np.asarray(np.logaddexp.reduce(terms, axis=0))


def sibling_doubt(evidence: Evidence, share: float) -> SiblingDoubt | None:
    """Learn how the evidence of siblings tells wrong pairs from the pairs of the data.

    Args:
        evidence: Scored evidence.
        share: Share of wrong pairs.

    Returns:
        The doubt; None if siblings are not used, because too few pairs are wrong or have some.
    """
    sets = share_of_sets(evidence, share)
    has = ~np.isnan(evidence.given).any(axis=1)
    swaps = [
        part[~np.isnan(part).any(axis=1)]
        for part in (evidence.caption_exchanged, evidence.set_exchanged)
    ]
    if sets is None or has.sum() < _LEAST or min(map(len, swaps)) < _LEAST:
        return None
    clipped = float(np.clip(sets, _LEAST_SETS, 1 - _LEAST_SETS))
    return replace(fit_doubt(Evidence(evidence.given[has], *swaps), clipped), sets=sets)


def _odds(given: NDArray[np.float64], random: NDArray[np.float64]) -> LogisticRegression:
    """Fit a model that distinguishes random pairs from the data, both with the same weight."""
    x = np.concatenate([given, random])
    is_random = np.repeat([0, 1], [len(given), len(random)])
    return LogisticRegression(max_iter=500, class_weight="balanced").fit(x, is_random)


def _scores(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.full(len(values), np.nan)
    valid, reference = ~np.isnan(values), reference[~np.isnan(reference)]
    if len(reference) and valid.any():
        scores[valid] = norm.ppf(random_pair_tail(values[valid], reference))
    return np.clip(scores, -_LARGEST_SCORE, _LARGEST_SCORE)

"""What the other captions of an image say of one of them.

A caption can be wrong in two ways: it alone was exchanged, or the image was given the captions of
another one. In the first case its siblings, the other captions of the image, disagree with it; in
the second they agree with it, and disagree with the image too. Both kinds of wrong pairs can be
made at will, so how each looks is measured, and each pair is judged by how much more it looks like
one of them than like the pairs at hand:

    doubt = log((1 - b) f_caption(x) / g(x) + b f_set(x) / g(x))

where x is the evidence of a pair, g its density over the pairs at hand, f_caption and f_set its
densities over pairs of which the caption, or the whole set, was exchanged, and b the share of the
second kind among the wrong pairs. Ratios of densities are odds of a logistic regression that tells
one sample from the other (Bickel, Brueckner and Scheffer, "Discriminative learning under covariate
shift", JMLR 2009).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from .random_pairs import random_pair_tail

#: Pairs with siblings, and random ones, that are needed to tell anything.
_LEAST = 200
#: Above it in the ranks of their loss, pairs are wrong almost surely.
_SURE = 0.8
#: How much oftener exchanged captions than sets must disagree with their siblings.
_LEAST_DIFFERENCE = 0.1
#: Share of either kind of wrong pairs that is allowed for, whatever is estimated: to be wrong about
#: a tenth costs .02 of AUROC without it, and to allow for what is not there .002.
_LEAST_SETS = 0.02
#: Standard errors that tell a share from none and from all.
_ERRORS = 2.0
_LARGEST_SCORE = 4.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of some pairs, a column each, larger where it speaks against the pair.

    Attributes:
        given: The pairs at hand: loss of the pair, mean loss of its siblings with its image, mean
            loss of the caption with its siblings, (n, 3); NaN where there is no sibling.
        caption_exchanged: The same of pairs whose caption was exchanged, (n_random, 3).
        set_exchanged: The same of pairs whose image was given the captions of another image,
            (n_random, 3).
    """

    given: NDArray[np.float64]
    caption_exchanged: NDArray[np.float64]
    set_exchanged: NDArray[np.float64]

    def scored(self) -> "Evidence":
        """As normal scores of ranks among random pairs, which compare between models."""
        loss = np.concatenate([self.caption_exchanged[:, 0], self.set_exchanged[:, 0]])
        references = (loss, self.set_exchanged[:, 1], self.caption_exchanged[:, 2])
        parts = [
            np.stack([_scores(part[:, k], references[k]) for k in range(3)], axis=1)
            for part in (self.given, self.caption_exchanged, self.set_exchanged)
        ]
        return Evidence(*parts)


def joined(parts: list[Evidence]) -> Evidence:
    """The evidence of several models as one.

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
    """Which part of the wrong pairs comes from images with another image's captions.

    Of the pairs with the largest losses, those of exchanged sets agree with their siblings, and so
    do right ones that the judge does not recognise. How often either kind of wrong pairs disagrees
    is counted in random pairs.

    Args:
        evidence: Scored evidence.
        share: Share of wrong pairs, which says how many of those with the largest losses are wrong.

    Returns:
        0 to 1, exactly so where the data do not speak against it; None where too few pairs are
        wrong, or have siblings, to tell.
    """
    parts = evidence.given, evidence.caption_exchanged, evidence.set_exchanged
    sure = [part[part[:, 0] > norm.ppf(_SURE), 2] for part in parts]
    sure = [text[~np.isnan(text)] for text in sure]
    if min(map(len, sure)) < _LEAST / 10:
        return None
    # Among pairs of the same losses, for a caption that is far from an image is so from its texts.
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


def doubts(evidence: Evidence, sets: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much more each pair looks like a wrong one than like the pairs at hand.

    Args:
        evidence: Scored evidence, with siblings everywhere.
        sets: Share of exchanged sets among the wrong pairs, 0 to 1.

    Returns:
        Doubt of the pairs at hand, (n,), and of random pairs in the proportion of `sets`,
        (n_random,).
    """
    kinds = [(evidence.caption_exchanged, 1 - sets), (evidence.set_exchanged, sets)]
    kinds = [(random, weight) for random, weight in kinds if weight > 0]
    odds = [(_odds(evidence.given, random), np.log(weight)) for random, weight in kinds]

    def doubt(x: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = [model.decision_function(x) + weight for model, weight in odds]
        return np.asarray(np.logaddexp.reduce(terms, axis=0))

    # From the whole of each kind, for models and images stand one after the other in it.
    least = min(len(part) for part, _ in kinds)
    random = [
        part[np.linspace(0, len(part) - 1, max(1, round(weight * least))).astype(np.int64)]
        for part, weight in kinds
    ]
    return doubt(evidence.given), doubt(np.concatenate(random))


def tail_with_siblings(
    evidence: Evidence, loss_tail: NDArray[np.float64], share: float
) -> tuple[NDArray[np.float64], float | None]:
    """Share of random pairs that fit as well, by all that is known of a pair.

    Args:
        evidence: Scored evidence.
        loss_tail: The same by the loss alone, (n,), which stays where a pair has no siblings.
        share: Share of wrong pairs.

    Returns:
        (n,), and the share of exchanged sets, None where siblings do not count.
    """
    sets = share_of_sets(evidence, share)
    has = ~np.isnan(evidence.given).any(axis=1)
    swaps = [
        part[~np.isnan(part).any(axis=1)]
        for part in (evidence.caption_exchanged, evidence.set_exchanged)
    ]
    if sets is None or has.sum() < _LEAST or min(map(len, swaps)) < _LEAST:
        return loss_tail, None
    used = float(np.clip(sets, _LEAST_SETS, 1 - _LEAST_SETS))
    own, random = doubts(Evidence(evidence.given[has], *swaps), used)
    tail = loss_tail.copy()
    tail[has] = random_pair_tail(own, random)
    return tail, sets


def _odds(given: NDArray[np.float64], random: NDArray[np.float64]) -> LogisticRegression:
    """Tells random pairs from those at hand; both samples count alike."""
    x = np.concatenate([given, random])
    is_random = np.repeat([0, 1], [len(given), len(random)])
    return LogisticRegression(max_iter=500, class_weight="balanced").fit(x, is_random)


def _scores(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.full(len(values), np.nan)
    known, reference = ~np.isnan(values), reference[~np.isnan(reference)]
    if len(reference) and known.any():
        found[known] = norm.ppf(random_pair_tail(values[known], reference))
    return np.clip(found, -_LARGEST_SCORE, _LARGEST_SCORE)

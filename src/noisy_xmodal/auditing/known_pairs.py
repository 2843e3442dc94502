"""What an audit makes of the decisions of people.

The small models are trained with them: a pair that people call wrong counts nothing, a pair that
they call right counts fully. As every pair is judged by a model that has not seen it, the judgement
of a reviewed pair does not depend on its own review, and the two can be compared. With enough
reviews the clean probabilities are corrected by isotonic regression on the reviews, with the
audit's own probabilities as a prior. Reviews chosen by rank or probability do not bias this, those
chosen by content may.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression

from ..data import PairDataset
from .judgement import Judgement
from .loading import AuditRows
from .reviews import CORRECTED, RIGHT, WRONG, Decision, Pair, ReviewFile, ReviewsError

#: Reviews that a calibration needs, and of each kind, right and wrong.
LEAST_REVIEWS, LEAST_OF_KIND = 50, 10
#: Number of reviews that the audit's own probabilities of all pairs are worth.
_PRIOR_REVIEWS = 100.0
_N_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """What people decided about the pairs of a dataset.

    Attributes:
        targets: 1 where people decided that the pair is right, 0 where it is wrong, NaN where they
            did not decide, (n_pairs,).
        decisions: The decision about each reviewed pair, by pair id.
        missing: Reviewed pairs that the dataset does not have.
    """

    targets: NDArray[np.float64]
    decisions: Mapping[int, Decision]
    missing: Sequence[Pair] = ()

    def over(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability that each pair is right: that of the audit, where people say nothing."""
        return np.where(np.isnan(self.targets), probability, self.targets)

    def corrected_targets(self) -> NDArray[np.float64]:
        """As `targets`, but of the corrected pairs, whose new captions are right, (n_pairs,)."""
        targets = self.targets.copy()
        targets[list(self.new_captions())] = 1.0
        return targets

    def new_captions(self) -> dict[int, str]:
        """The right caption of each corrected pair, by pair id."""
        found = {pair: decision.new_caption for pair, decision in self.decisions.items()}
        return {pair: text for pair, text in found.items() if text is not None}


def known_pairs(reviews: ReviewFile, rows: AuditRows, name: str) -> KnownPairs:
    """Find the reviewed pairs in a dataset.

    Args:
        reviews: The decisions.
        rows: The rows of the dataset.
        name: Name of the dataset, for the message.

    Raises:
        ReviewsError: If the file is not one of reviews, or the dataset has none of its pairs.
    """
    by_pair = reviews.decisions()
    known = decided(by_pair, rows.image_ids, rows.pairs)
    found = {(one.image_id, one.caption) for one in known.decisions.values()}
    missing = [key for key in by_pair if key not in found]
    if missing and not found:
        image_id, caption = missing[0]
        raise ReviewsError(
            f"{reviews.path} is of another dataset: none of its {len(missing):,} reviewed pairs is "
            f"in {name}, such as image '{image_id[:80]}' with the caption '{caption[:80]}'. Give "
            "the reviews of this dataset, or none"
        )
    return replace(known, missing=missing)


def decided(
    by_pair: Mapping[Pair, Decision], image_ids: Sequence[str], pairs: PairDataset
) -> KnownPairs:
    """The decisions about some pairs.

    Args:
        by_pair: The decisions, see `ReviewFile.decisions`.
        image_ids: Name of each image.
        pairs: The pairs.
    """
    targets = np.full(len(pairs), np.nan)
    decisions = {}
    rows_and_texts = zip(pairs.row_of_pair.tolist(), pairs.captions(), strict=True)
    for pair, (row, caption) in enumerate(rows_and_texts):
        decision = by_pair.get((image_ids[row], caption))
        if decision is not None:
            decisions[pair] = decision
            targets[pair] = decision.decision == RIGHT
    return KnownPairs(targets, decisions)


def with_people(judgement: Judgement, known: KnownPairs) -> tuple[Judgement, dict[str, Any]]:
    """Compare a judgement with the decisions of people, calibrate it, and let people decide.

    Args:
        judgement: The judgement of every pair.
        known: What people decided.

    Returns:
        The judgement with people's decisions as the clean probabilities of the reviewed pairs, and
        the facts for the summary: numbers of decisions, the agreement (share of the reviewed pairs
        that the audit alone judges as people do, with a 95 % interval), whether the probabilities
        of the other pairs were calibrated, the share of wrong pairs by all probabilities, and a
        sentence about the decisions.
    """
    reviewed = ~np.isnan(known.targets)  # (n_pairs,)
    target, tail = known.targets[reviewed], judgement.tail[reviewed]  # (n_reviewed,)
    fitted = calibration(judgement, tail, target) if judgement.share.can_tell else None
    kinds = Counter(decision.decision for decision in known.decisions.values())
    facts = review_facts(kinds, judgement.is_wrong[reviewed], target == 0, fitted is not None)
    facts["missing"] = len(known.missing)
    clean = known.over(judgement.clean_probability if fitted is None else fitted(judgement.tail))
    facts["wrong_share"] = float(1 - clean.mean())
    return replace(judgement, clean_probability=clean), facts


def review_facts(
    kinds: Mapping[str, int],
    judged_wrong: NDArray[np.bool_],
    called_wrong: NDArray[np.bool_],
    is_calibrated: bool,
) -> dict[str, Any]:
    """Facts about the decisions of people, see `with_people`.

    Args:
        kinds: The number of decisions of each kind.
        judged_wrong: Whether the audit alone judges each reviewed pair wrong, (n_reviewed,).
        called_wrong: Whether people do, (n_reviewed,).
        is_calibrated: Whether the probabilities of the other pairs were calibrated.
    """
    n, n_agreed = len(called_wrong), int((called_wrong == judged_wrong).sum())
    facts: dict[str, Any] = {
        "reviewed": n,
        "right": kinds.get(RIGHT, 0),
        "wrong": kinds.get(WRONG, 0),
        "corrected": kinds.get(CORRECTED, 0),
        "agreement": n_agreed / n if n else None,
        "agreement_interval": list(share_interval(n_agreed, n)) if n else None,
        "called_wrong_judged_right": int((called_wrong & ~judged_wrong).sum()),
        "called_right_judged_wrong": int((~called_wrong & judged_wrong).sum()),
        "calibrated": is_calibrated,
    }
    return facts | {"sentence": _sentence(facts)}


def _sentence(facts: Mapping[str, Any]) -> str:
    if not facts["reviewed"]:
        return "People reviewed no pair."
    low, high = facts["agreement_interval"]
    return (
        f"People reviewed {facts['reviewed']:,} pairs: {facts['right']:,} right, "
        f"{facts['wrong']:,} wrong, {facts['corrected']:,} with another caption. The audit alone "
        f"judges {facts['agreement']:.0%} ({100 * low:.0f} to {high:.0%}) of them as they do."
    )


def calibration(
    judgement: Judgement, tail: NDArray[np.float64], targets: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Fit clean probabilities to the decisions of people, with those of the audit as a prior.

    Args:
        judgement: The judgement of every pair, or of a sample.
        tail: See `Judgement`, of the reviewed pairs, (n_reviewed,).
        targets: 1 where people decided that the pair is right, 0 where it is wrong, (n_reviewed,).

    Returns:
        A function of the tails of pairs that returns their clean probabilities; None if there are
        fewer than `LEAST_REVIEWS` reviews, or fewer than `LEAST_OF_KIND` of right or of wrong
        pairs.
    """
    n_right = int(targets.sum())
    if len(targets) < LEAST_REVIEWS or min(n_right, len(targets) - n_right) < LEAST_OF_KIND:
        return None
    n = len(judgement.tail)
    weights = np.concatenate([np.full(n, _PRIOR_REVIEWS / n), np.ones(len(targets))])
    values = np.concatenate([judgement.clean_probability, targets])
    regression = IsotonicRegression(y_min=0, y_max=1, increasing=False, out_of_bounds="clip")
    regression.fit(np.concatenate([judgement.tail, tail]), values, weights)

    def fitted(tail: NDArray[np.float64]) -> NDArray[np.float64]:
        probability: NDArray[np.float64] = regression.predict(tail)
        return probability

    return fitted


def share_interval(count: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's method (JASA 1927).

    Args:
        count: Number of hits.
        n: Number of trials, at least 1.
    """
    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def review_notes(facts: Mapping[str, Any], missing: Sequence[Pair]) -> list[str]:
    """Warnings about what the reviews lack, and reviewed pairs that are missing.

    Args:
        facts: From `with_people`.
        missing: Reviewed pairs that are not in the dataset.
    """
    if not facts["reviewed"]:
        return ["The file of reviews has no decision."]
    lines = []
    if not facts["calibrated"]:
        lines.append(
            "The clean probabilities of the other pairs were not calibrated by the reviews, which "
            f"takes {LEAST_REVIEWS} of them, {LEAST_OF_KIND} or more of right and of wrong pairs, "
            "and a judge that distinguishes the pairs from random ones."
        )
    if missing:
        names = "; ".join(f"{image[:80]}: {text[:80]}" for image, text in missing[:_N_EXAMPLES])
        more = "; ..." if len(missing) > _N_EXAMPLES else ""
        count = f"{len(missing):,} reviewed pairs are"
        if len(missing) == 1:
            count = "1 reviewed pair is"
        lines.append(f"{count} not in the dataset, and without effect: {names}{more}.")
    return lines

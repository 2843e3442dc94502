"""What an audit makes of the decisions of people.

The small models are trained with them: a pair that people call wrong counts nothing, a pair that
they call right counts fully. As every pair is judged by a model that has not seen it, the judgement
of a reviewed pair does not depend on its own review, and the two can be compared. With enough
reviews the clean probabilities are corrected by isotonic regression on the reviews, with the
audit's own probabilities as a prior. Reviews chosen by rank or probability do not bias this, those
chosen by content may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression

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
    targets = np.full(len(rows.pairs), np.nan)
    decisions = {}
    found = set()
    ids = rows.image_ids
    rows_and_texts = zip(rows.pairs.row_of_pair.tolist(), rows.pairs.captions(), strict=True)
    for pair, (row, caption) in enumerate(rows_and_texts):
        key = (ids[row], caption)
        if key in by_pair:
            decisions[pair] = by_pair[key]
            targets[pair] = by_pair[key].decision == RIGHT
            found.add(key)
    missing = [key for key in by_pair if key not in found]
    if missing and not found:
        image_id, caption = missing[0]
        raise ReviewsError(
            f"{reviews.path} is of another dataset: none of its {len(missing):,} reviewed pairs is "
            f"in {name}, such as image '{image_id[:80]}' with the caption '{caption[:80]}'. Give "
            "the reviews of this dataset, or none"
        )
    return KnownPairs(targets, decisions, missing)


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
    called_wrong = known.targets[reviewed] == 0  # (n_reviewed,)
    judged_wrong = judgement.is_wrong[reviewed]
    n, n_agreed = len(called_wrong), int((called_wrong == judged_wrong).sum())
    kinds = [decision.decision for decision in known.decisions.values()]
    probability = calibrated(judgement, known.targets) if judgement.share.can_tell else None
    facts: dict[str, Any] = {
        "reviewed": n,
        "right": kinds.count(RIGHT),
        "wrong": kinds.count(WRONG),
        "corrected": kinds.count(CORRECTED),
        "missing": len(known.missing),
        "agreement": n_agreed / n if n else None,
        "agreement_interval": list(share_interval(n_agreed, n)) if n else None,
        "called_wrong_judged_right": int((called_wrong & ~judged_wrong).sum()),
        "called_right_judged_wrong": int((~called_wrong & judged_wrong).sum()),
        "calibrated": probability is not None,
    }
    clean = known.over(judgement.clean_probability if probability is None else probability)
    facts["wrong_share"] = float(1 - clean.mean())
    facts["sentence"] = _sentence(facts)
    return replace(judgement, clean_probability=clean), facts


def _sentence(facts: Mapping[str, Any]) -> str:
    if not facts["reviewed"]:
        return "People reviewed no pair."
    low, high = facts["agreement_interval"]
    return (
        f"People reviewed {facts['reviewed']:,} pairs: {facts['right']:,} right, "
        f"{facts['wrong']:,} wrong, {facts['corrected']:,} with another caption. The audit alone "
        f"judges {facts['agreement']:.0%} ({100 * low:.0f} to {high:.0%}) of them as they do."
    )


def calibrated(judgement: Judgement, targets: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Clean probabilities by the audit and by people.

    Args:
        judgement: The judgement of every pair.
        targets: See `KnownPairs`.

    Returns:
        (n_pairs,), in the order of the judgement; None if there are fewer than `LEAST_REVIEWS`
        reviews, or fewer than `LEAST_OF_KIND` of right or of wrong pairs.
    """
    reviewed = np.flatnonzero(~np.isnan(targets))
    n_right = int(targets[reviewed].sum())
    if len(reviewed) < LEAST_REVIEWS or min(n_right, len(reviewed) - n_right) < LEAST_OF_KIND:
        return None
    tail, n = judgement.tail, len(targets)
    weights = np.concatenate([np.full(n, _PRIOR_REVIEWS / n), np.ones(len(reviewed))])
    values = np.concatenate([judgement.clean_probability, targets[reviewed]])
    regression = IsotonicRegression(y_min=0, y_max=1, increasing=False)
    fitted = regression.fit(np.concatenate([tail, tail[reviewed]]), values, weights)
    probability: NDArray[np.float64] = fitted.predict(tail)
    return probability


def share_interval(count: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's method (JASA 1927).

    Args:
        count: Number of hits.
        n: Number of trials, at least 1.
    """
    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def review_notes(known: KnownPairs, facts: Mapping[str, Any]) -> list[str]:
    """Warnings about what the reviews lack, and reviewed pairs that are missing.

    Args:
        known: What people decided.
        facts: From `with_people`.
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
    if known.missing:
        names = "; ".join(
            f"{image[:80]}: {text[:80]}" for image, text in known.missing[:_N_EXAMPLES]
        )
        more = "; ..." if len(known.missing) > _N_EXAMPLES else ""
        count = f"{len(known.missing):,} reviewed pairs are"
        if len(known.missing) == 1:
            count = "1 reviewed pair is"
        lines.append(f"{count} not in the dataset, and without effect: {names}{more}.")
    return lines

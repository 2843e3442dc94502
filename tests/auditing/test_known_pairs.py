"""What people decided: which pairs it is about, and what becomes of the judgement."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from audit_results import result_of
from noisy_xmodal.auditing.judgement import Judgement
from noisy_xmodal.auditing.known_pairs import (
    KnownPairs,
    calibration,
    known_pairs,
    review_notes,
    share_interval,
    with_people,
)
from noisy_xmodal.auditing.reviews import (
    CORRECTED,
    RIGHT,
    WRONG,
    Decision,
    ReviewFile,
    ReviewsError,
)

COLUMNS = {
    "regions": [[[float(n)]] for n in range(3)],
    "image_id": ["x", "y", "x"],
    "captions": [["one", "two"], ["one"], ["two", "three"]],
}
NAN = float("nan")


def reviews_of(path: Path, *decisions: Decision) -> ReviewFile:
    reviews = ReviewFile(path / "reviews.parquet")
    for decision in decisions:
        reviews.add(decision)
    return reviews


def test_pairs_are_found_by_image_and_caption(tmp_path: Path) -> None:
    rows = result_of(COLUMNS, np.ones(5), np.zeros(5)).rows
    decisions = [Decision("x", "two", RIGHT), Decision("y", "one", WRONG)]
    decisions += [Decision("x", "three", CORRECTED, "four"), Decision("y", "two", WRONG)]
    known = known_pairs(reviews_of(tmp_path, *decisions), rows, "numbers")
    # Image "x" is there twice, with the caption "two".
    np.testing.assert_array_equal(known.targets, [NAN, 1, 0, 1, 0])
    assert {pair: one.decision for pair, one in known.decisions.items()} == {
        1: RIGHT,
        2: WRONG,
        3: RIGHT,
        4: CORRECTED,
    }
    assert known.missing == [("y", "two")]
    assert known.new_captions() == {4: "four"}
    np.testing.assert_array_equal(known.corrected_targets(), [NAN, 1, 0, 1, 1])
    np.testing.assert_array_equal(known.over(np.full(5, 0.3)), [0.3, 1, 0, 1, 0])


def test_reviews_of_another_dataset_are_refused(tmp_path: Path) -> None:
    rows = result_of(COLUMNS, np.ones(5), np.zeros(5)).rows
    reviews = reviews_of(tmp_path, Decision("q", "one", RIGHT), Decision("x", "five", WRONG))
    with pytest.raises(ReviewsError, match="none of its 2 reviewed pairs is in numbers, such as"):
        known_pairs(reviews, rows, "numbers")
    empty = known_pairs(ReviewFile(tmp_path / "none.parquet"), rows, "numbers")
    assert np.isnan(empty.targets).all()


def judged(probability: np.ndarray) -> Judgement:
    base = result_of(COLUMNS, np.ones(5), np.zeros(5)).judgement
    tail = 1 - np.arange(1, len(probability) + 1) / (len(probability) + 1)
    return replace(base, clean_probability=probability, tail=tail, losses=tail)


def decided(targets: np.ndarray) -> KnownPairs:
    decisions = {
        pair: Decision("x", str(pair), RIGHT if target else WRONG)
        for pair, target in enumerate(targets.tolist())
        if target == target
    }
    return KnownPairs(targets, decisions, [("gone", "by")])


def test_people_decide_and_the_agreement_is_that_of_the_audit_alone() -> None:
    probability = np.array([0.1, 0.2, 0.4, 0.6, 0.9])
    known = decided(np.array([0, 1, NAN, 0, 1]))
    judgement, facts = with_people(judged(probability), known)
    np.testing.assert_array_equal(judgement.clean_probability, [0, 1, 0.4, 0, 1])
    assert judgement.order.tolist()[:2] == [0, 3]
    assert (facts["reviewed"], facts["right"], facts["wrong"], facts["corrected"]) == (4, 2, 2, 0)
    assert facts["agreement"] == 0.5
    assert (facts["called_wrong_judged_right"], facts["called_right_judged_wrong"]) == (1, 1)
    assert not facts["calibrated"]
    assert facts["wrong_share"] == pytest.approx(2.6 / 5)
    sentence = facts["sentence"]
    assert "People reviewed 4 pairs: 2 right, 2 wrong, 0 with another caption" in sentence
    assert "judges 50% (15 to 85%) of them" in sentence
    lines = review_notes(facts, known.missing)
    assert "takes 50 of them, 10 or more of right" in lines[0]
    assert lines[1] == "1 reviewed pair is not in the dataset, and without effect: gone: by."


@pytest.mark.parametrize(("count", "n"), [(0, 1), (3, 7), (94, 120), (120, 120)])
def test_interval_is_where_wilsons_score_test_does_not_reject(count: int, n: int) -> None:
    z = NormalDist().inv_cdf(0.975)
    shares = np.linspace(0, 1, 200_001)
    inside = shares[(count / n - shares) ** 2 <= z**2 * shares * (1 - shares) / n]
    assert share_interval(count, n) == pytest.approx((inside.min(), inside.max()), abs=1e-5)


def test_reviews_calibrate_what_is_near_them() -> None:
    """The audit believes .9 where, by people, .3 of the pairs are right, and is good elsewhere."""
    n = 2000
    rng = np.random.default_rng(0)
    probability = np.where(np.arange(n) < 400, 0.05, np.where(np.arange(n) < 800, 0.9, 0.98))
    true = np.where(np.arange(n) < 400, 0.05, np.where(np.arange(n) < 800, 0.3, 0.98))
    targets = np.full(n, NAN)
    chosen = rng.choice(800, 200, replace=False)
    targets[chosen] = rng.random(200) < true[chosen]
    judgement = judged(probability)
    reviewed = ~np.isnan(targets)
    fitted = calibration(judgement, judgement.tail[reviewed], targets[reviewed])
    assert fitted is not None
    found = fitted(judgement.tail)
    assert (np.diff(found) >= 0).all()  # in the order of the judgement
    for part in (slice(0, 400), slice(400, 800), slice(800, n)):
        off = abs(found[part].mean() - true[part].mean())
        assert off < 0.12  # where the audit is off by .6


@pytest.mark.parametrize(("n_right", "n_wrong"), [(9, 200), (200, 9), (20, 29), (0, 0)])
def test_few_reviews_calibrate_nothing(n_right: int, n_wrong: int) -> None:
    targets = np.full(1000, NAN)
    targets[:n_wrong], targets[-n_right:] = 0, 1
    if n_right == 0:
        targets[:] = NAN
    judgement = judged(np.linspace(0, 1, 1000))
    reviewed = ~np.isnan(targets)
    assert calibration(judgement, judgement.tail[reviewed], targets[reviewed]) is None
    enough = np.array([0.0] * 40 + [1.0] * 10)
    assert calibration(judgement, judgement.tail[:50], enough) is not None

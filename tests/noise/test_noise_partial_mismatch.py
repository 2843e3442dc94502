"""Partial mismatch: exact counts, partners that overlap and differ, odds that can be recomputed."""

import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from noisy_xmodal.noise import Pairs, PartialMismatch, object_matrix

MANY = settings(max_examples=120, deadline=None, derandomize=True, database=None)


@st.composite
def worlds(draw):
    """Counts, object sets, ratio, level and seed."""
    n_classes = draw(st.integers(1, 6))
    objects = st.frozensets(st.integers(0, n_classes - 1))
    sets = draw(st.lists(objects, min_size=1, max_size=14))
    counts = draw(st.lists(st.integers(1, 4), min_size=len(sets), max_size=len(sets)))
    matrix = np.array([[name in names for name in range(n_classes)] for names in sets])
    ratio = draw(st.one_of(st.floats(0, 1), st.floats(0.1, 0.6)))
    return counts, matrix, ratio, draw(st.sampled_from(["caption", "image"])), draw(st.integers(0))


def jaccard(first, second):
    union = (first | second).sum()
    return (first & second).sum() / union if union else 0.0


def are_partners(matrix, first, second):
    return 0 < jaccard(matrix[first], matrix[second]) < 1


def owners(pairs, level):
    """The image of each item, and the image that each item is given to after noise."""
    if level == "caption":
        return pairs.source_image, pairs.image
    first = np.searchsorted(pairs.source_image, np.arange(pairs.n_images))
    return np.arange(pairs.n_images), pairs.image[first]


def draw(counts, matrix, ratio, level="caption", seed=0):
    noise = PartialMismatch(ratio, level)
    return noise.apply(Pairs.from_counts(counts), np.random.default_rng(seed), matrix)


@MANY
@given(worlds())
def test_any_world_is_exact_or_refused_for_a_reason(world):
    counts, matrix, ratio, level, _ = world
    own, _ = owners(Pairs.from_counts(counts), level)
    n_moved = round(ratio * len(own))
    try:
        noisy = draw(*world)
    except ValueError as error:
        check_refusal(str(error), world, own, n_moved)
        return
    assert (draw(*world).image == noisy.image).all()
    assert (noisy.source_image == Pairs.from_counts(counts).image).all()
    _, given_to = owners(noisy, level)
    moved = np.flatnonzero(own != given_to)
    assert len(moved) == n_moved
    assert (np.bincount(given_to) == np.bincount(own)).all()
    assert all(are_partners(matrix, own[item], given_to[item]) for item in moved)
    moves = Counter((int(own[item]), int(given_to[item])) for item in moved)
    one_way = moves - Counter({(b, a): n for (a, b), n in moves.items()})
    assert sum(one_way.values()) == (3 if n_moved % 2 else 0)
    rows = [row.tolist() for row in noisy.rows()]
    if level == "caption":
        assert [len(row) for row in rows] == counts
    else:
        lists = [row.tolist() for row in Pairs.from_counts(counts).rows()]
        assert [rows[row] for row in given_to] == lists


def check_refusal(message, world, own, n_moved):
    """Each refusal must be right by slow loops."""
    counts, matrix, ratio, level, seed = world
    assert message.startswith(f"ratio={ratio} at {level} level selects {n_moved} of {len(own)} ")
    if "needs at least 2" in message:
        assert n_moved < 2
    elif "an odd number" in message:
        assert n_moved % 2
        for three in combinations(range(len(matrix)), 3):
            assert not all(are_partners(matrix, a, b) for a, b in combinations(three, 2))
    else:
        n_done = int(re.search(r"only (\d+) found a partner", message)[1])
        assert n_done < n_moved
        left = own
        if n_done:  # the same draw, stopped there: nobody left has a partner left
            _, given_to = owners(draw(counts, matrix, n_done / len(own), level, seed), level)
            left = own[own == given_to]
            assert len(left) == len(own) - n_done
        images = sorted(set(left.tolist()))
        assert not any(are_partners(matrix, a, b) for a, b in combinations(images, 2))


def exact_outcomes(matrix, own, n_moved):
    """The probability of every result, by recursion over one exchange after the other."""
    if n_moved == 0:
        return {}
    total = Counter()

    def exchange(given_to, left, odds):
        if len(own) - len(left) == n_moved:
            total[given_to] += odds
            return
        near = {a: [b for b in left if are_partners(matrix, own[a], own[b])] for a in left}
        able = [a for a in left if near[a]]
        for a in able:
            similarity = {b: jaccard(matrix[own[a]], matrix[own[b]]) for b in near[a]}
            for b, value in similarity.items():
                after = list(given_to)
                after[a], after[b] = own[b], own[a]
                odds_after = odds / len(able) * value / sum(similarity.values())
                exchange(tuple(after), left - {a, b}, odds_after)

    exchange(tuple(own), frozenset(range(len(own))), 1.0)
    return total


@pytest.mark.parametrize(
    ("level", "counts"), [("image", [2, 1, 3, 1, 1, 2, 1]), ("caption", [1, 2, 1, 1, 1, 1, 1])]
)
def test_results_are_as_frequent_as_eq_13_makes_them(level, counts):
    matrix, _ = object_matrix([list(names) for names in ("ab", "abc", "a", "bcd", "ce", "ce", "")])
    pairs = Pairs.from_counts(counts)
    own, _ = owners(pairs, level)
    expected = exact_outcomes(matrix, own.tolist(), 4)
    assert sum(expected.values()) == pytest.approx(1)

    rng, n_draws = np.random.default_rng(0), 4000
    noise = PartialMismatch(4 / len(own), level)
    found = Counter(
        tuple(owners(noise.apply(pairs, rng, matrix), level)[1].tolist()) for _ in range(n_draws)
    )
    assert set(found) <= set(expected)
    frequent = [result for result, odds in expected.items() if n_draws * odds >= 5]
    assert len(frequent) > 10
    distance = sum(
        (found[r] - n_draws * expected[r]) ** 2 / (n_draws * expected[r]) for r in frequent
    )
    assert distance < chi2.ppf(1 - 1e-6, len(frequent))  # a right draw fails once in a million


def slow_similarities(similarity, own, n_moved, rng):
    """Jaccard similarity of each exchange, drawn from the full matrix of all similarities."""
    found, left = [], np.ones(len(own))
    for a in rng.permutation(len(own)):
        weight = similarity[own[a], own] * left
        if left[a] and weight.any() and 2 * len(found) < n_moved:
            b = rng.choice(len(own), p=weight / weight.sum())
            left[[a, b]] = 0
            found.append(similarity[own[a], own[b]])
    return found


def test_long_draws_are_like_those_from_the_full_matrix():
    matrix = np.random.default_rng(0).random((60, 12)) < np.geomspace(0.5, 0.05, 12)
    counts, own = [3] * 60, np.repeat(np.arange(60), 3)
    similarity = np.array([[jaccard(a, b) for b in matrix] for a in matrix])
    similarity[similarity == 1] = 0
    ours, slow = [], []
    for seed in range(25):
        noisy = draw(counts, matrix, 0.8, seed=seed)
        moved = np.flatnonzero(noisy.is_noisy)
        ours += similarity[own[moved], noisy.image[moved]].tolist()
        slow += slow_similarities(similarity, own, len(moved), np.random.default_rng(seed))
    assert len(ours) == 2 * len(slow)
    assert np.mean(ours) == pytest.approx(np.mean(slow), abs=0.02)
    quantiles = (0.1, 0.25, 0.5, 0.75, 0.9)
    assert np.quantile(ours, quantiles) == pytest.approx(np.quantile(slow, quantiles), abs=0.05)


def test_three_images_go_round():
    matrix, _ = object_matrix([["a", "b"], ["b", "c"], ["c", "a"]])
    found = {tuple(draw([1, 1, 1], matrix, 1.0, seed=seed).image.tolist()) for seed in range(40)}
    assert found == {(1, 2, 0), (2, 0, 1)}


@pytest.mark.parametrize("level", ["caption", "image"])
def test_twenty_thousand_images(level):
    rng = np.random.default_rng(0)
    frequency = np.append(0.45, 1.2 / np.arange(6, 85))
    matrix = rng.random((20_000, 80)) < frequency
    matrix[rng.random(20_000) < 0.01] = False
    noisy = draw([5] * 20_000, matrix, 0.40001, level, seed=3)
    own, given_to = owners(noisy, level)
    moved = own != given_to
    assert moved.sum() == round(0.40001 * len(own))
    assert (np.bincount(noisy.image) == 5).all()
    ours, theirs = matrix[own[moved]], matrix[given_to[moved]]
    overlap, union = (ours & theirs).sum(axis=1), (ours | theirs).sum(axis=1)
    assert (overlap > 0).all()
    assert (overlap < union).all()


def test_numbers_do_as_well_as_booleans():
    matrix, _ = object_matrix([["a"], ["a", "b"], ["b"], []])
    noisy = draw([2, 2, 2, 2], matrix, 0.5)
    for dtype in (np.uint8, np.int64):
        assert (draw([2, 2, 2, 2], matrix.astype(dtype), 0.5).image == noisy.image).all()
    assert not matrix[3].any()
    assert (noisy.image[6:] == 3).all()


def test_ratio_zero_leaves_all_pairs():
    assert not draw([2, 3], np.zeros((2, 0), dtype=bool), 0.0).is_noisy.any()


@pytest.mark.parametrize(
    ("sets", "ratio", "message"),
    [
        (["ab", "bc", "b", "c"], 0.2, "selects 1 of 4 captions, but an exchange needs at least 2"),
        (["ab", "bc", "b", "c"], 0.01, "selects 0 of 4 captions, .*: raise the ratio"),
        (["a", "ab", "b", ""], 0.75, "3 of 4 captions, an odd number, .* even number, such as 2"),
        (["a", "ab", "c", ""], 1.0, r"only 2 found .* \(1 are of .*: lower the ratio to 0\.5 or"),
        (["a", "a", "b", "b"], 0.5, "only 0 found a partner .*: give object sets that overlap"),
    ],
)
def test_impossible_requests_say_what_is_possible(sets, ratio, message):
    matrix, _ = object_matrix([list(names) for names in sets])
    with pytest.raises(ValueError, match=rf"^ratio={ratio} at caption level .*{message}"):
        draw([1, 1, 1, 1], matrix, ratio)


@pytest.mark.parametrize(
    ("object_sets", "message"),
    [
        (np.ones((2, 4), dtype=bool), r"shape \(2, 4\), but the pairs have 3 images"),
        (np.ones(3, dtype=bool), r"shape \(3,\)"),
        (np.ones((3, 2)), "type float64: give booleans"),
        ([[0, 1], [1, 0], [1, 3]], "3 for class 1 at row 2: give 1"),
        ([[0, -1], [1, 0], [1, 1]], "-1 for class 1 at row 0"),
    ],
)
def test_other_object_sets_are_refused(object_sets, message):
    with pytest.raises(ValueError, match=f"object_sets has {message}"):
        draw([1, 1, 1], object_sets, 0.7)


def test_noise_on_noise_is_refused():
    pairs = Pairs(image=[1, 0], source_image=[0, 1])
    with pytest.raises(ValueError, match="2 noisy pairs already"):
        PartialMismatch(1.0).apply(pairs, np.random.default_rng(0), np.ones((2, 1), dtype=bool))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, 40, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio is .* between 0 and 1"):
        PartialMismatch(ratio)


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="choose one of caption, image"):
        PartialMismatch(0.4, level="word")


def test_object_matrix_sorts_the_classes():
    matrix, classes = object_matrix([["dog", "cat", "dog"], [], iter(["bird", "dog"])])
    assert classes == ["bird", "cat", "dog"]
    assert matrix.dtype == bool
    assert matrix.astype(int).tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 1]]


def test_object_matrix_takes_numbers_and_nothing():
    assert object_matrix([[10, 9], {2}])[1] == [2, 9, 10]
    matrix, classes = object_matrix([[], []])
    assert matrix.shape == (2, 0)
    assert classes == []


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([["a"], None], "None at row 1: give a list of classes"),
        (["dog"], "'dog' at row 0"),
        ([["a"], [3]], "cannot be sorted .*: give names only or numbers only"),
    ],
)
def test_lists_that_are_no_sets_are_refused(sets, message):
    with pytest.raises(ValueError, match=f"sets has .*{message}"):
        object_matrix(sets)

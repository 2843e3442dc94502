"""Average precision against loops, scikit-learn and by hand; ties, blocks, memory and refusals."""

import json
import tracemalloc
from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from noisy_xmodal.metrics import (
    average_precision,
    class_retrieval_metrics,
    precision_recall_curve,
    relevant_ranks,
)


def value_in_order(order, wanted, k=None):
    """Average precision of one order of the gallery; 0 where nothing is found."""
    hits = [wanted[item] for item in order[:k]]
    precisions = [sum(hits[:rank]) / rank for rank in range(1, len(hits) + 1) if hits[rank - 1]]
    return sum(precisions) / len(precisions) if precisions else 0.0


def value_by_places(line, wanted, k=None):
    """The mean over all orders of equal scores, place by place; NaN where nothing can be found."""

    def precisions(n, r):  # summed over n places of a group with r relevant ones on them
        before = [j * (r - 1) / max(n - 1, 1) for j in range(n)]
        return sum(r / n * (found + 1 + before[j]) / (rank + 1 + j) for j in range(n))

    k = len(line) if k is None else k
    found, total, rank = 0, 0.0, 0
    for level in sorted(set(line), reverse=True):
        own = [bool(w) for value, w in zip(line, wanted, strict=True) if value == level]
        n, r, places = len(own), sum(own), min(len(own), k - rank)
        if places < n:
            if not places or not found + r:
                break
            ways = [comb(r, x) * comb(n - r, places - x) for x in range(min(r, places) + 1)]
            values = [(total + precisions(places, x)) / max(found + x, 1) for x in range(len(ways))]
            return np.dot(ways, values) / sum(ways)
        total += precisions(n, r)
        found, rank = found + r, rank + n
    return total / found if found else np.nan


def mean_value(scores, query_labels, gallery_labels, k=None):
    lines = zip(scores, query_labels, strict=True)
    values = [value_by_places(line, gallery_labels == label, k) for line, label in lines]
    return np.mean(np.nan_to_num(values))


def precisions_at_ends(line, wanted):
    """Precision and recall behind each group of equal scores that has something relevant."""
    found = []
    for value in sorted(set(np.asarray(line)[wanted]), reverse=True):
        taken = np.asarray(line) >= value
        found.append((wanted[taken].mean(), wanted[taken].sum() / wanted.sum()))
    return found


def small_problem(seed, n_images=23, n_texts=17, n_classes=4):
    """Embeddings of one entry 1 or -1 each: unit vectors with exact products and many ties."""
    rng = np.random.default_rng(seed)
    axis, sign = np.eye(8, dtype=np.float32), np.array([-1, 1], dtype=np.float32)
    embeds = [
        axis[rng.integers(0, 8, n)] * rng.choice(sign, (n, 1)) * 2.0 ** rng.integers(-3, 4, (n, 1))
        for n in (n_images, n_texts)
    ]
    labels = [rng.integers(0, n_classes, n) for n in (n_images, n_texts)]
    return (*embeds, *labels)


def by_places(scores, relevant, k=None):
    return [value_by_places(*line, k) for line in zip(scores, relevant, strict=True)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [None, 1, 2, 4, 6])
def test_equal_scores_count_as_the_mean_over_all_their_orders(seed, k):
    rng = np.random.default_rng(seed)
    line, wanted = rng.integers(0, 3, 7), rng.random(7) < 0.5
    orders = [
        order
        for order in permutations(range(7))
        if all(line[one] >= line[other] for one, other in pairwise(order))
    ]
    assert len(orders) > 1
    expected = np.mean([value_in_order(order, wanted, k) for order in orders])
    (value,) = average_precision(line[None], wanted[None], k)
    assert np.nan_to_num(value) == pytest.approx(expected)
    assert np.isnan(value) == (expected == 0)
    assert np.nan_to_num(value_by_places(line, wanted, k)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("k", [None, 1, 5, 20, 1000])
def test_values_agree_with_a_walk_over_the_places(seed, decimals, k):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(12, 25))
    scores = scores if decimals is None else np.round(scores, decimals)
    relevant = rng.random((12, 25)) < rng.random((12, 1))
    values = average_precision(scores, relevant, k)
    np.testing.assert_allclose(values, by_places(scores, relevant, k), rtol=1e-9)


@pytest.mark.parametrize("k", [None, 1, 50, 300])
@pytest.mark.parametrize("levels", [1, 2, 40, 10_000])
def test_the_order_of_the_gallery_says_nothing(levels, k):
    rng = np.random.default_rng(0)
    scores, relevant = rng.integers(0, levels, (6, 400)), rng.random((6, 400)) < 0.2
    order = np.argsort(~relevant[0], kind="stable")  # the relevant ones of a query first
    values = average_precision(scores, relevant, k)
    np.testing.assert_allclose(average_precision(scores[:, order], relevant[:, order], k), values)
    if levels == 1 and k is None:
        np.testing.assert_allclose(values, relevant.mean(axis=1), atol=0.02)


def test_metrics_and_curves_of_a_constant_model_do_not_depend_on_the_order():
    labels = np.repeat(np.arange(8), 40)
    order = np.random.default_rng(0).permutation(320)
    ones = np.ones((320, 24), dtype=np.float32) / 3
    in_order, mixed = (
        class_retrieval_metrics(ones, ones, given, given) for given in (labels, labels[order])
    )
    assert in_order == pytest.approx(mixed)
    assert in_order["map"] == pytest.approx(1 / 8, abs=0.02)
    curves = [precision_recall_curve(ones, ones, given, given) for given in (labels, labels[order])]
    assert curves[0] == curves[1]
    assert curves[0]["i2t_precision"] == pytest.approx([1 / 8] * 11)


@pytest.mark.parametrize(
    ("scale", "outlier"),
    [(1, 0), (1, 1e3), (1, -1e6), (1, 1e30), (1, np.inf), (1e-44, 0), (3e37, -3e38), (0, 0)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_any_range_are_exact(scale, outlier, dtype):
    # Next to an outlier all other scores fall together; without one many are close.
    rng = np.random.default_rng(0)
    scores = (scale * rng.normal(size=(4, 60))).astype(dtype)
    scores[2:, 7], scores[3, 8] = outlier, -outlier
    scores[:, 20:40] = np.nextafter(scores[:, :20], dtype(np.inf))
    relevant = rng.random((4, 60)) < 0.1
    with np.errstate(all="raise", under="ignore"):
        values = average_precision(scores, relevant)
    np.testing.assert_allclose(values, by_places(scores, relevant), rtol=1e-9)


@pytest.mark.parametrize("block_entries", [1, 50, 2**17])
@pytest.mark.parametrize("max_collisions", [0, 1e9])
def test_parts_and_ways_of_sorting_agree(block_entries, max_collisions, monkeypatch):
    monkeypatch.setattr(relevant_ranks, "_BLOCK_ENTRIES", block_entries)
    monkeypatch.setattr(relevant_ranks, "_MAX_COLLISIONS", max_collisions)
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(9, 30)), 1)
    relevant = rng.random((9, 30)) < rng.random((9, 1))
    values = average_precision(scores, relevant)
    np.testing.assert_allclose(values, by_places(scores, relevant), rtol=1e-9)


def test_ties_of_all_with_all_need_little_memory():
    scores = np.zeros((4, 1000), dtype=np.float32)
    scores[:, 0] = 1
    tracemalloc.start()
    values = average_precision(scores, np.ones(scores.shape, dtype=bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.tolist() == [1] * 4
    assert peak < 4_000_000  # pairs of all with all would be as many numbers of 8 bytes


def test_a_large_gallery_agrees_with_a_plain_sort():
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(200_000, dtype=np.float32), (3, 1)), axis=1)
    relevant = rng.random(scores.shape) < 0.05
    found = np.take_along_axis(relevant, np.argsort(-scores, axis=1, kind="stable"), axis=1)
    expected = [
        np.mean(np.arange(1, line.sum() + 1) / (1 + np.flatnonzero(line))) for line in found
    ]
    np.testing.assert_allclose(average_precision(scores, relevant), expected, rtol=1e-12)


def test_more_queries_than_16_bits_can_number():
    relevant = np.arange(70_000)[:, None] % 3 > 0
    values = average_precision(np.zeros((70_000, 1)), relevant)
    np.testing.assert_array_equal(values, np.where(relevant[:, 0], 1, np.nan))
    assert average_precision(np.zeros((3, 0)), np.zeros((3, 0), dtype=bool)).shape == (3,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_distinct_scores_agree_with_scikit_learn(dtype):
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(300, dtype=dtype), (20, 1)), axis=1)
    relevant = rng.random((20, 300)) < 0.2
    expected = [average_precision_score(*line) for line in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(average_precision(scores, relevant), expected)


def test_values_by_hand():
    scores = [[0.9, 0.8, 0.7, 0.6, 0.5]]
    relevant = np.array([[True, False, True, False, True]])
    assert average_precision(scores, relevant) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision(scores, relevant, 4) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, relevant, 1) == 1
    assert average_precision(scores, ~relevant) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert np.isnan(average_precision(scores, ~relevant, 1)).all()


def test_equal_scores_by_hand():
    relevant = np.array([[True, False, False], [False, False, True]])
    thirds = (1 + 1 / 2 + 1 / 3) / 3  # one relevant item at each of three places
    assert average_precision(np.zeros((2, 3)), relevant) == pytest.approx([thirds, thirds])
    values = average_precision([[0.0, -0.0, np.inf]] * 2, relevant)
    assert values == pytest.approx([(1 / 2 + 1 / 3) / 2, 1])
    assert average_precision(np.zeros((2, 3)), relevant, 1) == pytest.approx([1 / 3, 1 / 3])


def test_nothing_relevant_is_nan():
    values = average_precision(np.zeros((2, 1)), [[False], [True]])
    assert np.isnan(values[0])
    assert values[1] == 1
    assert average_precision(np.zeros((0, 3)), np.zeros((0, 3), dtype=bool)).shape == (0,)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("block_size", [1, 5, 23, 1000])
def test_metrics_agree_with_a_walk_for_all_block_sizes(seed, block_size):
    images, texts, image_labels, text_labels = problem = small_problem(seed)
    metrics = class_retrieval_metrics(*problem, cutoffs=(3, 50), block_size=block_size)
    scores = np.sign(images) @ np.sign(texts).T
    for k, suffix in ((None, ""), (3, "_3"), (50, "_50")):
        i2t = mean_value(scores, image_labels, text_labels, k)
        t2i = mean_value(scores.T, text_labels, image_labels, k)
        assert metrics[f"i2t_map{suffix}"] == pytest.approx(i2t)
        assert metrics[f"t2i_map{suffix}"] == pytest.approx(t2i)
    assert metrics == class_retrieval_metrics(*problem, cutoffs=(3, 50), block_size=7)


def test_names_and_types():
    metrics = class_retrieval_metrics(*small_problem(0))
    assert list(metrics) == ["i2t_map", "t2i_map", "map", "i2t_map_50", "t2i_map_50"]
    assert metrics["map"] == pytest.approx((metrics["i2t_map"] + metrics["t2i_map"]) / 2)
    assert all(type(value) is float for value in metrics.values())
    # A cutoff beyond the gallery is the whole list.
    assert metrics["i2t_map_50"] == metrics["i2t_map"]


def test_perfect_embeddings_reach_one():
    labels = np.array([0, 1, 2, 0, 1, 2])
    metrics = class_retrieval_metrics(7 * np.eye(3)[labels], np.eye(3)[labels], labels, labels)
    assert set(metrics.values()) == {1.0}
    assert class_retrieval_metrics([[2.0]], [[3.0]], [4], [4])["map"] == 1


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1, 1e30, 1e300])
def test_length_does_not_matter_and_zeros_stay(scale):
    images, texts, image_labels, text_labels = small_problem(1)
    images[3] = 0
    expected = class_retrieval_metrics(images, texts, image_labels, text_labels)
    scaled = texts.astype(np.float64) * scale
    assert class_retrieval_metrics(images, scaled, image_labels, text_labels) == expected


def test_queries_without_relevant_items_count_as_zero_or_are_left_out():
    images, texts = np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 1]]
    problem = (images, texts, [0, 1, 9], [0, 1])
    assert class_retrieval_metrics(*problem)["i2t_map"] == pytest.approx(2 / 3)
    assert class_retrieval_metrics(*problem, no_relevant="skip")["i2t_map"] == 1
    # What a cutoff hides is a failure, and no query without an answer.
    swapped = (images, texts, [1, 0, 9], [0, 1])
    metrics = class_retrieval_metrics(*swapped, cutoffs=(1,), no_relevant="skip")
    assert metrics["i2t_map_1"] == 0
    assert metrics["i2t_map"] == 0.5
    strangers = (images, texts, [7, 8, 9], [0, 1])
    assert set(class_retrieval_metrics(*strangers).values()) == {0.0}
    with pytest.raises(ValueError, match="i2t: none of 3 queries"):
        class_retrieval_metrics(*strangers, no_relevant="skip")


def test_the_whole_table_is_never_in_memory():
    rng = np.random.default_rng(0)
    images, texts = (rng.normal(size=(n, 8)).astype(np.float32) for n in (3000, 2000))
    labels = [rng.integers(0, 50, n) for n in (3000, 2000)]
    tracemalloc.start()
    class_retrieval_metrics(images, texts, *labels, block_size=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 2000 * 4 / 8


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [None, (0.07, 0.29, 0.3, 0.7, 1.0)])
def test_curve_agrees_with_loops(seed, levels):
    images, texts, image_labels, text_labels = problem = small_problem(seed, 40, 130)
    options = {} if levels is None else {"recall_levels": levels}
    curve = precision_recall_curve(*problem, **options, block_size=9)
    scores = np.sign(images) @ np.sign(texts).T
    queries = {
        "i2t": (scores, image_labels, text_labels),
        "t2i": (scores.T, text_labels, image_labels),
    }
    for way, (table, asked, given) in queries.items():
        lines = [
            precisions_at_ends(line, given == label)
            for line, label in zip(table, asked, strict=True)
        ]
        for level, value in zip(curve["recall"], curve[f"{way}_precision"], strict=True):
            best = [
                max(p for p, recall in line if recall >= level - 1e-12) for line in lines if line
            ]
            assert value == pytest.approx(np.mean(best))
    assert json.loads(json.dumps(curve)) == curve


def test_curve_by_hand():
    scores = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    curve = precision_recall_curve(scores[:1], scores, [1], [0, 1, 0, 1], (0.0, 0.5, 0.6, 1.0))
    assert curve["recall"] == [0.0, 0.5, 0.6, 1.0]
    assert curve["i2t_precision"] == [0.5] * 4  # relevant at ranks 2 and 4
    assert curve["t2i_precision"] == [1.0] * 4  # texts of class 0 have no image


def test_curve_falls():
    curve = precision_recall_curve(*small_problem(2))
    for way in ("i2t", "t2i"):
        assert (np.diff(curve[f"{way}_precision"]) <= 0).all()
    assert curve["recall"] == [i / 10 for i in range(11)]


@pytest.mark.parametrize(
    ("scores", "relevant", "k", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2), bool), None, r"relevant \(2, 2\)"),
        (np.zeros(3), np.zeros(3, bool), None, r"\(n_queries, n_gallery\)"),
        (np.zeros((1, 2)), [[1, 0]], None, "relevant as booleans"),
        ([["a"]], [[True]], None, "give real numbers"),
        ([[0.0, 1.0], [0.0, np.nan]], [[True, False]] * 2, None, "at query 1 and item 1"),
        ([[0.0]], [[True]], 0, "a cutoff is 0"),
    ],
)
def test_bad_scores_are_refused(scores, relevant, k, message):
    with pytest.raises(ValueError, match=message):
        average_precision(scores, relevant, k)


@pytest.mark.parametrize("function", [class_retrieval_metrics, precision_recall_curve])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_embeds": np.zeros(4)}, r"image_embeds has shape \(4,\)"),
        ({"text_embeds": np.zeros((0, 2)), "text_labels": []}, "text_embeds .* at least one row"),
        ({"text_embeds": np.ones((2, 3))}, "image_embeds has 2 dimensions and text_embeds 3"),
        ({"text_labels": [0]}, r"text_labels \(1,\)"),
        ({"image_labels": [0.0, 1.0]}, "image_labels has type float64"),
        ({"text_labels": [0, -1]}, "text_labels is -1 in row 1"),
        ({"image_embeds": [[1, 1], [np.nan, 1]]}, "image_embeds is not finite in 1 rows, .* row 1"),
        ({"text_embeds": [[np.inf, 1], [np.nan, 1]]}, "text_embeds is not finite in 2 .* row 0"),
        ({"text_embeds": np.array([["a", "b"]] * 2)}, "text_embeds has type <U1"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_bad_sides_are_refused(function, changes, message):
    sides = {
        "image_embeds": np.eye(2),
        "text_embeds": np.eye(2),
        "image_labels": [0, 1],
        "text_labels": [0, 1],
    }
    with pytest.raises(ValueError, match=message):
        function(**(sides | changes))


def test_bad_options_are_refused():
    problem = small_problem(0)
    with pytest.raises(ValueError, match="a cutoff is 0"):
        class_retrieval_metrics(*problem, cutoffs=(50, 0))
    with pytest.raises(ValueError, match="no_relevant is 'nan'"):
        class_retrieval_metrics(*problem, no_relevant="nan")
    for levels in ((), (-0.1,), (0.5, 1.5), (np.nan,)):
        with pytest.raises(ValueError, match="recall_levels"):
            precision_recall_curve(*problem, recall_levels=levels)
    with pytest.raises(ValueError, match="none of 2 queries"):
        precision_recall_curve(np.eye(2), np.eye(2), [0, 1], [2, 3])

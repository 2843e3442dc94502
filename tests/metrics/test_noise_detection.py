"""Detection of noisy pairs against scikit-learn and by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from noisy_xmodal.metrics import detection_metrics
from noisy_xmodal.metrics.noise_detection import ranking_metrics


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_values_agree_with_scikit_learn(seed, ties):
    rng = np.random.default_rng(seed)
    is_noisy = rng.random(300) < 0.3
    probability = np.clip(rng.normal(0.7 - 0.3 * is_noisy, 0.25), 0, 1)
    if ties:
        probability = np.round(probability, 1)
    is_clean = probability >= 0.5
    metrics = detection_metrics(probability, is_noisy, is_clean)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(is_noisy, -probability))
    assert metrics["precision"] == pytest.approx(precision_score(is_noisy, ~is_clean))
    assert metrics["recall"] == pytest.approx(recall_score(is_noisy, ~is_clean))
    assert metrics["share_noisy"] == pytest.approx(1 - is_clean.mean())
    assert metrics["true_share_noisy"] == pytest.approx(is_noisy.mean())
    json.dumps(metrics)


def test_good_scores_are_low_for_noisy_pairs():
    is_noisy = np.array([True, False, False])
    metrics = detection_metrics([0.1, 0.8, 0.9], is_noisy, ~is_noisy)
    assert metrics == {
        "auroc": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "share_noisy": pytest.approx(1 / 3),
        "true_share_noisy": pytest.approx(1 / 3),
    }


def test_equal_scores_are_a_coin():
    assert detection_metrics([0.5] * 4, [True, False, False, False], [True] * 4)["auroc"] == 0.5


@pytest.mark.parametrize("noisy", [False, True])
def test_one_class_alone_has_no_auroc(noisy):
    metrics = detection_metrics([0.2, 0.9], [noisy, noisy], [True, True])
    assert metrics["auroc"] is None
    assert metrics["precision"] is None
    assert metrics["recall"] == (0.0 if noisy else None)


@pytest.mark.parametrize(
    ("probability", "is_noisy", "is_clean", "message"),
    [
        ([0.1, np.nan], [True, False], [True, True], "not a number for 1 pairs, first pair 1"),
        ([0.1, 0.2], [True], [True, True], "is_noisy has shape"),
        ([0.1, 0.2], [1, -1], [True, True], "is_noisy .* int64: give booleans"),
        ([0.1, 0.2], [True, None], [True, True], "truth is unknown"),
        ([0.1, 0.2], [True, False], [0.9, 0.1], "is_clean"),
        ([], [], [], "at least one pair"),
    ],
)
def test_bad_inputs_are_refused(probability, is_noisy, is_clean, message):
    with pytest.raises(ValueError, match=message):
        detection_metrics(probability, is_noisy, is_clean)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [40, 130, 700])
def test_rankings_agree_with_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    is_noisy = rng.random(n) < 0.3
    doubt = rng.normal(is_noisy.astype(float), 1.0)
    metrics = ranking_metrics(doubt, is_noisy)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(is_noisy, doubt))
    assert metrics["average_precision"] == pytest.approx(average_precision_score(is_noisy, doubt))
    order = np.argsort(-doubt)
    for depth in (100, 500):
        expected = is_noisy[order[:depth]].mean() if n >= depth else None
        assert metrics[f"precision_at_{depth}"] == expected
    assert metrics["true_share"] == pytest.approx(is_noisy.mean())
    json.dumps(metrics)


def test_rankings_of_equal_doubt_are_in_the_order_of_the_pairs():
    metrics = ranking_metrics([1.0, 1.0, 1.0, 2.0], np.array([False, True, False, True]))
    assert metrics["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert metrics["auroc"] == pytest.approx(0.75)


@pytest.mark.parametrize("noisy", [True, False])
def test_rankings_of_one_kind_have_no_auroc(noisy):
    metrics = ranking_metrics([0.1, 0.2], np.full(2, noisy))
    assert metrics["auroc"] is None
    assert metrics["average_precision"] == (1.0 if noisy else None)
    assert metrics["true_share"] == float(noisy)


@pytest.mark.parametrize(
    ("doubt", "is_noisy", "message"),
    [
        ([], np.array([], bool), "doubt has shape"),
        ([[0.1]], np.array([[True]]), "doubt has shape"),
        ([np.nan, 1.0], np.array([True, False]), "not a number|flat array of numbers"),
        ([0.1, 0.2], np.array([True]), "is_noisy has shape"),
        ([0.1, 0.2], np.array([0, 1]), "is_noisy has shape"),
    ],
)
def test_rankings_of_other_things_are_refused(doubt, is_noisy, message):
    with pytest.raises(ValueError, match=message):
        ranking_metrics(doubt, is_noisy)

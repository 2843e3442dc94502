"""Detection of noisy pairs against scikit-learn and by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from noisy_xmodal.metrics import detection_metrics


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
        ([0.1, 0.2], [True, None], [True, True], "unknown truth"),
        ([0.1, 0.2], [True, False], [0.9, 0.1], "is_clean"),
        ([], [], [], "at least one pair"),
    ],
)
def test_bad_inputs_are_refused(probability, is_noisy, is_clean, message):
    with pytest.raises(ValueError, match=message):
        detection_metrics(probability, is_noisy, is_clean)

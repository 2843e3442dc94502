"""Metrics of noise detection, for data with known noise."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def detection_metrics(
    clean_probability: ArrayLike, is_noisy: ArrayLike, is_clean: ArrayLike
) -> dict[str, float | None]:
    """Compare predicted and true noise; noisy pairs are the positive class.

    Args:
        clean_probability: Probability that each pair is clean, or any score that is higher for
            cleaner pairs (the negative loss), (n,).
        is_noisy: True where a pair is noisy, (n,), bool.
        is_clean: True where a pair was predicted to be clean, (n,), bool.

    Returns:
        `auroc`: Probability that a noisy pair scores below a clean one, ties counting half; None
            if all pairs are noisy or all are clean.
        `precision`: Share of noisy pairs among those predicted noisy; None if there are none.
        `recall`: Share of pairs predicted noisy among the noisy; None if there are none.
        `share_noisy`: Share of pairs predicted noisy.
        `true_share_noisy`: Share of noisy pairs.

    Raises:
        ValueError: If the arrays are empty, differ in length or have the wrong type, or a score is
            not a number.
    """
    scores = np.asarray(clean_probability, dtype=np.float64)  # (n,)
    noisy = _boolean(is_noisy, "is_noisy", scores.shape)  # (n,)
    predicted_noisy = ~_boolean(is_clean, "is_clean", scores.shape)  # (n,)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(
            f"clean_probability has shape {scores.shape}: give a flat array with at least one pair"
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"clean_probability is not a number for {int(np.isnan(scores).sum())} pairs, first "
            f"pair {int(np.isnan(scores).argmax())}: score all pairs"
        )
    n_correct = int((noisy & predicted_noisy).sum())
    n_noisy, n_predicted = int(noisy.sum()), int(predicted_noisy.sum())
    return {
        "auroc": _auroc(-scores, noisy),
        "precision": n_correct / n_predicted if n_predicted else None,
        "recall": n_correct / n_noisy if n_noisy else None,
        "share_noisy": n_predicted / len(scores),
        "true_share_noisy": n_noisy / len(scores),
    }


def _auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve by the rank sum of the positives (Mann-Whitney)."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    rank_sum = float(rankdata(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _boolean(values: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.shape != shape or (array.size and array.dtype != np.bool_):
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}: "
            f"give booleans of shape {shape}, one per pair (leave out pairs whose truth is unknown)"
        )
    return array.astype(np.bool_)


def ranking_metrics(doubt: ArrayLike, is_noisy: ArrayLike) -> dict[str, float | None]:
    """Metrics of a ranking of the pairs, most doubtful first; noisy pairs are relevant.

    Args:
        doubt: Higher for pairs that are more likely wrong, (n,); ties keep the order of the pairs.
        is_noisy: True where a pair is noisy, (n,), bool.

    Returns:
        `auroc` as in `detection_metrics`; `average_precision`: mean of the precisions at the noisy
        pairs, None if there are none; `precision_at_100` and `precision_at_500`: share of noisy
        pairs among the first 100 and 500, None if there are fewer pairs; `true_share`.

    Raises:
        ValueError: If the arrays are empty, differ in length or have the wrong type.
    """
    scores = np.asarray(doubt, dtype=np.float64)  # (n,)
    noisy = _boolean(is_noisy, "is_noisy", scores.shape)  # (n,)
    if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise ValueError(f"doubt has shape {scores.shape}: give a flat array of numbers")
    ranked = noisy[np.argsort(-scores, kind="stable")]  # (n,)
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)  # (n,)
    return {
        "auroc": _auroc(scores, noisy),
        "average_precision": float(precision[ranked].mean()) if ranked.any() else None,
        "precision_at_100": float(precision[99]) if len(ranked) >= 100 else None,
        "precision_at_500": float(precision[499]) if len(ranked) >= 500 else None,
        "true_share": float(noisy.mean()),
    }

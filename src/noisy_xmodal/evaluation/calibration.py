"""Calibration of scores to the probability that an image and a text match.

The score of a two-tower model or a cross-modal head is not a probability. Platt scaling converts
it, fitted to the scores of pairs and of the same images with texts of other images.

Source: Platt, "Probabilistic outputs for support vector machines", 1999.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data import LabelDataset, PairDataset
from ..data.columns import IMAGE_ID, IMAGE_LABEL, column_values
from ..data.lazy_rows import LazyRows
from ..modules.list_inputs import check_list
from .scoring import pair_scores

_MAX_PAIRS = 2_000


def fit_match_probability(matched: ArrayLike, mismatched: ArrayLike) -> tuple[float, float]:
    """Fit p(match) = sigmoid(scale * score + bias) with a prior of 1/2.

    Matched and mismatched pairs have equal total weight. Platt's targets keep the scale finite for
    separable scores.

    Args:
        matched: Scores of pairs, (n_matched,).
        mismatched: Scores of images with texts of other images, (n_mismatched,).

    Returns:
        Scale and bias.

    Raises:
        ValueError: If a score is not finite or all scores are equal.
    """
    from sklearn.linear_model import LogisticRegression

    positive = _check_scores(matched, "matched")  # (n_matched,)
    negative = _check_scores(mismatched, "mismatched")  # (n_mismatched,)
    scores = np.concatenate([positive, negative])  # (n,)
    mean, std = float(scores.mean()), float(scores.std())
    if std <= 1e-6 * max(1.0, abs(mean)):
        raise ValueError(
            f"all {len(scores)} scores are {mean:.6g}: the model does not distinguish the pairs. "
            "Train it, or look for a diverged run"
        )
    n = np.repeat([len(positive), len(negative)], [len(positive), len(negative)])  # (n,)
    is_positive = np.arange(len(scores)) < len(positive)  # (n,)
    targets = np.where(is_positive, n + 1, 1) / (n + 2)  # (n,), Platt's
    weights = np.concatenate([targets / n, (1 - targets) / n]) * len(scores) / 2  # (2 n,)
    standardised = np.tile((scores - mean) / std, 2)[:, None]  # (2 n, 1)
    classes = np.repeat([1, 0], len(scores))  # (2 n,)
    regression = LogisticRegression(C=1e6).fit(standardised, classes, sample_weight=weights)
    scale = float(regression.coef_[0, 0]) / std
    return scale, float(regression.intercept_[0]) - scale * mean


def _check_scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"`{name}` has the shape {array.shape}: give at least one score, (n,)")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"`{name}` has {len(bad)} scores that are not finite, the first at {bad[0]}: "
            "look for a diverged model"
        )
    return array


def calibrate(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[Any],
    groups: Sequence[Any] | NDArray,
    seed: int = 0,
    text_groups: Sequence[Any] | NDArray | None = None,
) -> None:
    """Fit the match probability of a model on pairs and save it in the model's config.

    A noisy pair counts as a match, and a matching text of another group as a mismatch, so
    probabilities are less extreme with more noise. The prior probability of a match is 1/2; where
    matches are rarer, as in a search, the probabilities are too high.

    Args:
        model: A matching model; `match_scale` and `match_bias` of its config are set.
        processor: Its processor.
        images: Image of each pair, as for `pair_scores`. The pairs should not be training pairs.
        texts: Text of each pair.
        groups: Group of each pair, such as its image id or class, (n_pairs,). Each image is scored
            with its own text and with a text of another group.
        seed: Seed of the choice of the other text.
        text_groups: Group of each text, if it may differ from that of the image.

    Raises:
        ValueError: If all pairs have one group, the model's score is already a log-odds, or its
            scores are not finite or all equal.
    """
    if not hasattr(model.config, "match_scale"):
        raise ValueError(
            f"the score of {type(model).__name__} is already the log-odds of a match: it needs no "
            "calibration"
        )
    check_list(texts, "texts")
    text_groups = groups if text_groups is None else text_groups
    if not len(groups) == len(text_groups) == len(texts):
        raise ValueError(
            f"there are {len(texts)} texts and {len(groups)} groups: give one group per pair"
        )
    others = _texts_of_other_groups(groups, text_groups, seed)  # (n_pairs,)
    matched = pair_scores(model, processor, images, texts)  # (n_pairs,)
    mismatched = pair_scores(model, processor, images, [texts[i] for i in others.tolist()])
    scale, bias = fit_match_probability(matched, mismatched)
    if scale <= 0:
        warnings.warn(
            f"pairs score {matched.mean():.4g} on average and mismatched pairs "
            f"{mismatched.mean():.4g}: the model does not find matches, and its match probability "
            "is useless",
            stacklevel=2,
        )
    model.config.match_scale, model.config.match_bias = scale, bias


def _texts_of_other_groups(
    image_groups: Sequence[Any] | NDArray, text_groups: Sequence[Any] | NDArray, seed: int
) -> NDArray[np.int64]:
    """For each image the position of a random text of another group, (n_pairs,)."""
    images, texts = np.asarray(image_groups), np.asarray(text_groups)  # (n_pairs,) each
    order = np.argsort(texts, kind="stable")
    first = np.searchsorted(texts[order], images, side="left")  # (n_pairs,)
    n_own = np.searchsorted(texts[order], images, side="right") - first
    n_others = len(texts) - n_own
    if not n_others.all():
        raise ValueError(
            f"all {len(texts)} texts are of the group '{texts[0]}': calibration needs texts of "
            "another group"
        )
    place = np.random.default_rng(seed).integers(n_others)  # (n_pairs,), among the others
    return order[place + np.where(place >= first, n_own, 0)]


def calibrate_on(
    model: Any,
    processor: Any,
    rows: datasets.Dataset | PairDataset | LabelDataset,
    seed: int = 0,
    max_pairs: int = _MAX_PAIRS,
) -> None:
    """Calibrate on a random sample of the pairs of a split, see `calibrate`.

    Args:
        model: A matching model; its config is set.
        processor: Its processor.
        rows: A split by the column contract, such as the validation split. The groups are its
            classes for a common-space model, if it has them, else its images.
        seed: Seed of the sample and of the other texts.
        max_pairs: Maximum number of pairs.

    Raises:
        DatasetError: If the split breaks the column contract.
        ValueError: See `calibrate`.
    """
    if isinstance(rows, datasets.Dataset):
        rows = _as_pairs(model, rows)
    sample = np.arange(len(rows))
    if len(sample) > max_pairs:
        sample = np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_pairs])
    images: Any
    texts: Any
    if isinstance(rows, LabelDataset):
        groups, text_groups = rows.image_labels[sample], rows.text_labels[sample]
        if rows.has_features or _reads_vectors(model):
            images, texts = list(rows.image_features[sample]), list(rows.text_features[sample])
        else:
            images, texts = _lazy(rows.pictures, sample), rows.texts(sample)
        calibrate(model, processor, images, texts, groups, seed, text_groups)
        return
    captions, row_of_pair = rows.captions(), rows.row_of_pair[sample]
    image_ids = np.asarray(column_values(rows.dataset, IMAGE_ID))[row_of_pair]
    images, texts = _lazy(rows.visuals, row_of_pair), [captions[i] for i in sample.tolist()]
    calibrate(model, processor, images, texts, image_ids, seed)


def _as_pairs(model: Any, rows: datasets.Dataset) -> PairDataset | LabelDataset:
    if not _is_common_space(model) or IMAGE_LABEL not in rows.column_names:
        return PairDataset(rows)
    pairs = LabelDataset(rows)
    return pairs if _reads_vectors(model) else pairs.without_features()


def _is_common_space(model: Any) -> bool:
    return hasattr(model.config, "n_classes")


def _reads_vectors(model: Any) -> bool:
    return _is_common_space(model) and model.config.backbone_config is None


def _lazy(read: Callable[[list[int]], list[Any]], rows: NDArray[np.int64]) -> LazyRows:
    """Images of some rows, read when they are indexed."""
    return LazyRows(lambda positions: read(rows[positions].tolist()), len(rows))

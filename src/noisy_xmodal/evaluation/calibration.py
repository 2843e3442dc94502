"""What a score says of a pair: the probability that its image and its text match.

The score of a two-tower model or an attention head is no probability. Platt scaling turns it into
one, from the scores of pairs and of the same images with the texts of others.

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
from ..modules.list_inputs import check_list
from .pair_scores import pair_scores

_MOST_PAIRS = 2_000


def fit_match_probability(own: ArrayLike, strangers: ArrayLike) -> tuple[float, float]:
    """Fit p(match) = sigmoid(scale * score + bias), a match as likely beforehand as none.

    Both kinds weigh the same whatever their number, and the targets are Platt's, which keep the
    scale finite where the two are told apart without a mistake.

    Args:
        own: Scores of pairs, (n_own,).
        strangers: Scores of images with the texts of others, (n_strangers,).

    Returns:
        Scale and bias.

    Raises:
        ValueError: If a score is not finite, or all are the same.
    """
    from sklearn.linear_model import LogisticRegression

    sides = _checked(own, "own"), _checked(strangers, "strangers")
    scores = np.concatenate(sides)  # (n,)
    center, spread = float(scores.mean()), float(scores.std())
    if spread <= 1e-6 * max(1.0, abs(center)):
        raise ValueError(
            f"all {len(scores)} scores are {center:.6g}: the model tells no pair from another. "
            "Train it, or look for a diverged run"
        )
    n_own, n_strangers = map(len, sides)
    match = np.concatenate(
        [
            np.full(n_own, (n_own + 1) / (n_own + 2)),
            np.full(n_strangers, 1 / (n_strangers + 2)),
        ]
    )  # (n,), Platt's targets
    share = np.concatenate([np.full(n_own, 1 / n_own), np.full(n_strangers, 1 / n_strangers)])
    weights = np.concatenate([match * share, (1 - match) * share]) * len(scores) / 2  # (2 n,)
    standard = np.tile((scores - center) / spread, 2)[:, None]  # (2 n, 1)
    classes = np.repeat([1, 0], len(scores))  # (2 n,)
    fitted = LogisticRegression(C=1e6).fit(standard, classes, sample_weight=weights)
    scale = float(fitted.coef_[0, 0]) / spread
    return scale, float(fitted.intercept_[0]) - scale * center


def _checked(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"`{name}` has the shape {array.shape}: give at least one score, (n,)")
    broken = np.flatnonzero(~np.isfinite(array))
    if len(broken):
        raise ValueError(
            f"`{name}` has {len(broken)} scores that are not finite, the first at {broken[0]}: "
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
    """Measure on pairs what a score of the model says, and keep it in the model's config.

    The probability is that of these pairs: a wrong pair among them counts as a match, and a text
    of another group that happens to suit an image as none, so much noise makes it too careful. It
    takes a match to be as likely beforehand as none; where matches are rarer, as in a search, it is
    too high.

    Args:
        model: A matching model; `match_scale` and `match_bias` of its config are set.
        processor: Its processor.
        images: Image of each pair, as for `pair_scores`; pairs that the model was not trained on.
        texts: Text of each pair.
        groups: Which pairs belong together, such as image ids or classes, (n_pairs,): an image is
            scored once with its own text and once with that of another group.
        seed: Seed of the choice of the other text.
        text_groups: Where a text may be of another group than its image, the texts' own.

    Raises:
        ValueError: If all pairs are of one group, the model's score is a log-odds already, or its
            scores are not finite or all the same.
    """
    if not hasattr(model.config, "match_scale"):
        raise ValueError(
            f"the score of {type(model).__name__} is the log-odds of a match already: it needs no "
            "calibration"
        )
    check_list(texts, "texts")
    text_groups = groups if text_groups is None else text_groups
    if not len(groups) == len(text_groups) == len(texts):
        raise ValueError(f"found {len(texts)} texts and {len(groups)} groups: give a group a pair")
    chosen = _strangers(groups, text_groups, seed)  # (n_pairs,)
    own = pair_scores(model, processor, images, texts)  # (n_pairs,)
    strangers = pair_scores(model, processor, images, [texts[at] for at in chosen.tolist()])
    scale, bias = fit_match_probability(own, strangers)
    if scale <= 0:
        warnings.warn(
            f"own texts score {own.mean():.4g} on average and others' {strangers.mean():.4g}: the "
            "model does not find matches, and its probability of one is of no use",
            stacklevel=2,
        )
    model.config.match_scale, model.config.match_bias = scale, bias


def _strangers(
    image_groups: Sequence[Any] | NDArray, text_groups: Sequence[Any] | NDArray, seed: int
) -> NDArray[np.int64]:
    """For each image the position of a text of another group, each as likely, (n_pairs,)."""
    of_image, of_text = np.asarray(image_groups), np.asarray(text_groups)  # (n_pairs,)
    order = np.argsort(of_text, kind="stable")
    first = np.searchsorted(of_text[order], of_image, side="left")  # (n_pairs,)
    n_own = np.searchsorted(of_text[order], of_image, side="right") - first
    n_others = len(of_text) - n_own
    if not n_others.all():
        raise ValueError(
            f"all {len(of_text)} texts are of the group '{of_text[0]}': calibration needs texts of "
            "another one"
        )
    place = np.random.default_rng(seed).integers(n_others)  # (n_pairs,), among the others
    return order[place + np.where(place >= first, n_own, 0)]


def calibrate_on(
    model: Any,
    processor: Any,
    rows: datasets.Dataset | PairDataset | LabelDataset,
    seed: int = 0,
    max_pairs: int = _MOST_PAIRS,
) -> None:
    """Calibrate on a split, see `calibrate`: at most `max_pairs` of its pairs, drawn at random.

    Args:
        model: A matching model; its config is set.
        processor: Its processor.
        rows: A split by the column contract, such as the validation split. Where it has classes,
            another text is one of another class, else one of another image.
        seed: Seed of both choices.
        max_pairs: The most pairs to score.

    Raises:
        DatasetError: If the split breaks the column contract.
        ValueError: See `calibrate`.
    """
    if isinstance(rows, datasets.Dataset):
        rows = _as_pairs(model, rows)
    chosen = np.arange(len(rows))
    if len(chosen) > max_pairs:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_pairs])
    images: Sequence[Any]
    texts: Sequence[Any]
    if isinstance(rows, LabelDataset):
        groups, text_groups = rows.image_labels[chosen], rows.text_labels[chosen]
        if rows.has_features or model.config.backbone_config is None:
            images, texts = list(rows.image_features[chosen]), list(rows.text_features[chosen])
        else:
            images, texts = _Rows(rows.pictures, chosen), rows.texts(chosen)
        calibrate(model, processor, images, texts, groups, seed, text_groups)
        return
    captions, row_of_pair = rows.captions(), rows.row_of_pair[chosen]
    image_ids = np.asarray(column_values(rows.dataset, IMAGE_ID))[row_of_pair]
    images, texts = _Rows(rows.visuals, row_of_pair), [captions[at] for at in chosen.tolist()]
    calibrate(model, processor, images, texts, image_ids, seed)


def _as_pairs(model: Any, rows: datasets.Dataset) -> PairDataset | LabelDataset:
    if IMAGE_LABEL not in rows.column_names:
        return PairDataset(rows)
    reads_raw = model.config.backbone_config is not None
    return LabelDataset(rows).without_features() if reads_raw else LabelDataset(rows)


class _Rows(Sequence):
    """Images of some rows, read a slice at a time."""

    def __init__(self, read: Callable[[list[int]], list[Any]], rows: NDArray[np.int64]) -> None:
        self._read = read
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        found = self._rows[index]
        return self._read(found.tolist()) if isinstance(index, slice) else self._read([found])[0]

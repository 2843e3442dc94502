"""Re-ranking: a cheap model makes a shortlist for every query, an expensive one puts it in order.

A model that scores an image and a text by a joint pass over both cannot score all pairs of a large
split in reasonable time. It scores the pairs of the shortlists only; whatever is on no shortlist
of a query follows behind it in the order of the cheap model, the retriever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor

from ..data import PairDataset
from ..data.boxes import BOX_SIZE, WithoutBoxes
from ..metrics import metrics_of_ranks, retrieval_metrics, retrieval_ranks
from ..modules.list_inputs import check_list
from .evaluators import RETRIEVAL_WAYS
from .processes import gather_rows, own_rows
from .scoring import ScoringModel, by_length, encoded_blocks, eval_mode, score_matrix

_BLOCK_ROWS = 256


class PairScoringModel(ScoringModel, Protocol):
    """A model that scores single pairs by joint passes; `RcarModel` is one."""

    def score_pairs(self, image: Any, text: Any, pairs: Tensor) -> Tensor:
        """Score pairs of positions (image, text) in two blocks, (n_pairs, 2), to (n_pairs,)."""


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The k best answers to each query, in both directions.

    Args:
        texts_of_image: True where a text is on the shortlist of an image, (n_images, n_texts).
        images_of_text: True where an image is on the shortlist of a text, (n_images, n_texts).
        scores: The retriever's scores, (n_images, n_texts).
        k: The length of a shortlist; where there are fewer answers, it holds them all.
    """

    texts_of_image: NDArray[np.bool_]
    images_of_text: NDArray[np.bool_]
    scores: NDArray[np.floating]
    k: int

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """The pairs that are on a shortlist of either direction, (n_images, n_texts)."""
        return self.texts_of_image | self.images_of_text

    def recall(self, image_of_text: ArrayLike) -> dict[str, float]:
        """How many queries have a right answer on their shortlist: re-ranking cannot find more.

        Args:
            image_of_text: Image row that each text describes, (n_texts,).

        Returns:
            `shortlist_i2t_recall` and `shortlist_t2i_recall`, in percent.
        """
        rows = np.asarray(image_of_text)  # (n_texts,)
        own = rows, np.arange(len(rows))
        found = np.bincount(rows[self.texts_of_image[own]], minlength=len(self.scores)) > 0
        return {
            "shortlist_i2t_recall": 100 * float(found.mean()),
            "shortlist_t2i_recall": 100 * float(self.images_of_text[own].mean()),
        }


def shortlist(scores: NDArray[np.floating], k: int) -> Shortlist:
    """Choose the k best texts of each image and the k best images of each text.

    Of equal scores, the one that stands first is chosen first.

    Args:
        scores: Score of each image with each text, (n_images, n_texts), higher is better; may be
            memory-mapped.
        k: Answers to choose for a query.

    Raises:
        ValueError: If k is below 1, `scores` is no matrix, or a score is not a number.
    """
    if k < 1:
        raise ValueError(f"k is {k}: a shortlist holds at least 1 answer")
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores has shape {scores.shape}: give (n_images, n_texts)")
    return Shortlist(_best(scores, k), _best(scores.T, k).T, scores, k)


def _best(scores: NDArray[np.floating], k: int) -> NDArray[np.bool_]:
    """Marks the k best of each row, of equal ones the first, (n_queries, n_answers)."""
    n_answers = scores.shape[1]
    n_chosen = min(k, n_answers)
    chosen = np.empty(scores.shape, dtype=bool)
    for start in range(0, len(scores), _BLOCK_ROWS):
        block = np.asarray(scores[start : start + _BLOCK_ROWS])  # (n_rows, n_answers)
        if np.isnan(block.min()):
            raise ValueError("scores is not a number somewhere: look for a diverged retriever")
        last = np.partition(block, n_answers - n_chosen, axis=1)[:, [n_answers - n_chosen]]
        better, ties = block > last, block == last  # both (n_rows, n_answers)
        places = n_chosen - better.sum(axis=1, keepdims=True)  # (n_rows, 1)
        chosen[start : start + _BLOCK_ROWS] = better | (ties & (ties.cumsum(axis=1) <= places))
    return chosen


def rerank(
    model: PairScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    chosen: NDArray[np.bool_],
    block_size: int = 64,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Score the chosen pairs in eval mode; only what they need is encoded, and once.

    Within `shared_evaluation` the processes share the blocks of images, and each gets all scores.

    Args:
        model: A model that scores by joint passes; its mode is restored afterwards.
        processor: Its processor.
        images: Pictures or region features; anything that gives a list for a slice.
        texts: Captions.
        chosen: True where a pair is to be scored, (n_images, n_texts).
        block_size: Images and texts that meet at once. The chosen pairs among them are scored
            together: they are few for short shortlists, and larger blocks are then faster.
        progress: Whether to show a progress bar.

    Returns:
        Scores (n_images, n_texts), float32, NaN where a pair is not chosen.

    Raises:
        TypeError: If the model does not score single pairs.
        ValueError: If `chosen` is not boolean or has another shape.
    """
    if model.is_two_tower or not hasattr(model, "score_pairs"):
        raise TypeError(
            f"{type(model).__name__} does not score single pairs by joint passes: re-rank with a "
            "model that has `score_pairs`, such as RcarModel, and score all pairs of this one "
            "with RetrievalEvaluator or score_matrix"
        )
    check_list(images, "images")
    check_list(texts, "texts")
    shape = (len(images), len(texts))
    if chosen.shape != shape or chosen.dtype != np.bool_:
        raise ValueError(
            f"chosen has shape {chosen.shape} and type {chosen.dtype}: give a boolean for each of "
            f"{shape[0]} images with each of {shape[1]} texts"
        )
    rows = np.flatnonzero(chosen.any(axis=1))  # (n_rows,)
    columns = np.flatnonzero(chosen.any(axis=0))  # (n_columns,)
    columns = columns[by_length([texts[column] for column in columns.tolist()])]
    own = own_rows(len(rows), block_size)
    scores = np.full(shape, np.nan, dtype=np.float32)
    with eval_mode(model):
        for block in encoded_blocks(
            model, processor, images, texts, rows[own], columns, block_size, progress
        ):
            pairs = np.argwhere(chosen[np.ix_(block.rows, block.columns)])  # (n_pairs, 2)
            if len(pairs):
                positions = torch.from_numpy(pairs).to(model.device)  # (n_pairs, 2)
                found = model.score_pairs(block.image, block.text, positions)  # (n_pairs,)
                at = block.rows[pairs[:, 0]], block.columns[pairs[:, 1]]
                scores[at] = found.float().cpu().numpy()
    own_scores = torch.from_numpy(scores[rows[own]])  # (n_own, n_texts)
    scores[rows] = gather_rows(own_scores, len(rows), block_size, model.device).numpy()
    return scores


def reranked_scores(
    shortlisted: Shortlist, rescored: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put each shortlist in the model's order and everything else behind it in the retriever's.

    What the model scores the same stays level, and so does what the retriever scores the same
    behind a shortlist. A query knows the shortlist of its own direction only.

    Args:
        shortlisted: The shortlists, with the retriever's scores.
        rescored: The model's scores, (n_images, n_texts); read where a pair is on a shortlist.

    Returns:
        Scores to rank the texts of each image by, and to rank the images of each text by, both
        (n_images, n_texts). They are ranks, of no meaning beyond a query.

    Raises:
        ValueError: If shapes do not fit, or the model's score of a pair on a shortlist is not a
            number.
    """
    scores = shortlisted.scores
    if rescored.shape != scores.shape:
        raise ValueError(f"rescored has shape {rescored.shape} and the shortlist {scores.shape}")
    missing = np.argwhere(shortlisted.chosen & np.isnan(rescored))  # (n_missing, 2)
    if len(missing):
        raise ValueError(
            f"rescored is not a number at image {missing[0][0]} and text {missing[0][1]}, which "
            "are on a shortlist: score all its pairs, or look for a diverged model"
        )
    return (
        _in_new_order(scores, rescored, shortlisted.texts_of_image),
        _in_new_order(scores.T, rescored.T, shortlisted.images_of_text.T).T,
    )


def _in_new_order(
    scores: NDArray[np.floating], rescored: NDArray[np.floating], chosen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Ranks, the higher the better, of all answers to each query, (n_queries, n_answers)."""
    n_answers = scores.shape[1]
    ranks = np.empty(scores.shape, dtype=np.float32)
    for start in range(0, len(scores), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        on_list = chosen[block]  # (n_rows, n_answers)
        behind = rankdata(scores[block], method="dense", axis=1)  # 1 to n_answers
        ahead = rankdata(np.where(on_list, rescored[block], -np.inf), method="dense", axis=1)
        ranks[block] = np.where(on_list, n_answers + ahead, behind)
    return ranks


class RerankEvaluator:
    """Retrieval in both directions by a model that puts a retriever's shortlists in order.

    The shortlists of a split are made once and kept for the next call, so the retriever must stay
    as it is. Where the model reads boxes behind the region features and the retriever does not, it
    is given the features alone.

    Args:
        processor: The model's processor.
        retriever: Any matching model that is cheap to score all pairs with, such as a two-tower
            one; it is on the model's device while it scores.
        retriever_processor: The retriever's processor.
        k: Answers on a shortlist.
        block_size: Images and texts that meet at once, see `rerank`.
        progress: Whether to show a progress bar.
    """

    primary_metric = "rsum"
    #: The metrics that the model has a part in; those of the shortlists stay as they are.
    greater_is_better = RETRIEVAL_WAYS

    def __init__(
        self,
        processor: Any,
        retriever: Any,
        retriever_processor: Any,
        k: int = 32,
        block_size: int = 64,
        progress: bool = False,
    ) -> None:
        self.processor = processor
        self.retriever = retriever
        self.retriever_processor = retriever_processor
        self.k = k
        self.block_size = block_size
        self.progress = progress
        self._shortlists: dict[str, Shortlist] = {}

    def __call__(
        self, model: PairScoringModel, dataset: datasets.Dataset | PairDataset
    ) -> dict[str, float]:
        """Score the shortlists and rank.

        Args:
            model: A model that scores by joint passes.
            dataset: A split by the column contract.

        Returns:
            The metrics of `RetrievalEvaluator`; the share of queries whose shortlist holds a right
            answer (`shortlist_i2t_recall`, `shortlist_t2i_recall`, in percent); `shortlist_rsum`,
            the retriever's own; `shortlist_k`, and `scored_pairs`, the number of pairs that the
            model scored.

        Raises:
            DatasetError: If the split breaks the column contract.
            TypeError: If the model does not score single pairs.
        """
        pairs = dataset if isinstance(dataset, PairDataset) else PairDataset(dataset)
        shortlisted = self._shortlist_of(pairs, model.device)
        own_metrics = retrieval_metrics(shortlisted.scores, pairs.row_of_pair)
        chosen = shortlisted.chosen  # (n_images, n_texts)
        rescored = rerank(
            model,
            self.processor,
            pairs.images,
            pairs.captions(),
            chosen,
            self.block_size,
            self.progress,
        )
        by_image, by_text = reranked_scores(shortlisted, rescored)
        image_ranks, _ = retrieval_ranks(by_image, pairs.row_of_pair)
        _, text_ranks = retrieval_ranks(by_text, pairs.row_of_pair)
        return {
            **metrics_of_ranks(image_ranks, text_ranks),
            **shortlisted.recall(pairs.row_of_pair),
            "shortlist_rsum": own_metrics["rsum"],
            "shortlist_k": self.k,
            "scored_pairs": int(chosen.sum()),
        }

    def _shortlist_of(self, pairs: PairDataset, device: torch.device) -> Shortlist:
        key = pairs.dataset._fingerprint
        if key not in self._shortlists:
            place = self.retriever.device
            reads = getattr(self.retriever_processor.image_processor, "region_size", None)
            has_boxes = reads is not None and pairs.images[0].shape[1] == reads + BOX_SIZE
            try:
                scores = score_matrix(
                    self.retriever.to(device),
                    self.retriever_processor,
                    WithoutBoxes(pairs.images) if has_boxes else pairs.images,
                    pairs.captions(),
                    self.block_size,
                    self.progress,
                )
            finally:
                self.retriever.to(place)
            self._shortlists[key] = shortlist(scores, self.k)
        return self._shortlists[key]

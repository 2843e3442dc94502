"""Re-ranking: a cheap retriever selects a shortlist for every query, and a model re-ranks it.

A model that scores an image and a text in a joint forward pass cannot score all pairs of a large
split in reasonable time. It scores only the pairs of the shortlists; all other items follow in the
order of the retriever.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from transformers import AutoModel, AutoProcessor

from ..data import PairDataset
from ..data.columns import visual_column
from ..data.lazy_rows import ColumnRows
from ..entry.errors import load_part
from ..metrics import metrics_of_ranks, retrieval_metrics, retrieval_ranks
from ..modules.list_inputs import check_list
from .collection import images_for_model
from .evaluators import RetrievalEvaluator
from .scoring import ScoringModel, length_order, score_blocks, score_matrix
from .text_outputs import store_text_outputs

_BLOCK_ROWS = 256


class PairScoringModel(ScoringModel, Protocol):
    """A model that scores single pairs in joint forward passes, such as `RcarModel`."""

    def score_pairs(self, image: Any, text: Any, pairs: Tensor) -> Tensor:
        """Scores (n_pairs,) of pairs of positions (image, text) in two blocks, (n_pairs, 2)."""


def shortlist(scores: NDArray[np.floating], k: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Select the k best texts of each image and the k best images of each text.

    Of equal scores the first is selected first.

    Args:
        scores: Score of each image with each text, (n_images, n_texts), higher is better; may be
            memory-mapped.
        k: Answers per query.

    Returns:
        True where a text is on the shortlist of an image, and where an image is on the shortlist of
        a text, both (n_images, n_texts).

    Raises:
        ValueError: If k is below 1, `scores` is not a matrix, or a score is not a number.
    """
    if k < 1:
        raise ValueError(f"k is {k}: a shortlist needs at least 1 answer")
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores has shape {scores.shape}: give (n_images, n_texts)")
    return _best(scores, k), _best(scores.T, k).T


def _best(scores: NDArray[np.floating], k: int) -> NDArray[np.bool_]:
    """Mask of the k best of each row, the first of equal ones, (n_queries, n_answers)."""
    n_answers = scores.shape[1]
    n_best = min(k, n_answers)
    best = np.empty(scores.shape, dtype=bool)
    for start in range(0, len(scores), _BLOCK_ROWS):
        block = np.asarray(scores[start : start + _BLOCK_ROWS])  # (n_rows, n_answers)
        if np.isnan(block.min()):
            raise ValueError("scores has a value that is not a number: check the retriever")
        last = np.partition(block, n_answers - n_best, axis=1)[:, [n_answers - n_best]]
        better, ties = block > last, block == last  # both (n_rows, n_answers)
        places = n_best - better.sum(axis=1, keepdims=True)  # (n_rows, 1)
        best[start : start + _BLOCK_ROWS] = better | (ties & (ties.cumsum(axis=1) <= places))
    return best


def rerank(
    model: PairScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    chosen: NDArray[np.bool_],
    block_size: int = 64,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Score the selected pairs in eval mode; each image and text they need is encoded once.

    Within `shared_evaluation` the processes share the blocks of images, and each gets all scores.

    Args:
        model: A model that scores in joint forward passes; its mode is restored afterwards.
        processor: Its processor.
        images: Images or region features; slicing must give a list.
        texts: Captions.
        chosen: True where a pair is to be scored, (n_images, n_texts).
        block_size: Images and texts per block. The selected pairs of a block are scored together;
            short shortlists have few of them, so larger blocks are then faster.
        progress: Whether to show a progress bar.

    Returns:
        Scores (n_images, n_texts), float32; NaN for pairs that are not selected.

    Raises:
        TypeError: If the model does not score single pairs.
        ValueError: If `chosen` is not boolean or has another shape, or a score is not a number.
    """
    if model.is_two_tower or not hasattr(model, "score_pairs"):
        raise TypeError(
            f"{type(model).__name__} does not score single pairs in joint forward passes: re-rank "
            "with a model that has `score_pairs`, such as RcarModel, and score all pairs of this "
            "model with RetrievalEvaluator or score_matrix"
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
    needed = [texts[column] for column in columns.tolist()]
    store_text_outputs(model, processor, needed, progress=progress)
    columns = columns[length_order(needed)]

    def score(image: Any, text: Any, block: np.ndarray, block_columns: np.ndarray) -> Tensor:
        pairs = torch.from_numpy(np.argwhere(chosen[np.ix_(block, block_columns)]))  # (n_pairs, 2)
        part = torch.full((len(block), len(block_columns)), torch.nan)
        if len(pairs):
            pair_scores = model.score_pairs(image, text, pairs.to(model.device))  # (n_pairs,)
            part[pairs.unbind(dim=1)] = pair_scores.float().cpu()
        return part

    scores = np.full(shape, np.nan, dtype=np.float32)
    scores[rows] = score_blocks(
        model, processor, images, texts, rows, columns, score, block_size, progress
    )
    missing = np.argwhere(chosen & np.isnan(scores))  # (n_missing, 2)
    if len(missing):
        raise ValueError(
            f"the score of image {missing[0][0]} and text {missing[0][1]} is not a number: look "
            "for a diverged model"
        )
    return scores


def reranked_scores(
    scores: NDArray[np.floating], rescored: NDArray[np.floating], chosen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Order the shortlist of each query by the model, followed by the rest in the first order.

    Args:
        scores: The retriever's scores, (n_queries, n_answers).
        rescored: The model's scores; only those of the shortlists are used.
        chosen: True where an answer is on the shortlist of a query.

    Returns:
        Scores (n_queries, n_answers), comparable within a query; ties are kept.
    """
    n_answers = scores.shape[1]
    ranks = np.empty(scores.shape, dtype=np.float32)
    for start in range(0, len(scores), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        on_list = chosen[block]  # (n_rows, n_answers)
        rest = rankdata(scores[block], method="dense", axis=1)  # 1 to n_answers
        listed = rankdata(np.where(on_list, rescored[block], -np.inf), method="dense", axis=1)
        ranks[block] = np.where(on_list, n_answers + listed, rest)
    return ranks


class RerankEvaluator(RetrievalEvaluator):
    """Retrieval in both directions by a model that re-ranks a retriever's shortlists.

    The retriever's scores of a split are cached, so the retriever must not change between calls. A
    retriever that uses no boxes gets the region features without the boxes appended to them.

    Args:
        processor: The model's processor.
        retriever: A matching model that is fast enough to score all pairs, such as a two-tower
            model; it is moved to the model's device while it scores.
        retriever_processor: The retriever's processor.
        k: Length of a shortlist.
        block_size: Images and texts per block, see `rerank`.
        progress: Whether to show a progress bar.
        weight: Factor of the retriever's scores, which are added to the model's.
        fold_size: See `RetrievalEvaluator`.
    """

    def __init__(
        self,
        processor: Any,
        retriever: Any,
        retriever_processor: Any,
        k: int = 32,
        block_size: int = 64,
        progress: bool = False,
        weight: float = 0.0,
        fold_size: int | None = None,
    ) -> None:
        super().__init__(processor, block_size, fold_size, progress)
        self.weight = weight
        self.retriever = retriever
        self.retriever_processor = retriever_processor
        self.k = k
        self._scores: dict[str, np.ndarray] = {}

    def measure(self, model: Any, pairs: PairDataset) -> dict[str, float]:
        """Score the shortlists of some pairs, and rank.

        Args:
            model: A model that scores in joint forward passes.
            pairs: Images with their captions.

        Returns:
            The metrics of `RetrievalEvaluator`; `shortlist_i2t_recall` and `shortlist_t2i_recall`,
            the percentage of queries with a correct answer on their shortlist, which limits the
            model; `shortlist_rsum`, the rSum of the retriever; `shortlist_k`; and `scored_pairs`,
            the number of pairs that the model scored.

        Raises:
            TypeError: If the model does not score single pairs.
        """
        images, captions, rows = pairs.images, pairs.captions(), pairs.row_of_pair
        scores = self._retriever_scores(pairs, model.device)
        texts_of_image, images_of_text = shortlist(scores, self.k)
        chosen = texts_of_image | images_of_text  # (n_images, n_texts)
        rescored = rerank(
            model, self.processor, images, captions, chosen, self.block_size, self.progress
        )
        rescored += self.weight * scores
        by_image = reranked_scores(scores, rescored, texts_of_image)
        image_ranks, _ = retrieval_ranks(by_image, rows)
        by_text = reranked_scores(scores.T, rescored.T, images_of_text.T)
        _, text_ranks = retrieval_ranks(by_text.T, rows)
        own = rows, np.arange(len(rows))
        has_text = np.bincount(rows[texts_of_image[own]], minlength=len(scores)) > 0
        return {
            **metrics_of_ranks(image_ranks, text_ranks),
            "shortlist_i2t_recall": 100 * float(has_text.mean()),
            "shortlist_t2i_recall": 100 * float(images_of_text[own].mean()),
            "shortlist_rsum": retrieval_metrics(scores, rows)["rsum"],
            "shortlist_k": self.k,
            "scored_pairs": int(chosen.sum()),
        }

    def _retriever_scores(self, pairs: PairDataset, device: torch.device) -> np.ndarray:
        key = pairs.dataset._fingerprint
        if key not in self._scores:
            original_device = self.retriever.device
            own = ColumnRows(pairs.dataset, visual_column(pairs.dataset))  # not another model's
            images = images_for_model(self.retriever_processor, own)
            try:
                self._scores[key] = score_matrix(
                    self.retriever.to(device),
                    self.retriever_processor,
                    images,
                    pairs.captions(),
                    self.block_size,
                    self.progress,
                )
            finally:
                self.retriever.to(original_device)
        return self._scores[key]


def retrieval_evaluator(
    processor: Any, retriever: str | None, k: int, block_size: int, weight: float = 0.0
) -> RetrievalEvaluator | RerankEvaluator:
    """Build an evaluator that scores all pairs, or re-ranks the shortlists of a two-tower model.

    Args:
        processor: The model's processor.
        retriever: Name or folder of the two-tower model; None to score all pairs.
        k: Length of a shortlist.
        block_size: Images and texts per block.
        weight: Factor of the two-tower model's scores, see `RerankEvaluator`.
    """
    if retriever is None:
        return RetrievalEvaluator(processor, block_size=block_size)
    parts = load_part(AutoModel, retriever), load_part(AutoProcessor, retriever)
    return RerankEvaluator(processor, *parts, k, block_size, weight=weight)

"""Evaluators: callables of a model and a dataset that give metrics."""

from typing import Any

import datasets

from ..data import PairDataset
from ..metrics import retrieval_metrics
from .scoring import ScoringModel, score_matrix


class RetrievalEvaluator:
    """Retrieval in both directions over all images and captions of a split.

    Args:
        processor: The model's processor.
        block_size: Images and texts that are scored at once; bounds memory.
        fold_size: Average over consecutive folds of this many images (1000 for "COCO 1K").
        progress: Whether to show a progress bar.
    """

    primary_metric = "rsum"

    def __init__(
        self,
        processor: Any,
        block_size: int = 64,
        fold_size: int | None = None,
        progress: bool = False,
    ) -> None:
        self.processor = processor
        self.block_size = block_size
        self.fold_size = fold_size
        self.progress = progress

    def __call__(
        self, model: ScoringModel, dataset: datasets.Dataset | PairDataset
    ) -> dict[str, float]:
        """Score and rank.

        Args:
            model: A matching model.
            dataset: A split by the column contract.

        Returns:
            `i2t_r1` to `t2i_r10` in percent, `i2t_medr`, `t2i_medr` and `rsum`.

        Raises:
            DatasetError: If the split breaks the column contract.
        """
        pairs = dataset if isinstance(dataset, PairDataset) else PairDataset(dataset)
        scores = score_matrix(
            model, self.processor, pairs.images, pairs.captions(), self.block_size, self.progress
        )
        return retrieval_metrics(scores, pairs.row_of_pair, self.fold_size)

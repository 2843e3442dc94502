"""Evaluators: callables that return the metrics of a model on a dataset.

Within `shared_evaluation` the processes share the work, and all get the same metrics.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch

from ..data import DatasetError, LabelDataset, PairDataset
from ..data.collator import LabelCollator
from ..metrics import class_retrieval_metrics, precision_recall_curve, retrieval_metrics
from ..metrics.retrieval import fold_starts, metrics_of_ranks, part_of_ranks
from .processes import gather_rows, is_shared, own_rows, share_blocks, sum_over_processes
from .scoring import ScoringModel, eval_mode, score_matrix

#: The metrics of retrieval, and whether the larger one is better.
RETRIEVAL_METRICS: Mapping[str, bool] = {
    f"{direction}_{name}": name != "medr"
    for direction in ("i2t", "t2i")
    for name in ("r1", "r5", "r10", "medr")
} | {"rsum": True}


class RetrievalEvaluator:
    """Retrieval in both directions over all images and captions of a split.

    `greater_is_better` gives the direction of each metric.

    Args:
        processor: The model's processor.
        block_size: Images and texts per block; bounds memory.
        fold_size: Average over consecutive folds of this many images (1000 for "COCO 1K").
        progress: Whether to show a progress bar.
    """

    primary_metric = "rsum"
    greater_is_better = RETRIEVAL_METRICS

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

    def __call__(self, model: Any, dataset: datasets.Dataset | PairDataset) -> dict[str, float]:
        """Score and rank.

        Args:
            model: A matching model.
            dataset: A split by the column contract.

        Returns:
            `i2t_r1` to `t2i_r10` in percent, `i2t_medr`, `t2i_medr` and `rsum`. With folds, the
            means over the folds; the images of a fold are compared with its own texts alone.

        Raises:
            DatasetError: If the split breaks the column contract.
            ValueError: If the number of images is not a multiple of the fold size.
        """
        pairs = dataset if isinstance(dataset, PairDataset) else PairDataset(dataset)
        if self.fold_size is None:
            return self.measure(model, pairs)
        starts = fold_starts(pairs.n_images, self.fold_size)
        folds = [
            self.measure(model, pairs.select(np.arange(start, start + self.fold_size)))
            for start in starts
        ]
        return {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}

    def measure(self, model: Any, pairs: PairDataset) -> dict[str, float]:
        """Score all images of some pairs against all their texts, and rank.

        Each of several processes ranks by the scores that it has computed; no one holds all.
        """
        scores = self.scores(model, pairs)
        if not is_shared():
            return retrieval_metrics(scores, pairs.row_of_pair)
        device = (model[0] if isinstance(model, Sequence) else model).device
        return metrics_of_ranks(*self._shared_ranks(scores, pairs, device))

    def scores(self, model: Any, pairs: PairDataset) -> np.ndarray:
        """Scores of the images of this process, all of one, with all texts, (n_own, n_texts)."""
        return score_matrix(
            *(model, self.processor, pairs.images, pairs.captions(), self.block_size),
            progress=self.progress,
            own=True,
        )

    def _shared_ranks(
        self, scores: np.ndarray, pairs: PairDataset, device: torch.device
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of all images and all texts, from the scores of each process's images."""
        own, rows = own_rows(pairs.n_images, self.block_size), pairs.row_of_pair  # rows: (n_texts,)
        texts = np.flatnonzero((rows >= own.start) & (rows < own.stop))  # of the own images
        own_score = np.zeros(len(rows), dtype=scores.dtype)  # (n_texts,)
        own_score[texts] = scores[rows[texts] - own.start, texts]
        own_score = sum_over_processes(torch.from_numpy(own_score), device).numpy()
        image, text = map(torch.from_numpy, part_of_ranks(scores, own.start, own_score, rows))
        image = gather_rows(image, pairs.n_images, self.block_size, device)  # (n_images,)
        return image.numpy(), sum_over_processes(text, device).numpy()


class AverageEvaluator(RetrievalEvaluator):
    """Retrieval by the mean score of several models, as SGRAF averages SAF and SGR.

    Scores are averaged as they are, so the models should have scores of one scale. The evaluator is
    called with the list of the models.

    Source: Diao et al., "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021,
    and its published code; SCAN (Lee et al., ECCV 2018) averages a model of each direction.

    Args:
        processors: The processor of each model.
        options: Further arguments of `RetrievalEvaluator`.
    """

    def __init__(self, processors: Sequence[Any], **options: Any) -> None:
        super().__init__(processors[0], **options)
        self.members = [RetrievalEvaluator(processor, **options) for processor in processors]

    def scores(self, model: Sequence[ScoringModel], pairs: PairDataset) -> np.ndarray:
        """Mean scores of the models for the images of this process, (n_own, n_texts)."""
        part = own_rows(pairs.n_images, self.block_size)
        total = np.zeros((part.stop - part.start, len(pairs)), dtype=np.float32)
        for member, own in zip(self.members, model, strict=True):
            total += member.scores(own, pairs)
        return total / len(self.members)


class LabelRetrievalEvaluator:
    """Retrieval of the same class in the other modality, over all rows of a split.

    The relevant items of a query are those of its class by the labels of the split, including its
    own pair, as usual in the field. Evaluation splits of this library have correct labels; a part
    held out of noisy training pairs does not.

    Args:
        processor: The model's processor.
        block_size: Rows per block.
        cutoffs: List lengths for mAP at K, besides the whole list.
    """

    primary_metric = "map"

    def __init__(
        self, processor: Any, block_size: int = 512, cutoffs: tuple[int, ...] = (50,)
    ) -> None:
        self.processor = processor
        self.block_size = block_size
        self.cutoffs = cutoffs

    @property
    def greater_is_better(self) -> Mapping[str, bool]:
        """The names of the metrics; larger is better for all of them."""
        suffixes = ["", *(f"_{cutoff}" for cutoff in self.cutoffs)]
        names = [f"{way}_map{suffix}" for suffix in suffixes for way in ("i2t", "t2i")]
        return dict.fromkeys([*names, "map"], True)

    def __call__(self, model: Any, dataset: datasets.Dataset | LabelDataset) -> dict[str, float]:
        """Embed and rank.

        Args:
            model: A common-space model; its mode is restored afterwards.
            dataset: A split by the column contract.

        Returns:
            `i2t_map`, `t2i_map`, their mean `map`, and the same at each cutoff, 0 to 1.

        Raises:
            DatasetError: If the split breaks the column contract.
        """
        return class_retrieval_metrics(*self._sides(model, dataset), self.cutoffs)

    def curves(self, model: Any, dataset: datasets.Dataset | LabelDataset) -> dict[str, Any]:
        """Precision at levels of recall in both directions, see `precision_recall_curve`."""
        return precision_recall_curve(*self._sides(model, dataset))

    def _sides(
        self, model: Any, dataset: datasets.Dataset | LabelDataset
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Vectors and labels of images and texts."""
        pairs = dataset if isinstance(dataset, LabelDataset) else LabelDataset(dataset)
        if pairs is not dataset and model.config.backbone_config is not None:
            pairs = pairs.without_features()
        return (*self.embed(model, pairs), pairs.image_labels, pairs.text_labels)

    def embed(self, model: Any, pairs: LabelDataset) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of all images and all texts of a split, (n, size) each."""
        if not len(pairs):
            raise DatasetError(f"Split '{pairs.split}' has no pairs to evaluate on.")
        if not pairs.has_features and model.config.backbone_config is None:
            raise DatasetError(
                f"Split '{pairs.split}' has pictures or texts, and the model reads feature "
                "vectors: give it a backbone that reads them, such as CLIP, or describe them by "
                "noisy_xmodal.data.with_vectors(rows)."
            )
        collate = LabelCollator(self.processor)

        def embed_block(rows: slice) -> torch.Tensor:
            batch = collate(pairs.__getitems__(range(len(pairs))[rows]))
            inputs = {k: v.to(model.device) for k, v in batch.items() if k not in _NOT_INPUTS}
            output = model(**inputs)
            return torch.stack([output.image_embeds, output.text_embeds], dim=1).cpu()

        with eval_mode(model):
            vectors = share_blocks(embed_block, len(pairs), self.block_size, model.device)
        image, text = (side.contiguous().numpy() for side in vectors.unbind(dim=1))  # (n, size)
        return image, text


_NOT_INPUTS = ("pair_id", "image_label", "text_label")

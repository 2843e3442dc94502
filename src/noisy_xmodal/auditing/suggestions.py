"""Suggestions for doubtful pairs: the best caption of another image and the best other image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.embedding import embed_images, embed_texts
from ..evaluation.scoring import ScoringModel
from ..evaluation.vector_index import VectorIndex
from ..models.matching.modeling_matching import MatchingModel
from .judgement import Judgement

#: Nearest neighbours per query, some of which belong to the pair itself.
_N_NEIGHBOURS = 12
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class AuditContext:
    """A judgement with its models and their inputs.

    Attributes:
        judgement: The judgement of every pair.
        model: The model that judged all pairs; None if each fold had its own model.
        processor: Processor of all models.
        images: All images, as inputs of the processor.
        row_of_pair: Image of each pair, (n_pairs,).
        device: Device of the models.
        work: Folder of the vectors; existing vectors are reused.
    """

    judgement: Judgement
    model: Any | None
    processor: Any
    images: Sequence[Any]
    row_of_pair: NDArray[np.int64]
    device: str
    work: Path

    def model_of(self, fold: int) -> tuple[Any, Path]:
        """The model that judged a fold, and the folder of its vectors."""
        if self.model is not None:
            return self.model, self.work
        model = MatchingModel.from_pretrained(self.judgement.models[fold]).to(self.device)
        return model, self.work / f"suggestions-{fold + 1}"


def suggest(
    context: AuditContext, captions: Sequence[str], pairs: np.ndarray, progress: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find better captions and images, each by the model that judged the pair.

    Args:
        context: The judgement and its models.
        captions: All captions, (n_pairs,).
        pairs: Pairs to make suggestions for.
        progress: Whether to show progress bars.

    Returns:
        For every pair the pair of the best other caption and the row of the best other image,
        (n_pairs,) each; -1 if there is none, or the model has no vectors.
    """
    best_text, best_row = np.full(len(captions), -1), np.full(len(captions), -1)
    fold_of_pair = context.judgement.fold_of_row[context.row_of_pair]  # (n_pairs,)
    for fold in np.unique(fold_of_pair[pairs]).tolist():
        own = pairs[fold_of_pair[pairs] == fold]
        model, folder = context.model_of(fold)
        if model.is_two_tower:
            best_text[own], best_row[own] = best_alternatives(
                model,
                context.processor,
                context.images,
                captions,
                context.row_of_pair,
                own,
                folder,
                progress,
            )
    return best_text, best_row


def best_alternatives(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    captions: Sequence[str],
    row_of_pair: np.ndarray,
    pairs: np.ndarray,
    folder: Path,
    progress: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the best caption of another image and the best other image for each pair.

    Args:
        model: A two-tower model.
        processor: Its processor.
        images: All images; slicing must give a list.
        captions: All captions, (n_captions,).
        row_of_pair: Image of each caption, (n_captions,).
        pairs: Pairs to make suggestions for, (n_pairs,).
        folder: Folder of the vectors; existing vectors are reused.
        progress: Whether to show progress bars.

    Returns:
        For each pair the pair of the best caption and the row of the best image, -1 if there is
        none, (n_pairs,) each. A caption with the pair's own text is not suggested.
    """
    image = embed_images(model, processor, images, folder / "images.npy", progress=progress)
    text = embed_texts(model, processor, captions, folder / "texts.npy", progress=progress)
    own_rows = row_of_pair[pairs]
    rows, position = np.unique(own_rows, return_inverse=True)
    nearest_texts = _nearest(text, image, rows)[position]  # (n_pairs, n_neighbours)
    nearest_rows = _nearest(image, text, pairs)  # (n_pairs, n_neighbours)
    best_text, best_row = np.full(len(pairs), -1), np.full(len(pairs), -1)
    for i, (pair, own_row) in enumerate(zip(pairs.tolist(), own_rows.tolist(), strict=True)):
        own_text = captions[pair].casefold()
        for other in nearest_texts[i].tolist():
            is_own = other < 0 or row_of_pair[other] == own_row
            if not is_own and captions[other].casefold() != own_text:
                best_text[i] = other
                break
        for row in nearest_rows[i].tolist():
            if row >= 0 and row != own_row:
                best_row[i] = row
                break
    return best_text, best_row


def _nearest(vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> NDArray[np.int64]:
    """The nearest vectors of some queries, (n_rows, n_neighbours)."""
    index = VectorIndex.build(vectors)
    k = min(_N_NEIGHBOURS, len(vectors))
    blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
    return np.concatenate([index.search(np.asarray(queries[block]), k)[1] for block in blocks])

"""Suggestions for doubtful pairs: the best caption of another image and the best other image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.collection import embed_pairs
from ..evaluation.nearest import nearest
from ..models.matching.modeling_matching import MatchingModel
from .judgement import Judgement

#: Nearest neighbours per query, some of which belong to the pair itself.
_N_NEIGHBOURS = 12


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
        For every pair the pair of the best caption of another image and the row of the best other
        image, (n_pairs,) each; -1 if there is none, or the model has no vectors. A caption with the
        pair's own text is not suggested.
    """
    best_text, best_row = np.full(len(captions), -1), np.full(len(captions), -1)
    rows = context.row_of_pair
    fold_of_pair = context.judgement.fold_of_row[rows]  # (n_pairs,)
    for fold in np.unique(fold_of_pair[pairs]).tolist():
        own = pairs[fold_of_pair[pairs] == fold]
        model, folder = context.model_of(fold)
        if not model.is_two_tower:
            continue
        images, texts = embed_pairs(
            model, context.processor, context.images, captions, folder, progress
        )
        distinct, position = np.unique(rows[own], return_inverse=True)
        near_texts = nearest(texts, images[distinct], _N_NEIGHBOURS)[1][position]
        near_rows = nearest(images, texts[own], _N_NEIGHBOURS)[1]  # (n_own, n_neighbours)
        for i, pair in enumerate(own.tolist()):
            row, text = rows[pair], captions[pair].casefold()
            for other in near_texts[i].tolist():
                if rows[other] != row and captions[other].casefold() != text:
                    best_text[pair] = other
                    break
            others = near_rows[i][near_rows[i] != row]
            best_row[pair] = others[0] if len(others) else -1
    return best_text, best_row

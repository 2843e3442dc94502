"""What a doubtful pair may be instead: the caption and the image from elsewhere that fit best."""

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

#: Answers that are asked for, so that one is left when those of the pair itself are gone.
_ASKED = 12
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Judged:
    """A judgement with the models that gave it, and what they read.

    Attributes:
        judgement: What is known of every pair.
        model: The model that judged all pairs, or None where each fold had its own.
        processor: Makes inputs of images and captions, for all models.
        images: All images, as the processor reads them.
        row_of_pair: Image of each pair, (n_pairs,).
        device: Where models run.
        work: Folder for vectors; what is there is used.
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
    judged: Judged, captions: Sequence[str], wanted: np.ndarray, progress: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find what fits better elsewhere, each pair by the model that judged it.

    Args:
        judged: The judgement.
        captions: All captions, (n_pairs,).
        wanted: Pairs to look for, (n_wanted,).
        progress: Whether to show progress bars.

    Returns:
        For every pair the pair of the best other caption and the row of the best other image,
        (n_pairs,) each; -1 where there is none, or a model has no vectors to look by.
    """
    best_text, best_row = np.full(len(captions), -1), np.full(len(captions), -1)
    fold_of_pair = judged.judgement.fold_of_row[judged.row_of_pair]  # (n_pairs,)
    for fold in np.unique(fold_of_pair[wanted]).tolist():
        own = wanted[fold_of_pair[wanted] == fold]
        model, folder = judged.model_of(fold)
        if model.is_two_tower:
            best_text[own], best_row[own] = best_elsewhere(
                model,
                judged.processor,
                judged.images,
                captions,
                judged.row_of_pair,
                own,
                folder,
                progress,
            )
    return best_text, best_row


def best_elsewhere(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    captions: Sequence[str],
    row_of_pair: np.ndarray,
    wanted: np.ndarray,
    folder: Path,
    progress: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the caption of another image that fits an image best, and the same for captions.

    Args:
        model: A two-tower model.
        processor: Its processor.
        images: All images; anything that gives a list for a slice.
        captions: All captions, (n_pairs,).
        row_of_pair: Image of each, (n_pairs,).
        wanted: Pairs to look for, (n_wanted,).
        folder: Where vectors are kept; what is there is used.
        progress: Whether to show progress bars.

    Returns:
        For each wanted pair the best caption's pair and the best image's row, -1 where there is
        none, (n_wanted,) each. The same text as the pair's own is no other caption.
    """
    image = embed_images(model, processor, images, folder / "images.npy", progress=progress)
    text = embed_texts(model, processor, captions, folder / "texts.npy", progress=progress)
    own_rows = row_of_pair[wanted]
    rows, position = np.unique(own_rows, return_inverse=True)
    texts_of_rows = _nearest(text, image, rows)[position]  # (n_wanted, n_asked)
    rows_of_texts = _nearest(image, text, wanted)  # (n_wanted, n_asked)
    same = np.array([captions[pair].casefold() for pair in wanted.tolist()], dtype=object)
    best_text, best_row = np.full(len(wanted), -1), np.full(len(wanted), -1)
    for at, own in enumerate(own_rows.tolist()):
        for pair in texts_of_rows[at].tolist():
            if pair >= 0 and row_of_pair[pair] != own and captions[pair].casefold() != same[at]:
                best_text[at] = pair
                break
        for row in rows_of_texts[at].tolist():
            if row >= 0 and row != own:
                best_row[at] = row
                break
    return best_text, best_row


def _nearest(among: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> NDArray[np.int64]:
    """The vectors nearest to some queries, (n_rows, n_asked)."""
    index = VectorIndex.build(among)
    found = [
        index.search(np.asarray(queries[rows[start : start + _BLOCK]]), min(_ASKED, len(among)))[1]
        for start in range(0, len(rows), _BLOCK)
    ]
    return np.concatenate(found)

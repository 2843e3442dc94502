"""Suggestions for doubtful pairs: the best caption of another image and the best other image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluation.collection import embed_pairs
from ..evaluation.nearest import nearest
from .cross_fit import CrossFit
from .judge import ModelJudge
from .judgement import Judgement

#: Nearest neighbours per query, some of which belong to the pair itself.
_N_NEIGHBOURS = 12


def suggest(
    judge: ModelJudge | CrossFit, judgement: Judgement, wanted: np.ndarray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find better captions and images, each by the model that judged the pair.

    Args:
        judge: The judge.
        judgement: Its judgement.
        wanted: Pairs to make suggestions for.

    Returns:
        For every pair the pair of the best caption of another image and the row of the best other
        image, (n_pairs,) each; -1 if there is none, or the model has no vectors. A caption with the
        pair's own text is not suggested.
    """
    rows, captions, images = judge.pairs.row_of_pair, judge.pairs.captions(), judge.pairs.images
    best_text, best_row = np.full(len(captions), -1), np.full(len(captions), -1)
    fold_of_pair = judgement.fold_of_row[rows]  # (n_pairs,)
    for fold in np.unique(fold_of_pair[wanted]).tolist():
        own = wanted[fold_of_pair[wanted] == fold]
        model, folder = judge.model_of(fold)
        if not model.is_two_tower:
            continue
        progress = not judge.options.disable_tqdm
        image, text = embed_pairs(model, judge.processor, images, captions, folder, progress)
        pool = Pool(image, text, rows, captions)
        best_text[own], best_row[own] = pool.best(
            image, text[own], rows[own], [captions[pair] for pair in own.tolist()], rows[own]
        )
    return best_text, best_row


@dataclass(frozen=True, eq=False)
class Pool:
    """Images and captions that suggestions are taken from.

    Attributes:
        images: Unit vectors by one model, (n_images, size).
        texts: Those of the captions, (n_pairs, size).
        rows: Row of the image of each caption, (n_pairs,).
        captions: The captions.
    """

    images: np.ndarray
    texts: np.ndarray
    rows: NDArray[np.int64]
    captions: Sequence[str]

    def best(
        self,
        images: np.ndarray,
        texts: np.ndarray,
        image_of_text: NDArray[np.int64],
        captions: Sequence[str],
        own_rows: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pair of the best caption for the image of each of some pairs, and the best image.

        Args:
            images: Vectors of images by the same model.
            texts: Those of the captions of the pairs, (n, size).
            image_of_text: Row of `images` of each pair, (n,).
            captions: Captions of the pairs, (n,).
            own_rows: Row of their images in the pool, -1 for images outside, (n,).

        Returns:
            Pairs and rows of the pool, (n,) each; -1 for none.
        """
        best_text, best_row = np.full((2, len(texts)), -1)
        distinct, position = np.unique(image_of_text, return_inverse=True)
        near_texts = nearest(self.texts, images[distinct], _N_NEIGHBOURS)[1][position]
        near_rows = nearest(self.images, texts, _N_NEIGHBOURS)[1]  # (n, n_neighbours)
        for i, (row, caption) in enumerate(zip(own_rows.tolist(), captions, strict=True)):
            own_text = caption.casefold()
            for other in near_texts[i].tolist():
                if self.rows[other] != row and self.captions[other].casefold() != own_text:
                    best_text[i] = other
                    break
            others = near_rows[i][near_rows[i] != row]
            best_row[i] = others[0] if len(others) else -1
        return best_text, best_row

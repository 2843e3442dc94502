"""Suggestions for doubtful pairs: the best caption of another image and the best other image."""

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
        distinct, position = np.unique(rows[own], return_inverse=True)
        near_texts = nearest(text, image[distinct], _N_NEIGHBOURS)[1][position]
        near_rows = nearest(image, text[own], _N_NEIGHBOURS)[1]  # (n_own, n_neighbours)
        for i, pair in enumerate(own.tolist()):
            row, own_text = rows[pair], captions[pair].casefold()
            for other in near_texts[i].tolist():
                if rows[other] != row and captions[other].casefold() != own_text:
                    best_text[pair] = other
                    break
            others = near_rows[i][near_rows[i] != row]
            best_row[pair] = others[0] if len(others) else -1
    return best_text, best_row

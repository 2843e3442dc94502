"""Words of a caption that do not fit its image: captions may be wrong in part.

A word that does not fit lowers the score, so the score rises without it. This needs a judge that
has not been trained on the pair, and any model of pairs will do. It costs a score per word, and is
meant for the pairs of a report.
"""

from typing import Any

import numpy as np

from ..data import PairDataset
from ..evaluation.scoring import score_matrix
from .judge import ModelJudge

#: Words of a caption that are tried, and named.
_TRIED, _NAMED = 60, 3


def gains_without_words(model: Any, processor: Any, image: Any, words: list[str]) -> np.ndarray:
    """How much the score of an image with a caption rises without each word, (n_words,).

    Args:
        model: A model of pairs.
        processor: Its processor.
        image: The image or its region features.
        words: The words of the caption, two or more.
    """
    texts = [" ".join(words)]
    texts += [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    scores = score_matrix(model, processor, [image], texts)[0]  # (1 + n_words,)
    return scores[1:] - scores[0]


def misfit_words(judge: ModelJudge, pairs: PairDataset, wanted: list[int]) -> dict[int, list[str]]:
    """The words of captions without which the score rises most, at most three a caption.

    Args:
        judge: A judge that reads single words.
        pairs: The pairs.
        wanted: Pairs to look at; captions of one word have no such words.
    """
    misfits = {}
    for pair in wanted:
        words = pairs.caption(pair).split()[:_TRIED]
        if len(words) < 2:
            continue
        image = judge.pairs.images[int(pairs.row_of_pair[pair])]
        gains = gains_without_words(judge.model, judge.processor, image, words)
        order = np.argsort(-gains, kind="stable")[:_NAMED]
        misfits[pair] = [words[place] for place in order.tolist() if gains[place] > 0]
    return misfits

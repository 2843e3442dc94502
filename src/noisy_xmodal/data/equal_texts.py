"""Captions of one text: which are they, and which images are given such a text.

A text that stands on several images is right for each of them. No image takes it for a negative.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def text_numbers(captions: Iterable[str]) -> NDArray[np.int64]:
    """Number the texts in the order in which they come first.

    Args:
        captions: Captions; case and the width of white space do not matter.

    Returns:
        The number of the text of each caption, (n_captions,); equal texts have the same.
    """
    known: dict[str, int] = {}
    numbers = [known.setdefault(" ".join(text.casefold().split()), len(known)) for text in captions]
    return np.array(numbers, dtype=np.int64)


class OwnTexts:
    """Which texts the images of a dataset are given, whatever pair they stand in.

    Args:
        captions: The caption of each pair.
        row_of_pair: Row of its image, (n_pairs,).

    Attributes:
        repeated: True where the text of a pair is given to another image as well, bool (n_pairs,).
    """

    def __init__(self, captions: Sequence[str], row_of_pair: NDArray[np.int64]) -> None:
        self._row_of_pair = row_of_pair
        self._text = text_numbers(captions)  # (n_pairs,)
        self._n_texts = int(self._text.max(initial=0)) + 1
        self._keys = np.unique(row_of_pair * self._n_texts + self._text)  # (n_distinct,)
        n_images = np.bincount(self._keys % self._n_texts, minlength=self._n_texts)  # (n_texts,)
        self.repeated = n_images[self._text] > 1

    def are_given(self, rows: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether images are given the texts of pairs.

        Args:
            rows: Rows of the images, in any shape.
            pairs: Pair ids, in a shape that is broadcast with it.

        Returns:
            bool, of the common shape; True for an image's own captions, too.
        """
        rows, pairs = np.broadcast_arrays(rows, pairs)
        given = rows == self._row_of_pair[pairs]
        some = self.repeated[pairs]
        keys = rows[some] * self._n_texts + self._text[pairs[some]]
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        given[some] = self._keys[at] == keys
        return given

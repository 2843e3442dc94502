"""Captions with equal texts, and the images that share them.

A text that several images have as a caption is correct for each of them, so it is not a negative
for any of them.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def text_numbers(captions: Iterable[str]) -> NDArray[np.int64]:
    """Numbers the texts in order of first occurrence.

    Args:
        captions: Captions; case and the width of white space do not matter.

    Returns:
        The number of each caption's text, (n_captions,); equal texts have the same number.
    """
    ids: dict[str, int] = {}
    numbers = [ids.setdefault(" ".join(text.casefold().split()), len(ids)) for text in captions]
    return np.array(numbers, dtype=np.int64)


class SharedTexts:
    """Which images of a dataset have which texts as captions.

    Args:
        text: The number of each pair's text, (n_pairs,), see `text_numbers`.
        row_of_pair: The row of each pair's image, (n_pairs,).

    Attributes:
        is_shared: (n_pairs,) bool, whether another image has the pair's text as well.
    """

    def __init__(self, text: NDArray[np.int64], row_of_pair: NDArray[np.int64]) -> None:
        self._row_of_pair = row_of_pair
        self._text = text  # (n_pairs,)
        self._n_texts = int(self._text.max(initial=0)) + 1
        self._keys = np.unique(row_of_pair * self._n_texts + self._text)  # (n_distinct,)
        n_images = np.bincount(self._keys % self._n_texts, minlength=self._n_texts)  # (n_texts,)
        self.is_shared = n_images[self._text] > 1

    def match(self, rows: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether images have the texts of pairs as captions.

        Args:
            rows: Rows of images, of any shape.
            pairs: Pair ids, of a shape that broadcasts with `rows`.

        Returns:
            bool, of the broadcast shape; True for an image's own captions, too.
        """
        rows, pairs = np.broadcast_arrays(rows, pairs)
        matches = rows == self._row_of_pair[pairs]
        shared = self.is_shared[pairs]
        keys = rows[shared] * self._n_texts + self._text[pairs[shared]]
        index = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        matches[shared] = self._keys[index] == keys
        return matches

    def are_equal(self, pairs: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether pairs have the texts of other pairs, for ids of shapes that broadcast."""
        return self._text[pairs] == self._text[others]

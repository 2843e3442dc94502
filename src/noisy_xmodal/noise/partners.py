"""Draws partners in proportion to the Jaccard similarity of object sets, without an n x n matrix.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 24(10),
2023, Eq. 13.

| symbol        | in the code                             |
|---------------|-----------------------------------------|
| A, B          | own and other, numbers of distinct sets |
| size of A ∩ B | overlap                                 |
| size of A ∪ B | union                                   |
| J(A, B)       | overlap / union                         |

Items (captions, or caption lists) with equal sets are equivalent, so a set is drawn first, in
proportion to its remaining items times J, and then one of those items. Rejection sampling draws
the set, which is exact:

1. Each class has one token per remaining item with the class. A token drawn from all tokens of the
   classes of A belongs to B in proportion to the size of A ∩ B and to its remaining items.
2. It is accepted with probability size of A / size of A ∪ B, and never if B equals A.

If this takes too long, the weights of all sets are computed.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_PATIENCE = 64  # failed draws before exact weights; draws of taken items before new tokens
_BLOCK = 512


class Partners:
    """Items without a partner, and the draw of one.

    Attributes:
        set_of_item: Number of the distinct set of each item, (n_items,).
        taken: Non-zero for items that were taken, (n_items,).

    Args:
        object_sets: True where an image shows an object of a class, (n_images, n_classes).
        image_of_item: Image row of each item, (n_items,).
        rng: Source of randomness, read in blocks.
    """

    def __init__(
        self,
        object_sets: NDArray[np.bool_],
        image_of_item: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        packed = np.packbits(object_sets, axis=1)  # (n_images, n_bytes)
        set_of_image, image_of_set = _distinct_rows(packed)
        self.set_of_item = set_of_image[image_of_item]  # (n_items,)
        self.taken = bytearray(len(image_of_item))
        self._left = np.bincount(self.set_of_item, minlength=len(image_of_set))  # (n_sets,)
        self._masks = [int.from_bytes(row.tobytes()) for row in packed[image_of_set]]
        self._sizes = object_sets.sum(axis=1)[image_of_set]  # (n_sets,)
        self._stuck: set[int] = set()

        images, class_ids = np.nonzero(object_sets)  # (n_entries_of_images,), both
        first_of_set = np.zeros(len(object_sets), dtype=bool)
        first_of_set[image_of_set] = True
        kept = first_of_set[images]  # (n_entries_of_images,)
        set_ids, class_ids = set_of_image[images[kept]], class_ids[kept]  # (n_entries,), both
        n_sets_with = np.bincount(class_ids, minlength=object_sets.shape[1])  # (n_classes,)
        self._classes = [ids.tolist() for ids in _split(class_ids, self._sizes)]
        by_class = np.argsort(class_ids, kind="stable")  # (n_entries,)
        self._sets_with = _split(set_ids[by_class], n_sets_with)
        self._token_starts: list[list[int]] = [[0]] * len(self._sets_with)
        self._dead_draws = [0] * len(self._sets_with)
        for class_id in range(len(self._sets_with)):
            self._renew_tokens(class_id)

        # Items in random order within their set, so the last one is random.
        shuffled = rng.permutation(len(image_of_item))  # (n_items,)
        self._stack = shuffled[np.argsort(self.set_of_item[shuffled], kind="stable")].tolist()
        self._top = np.cumsum(self._left).tolist()
        self._uniform = _uniforms(rng)

    def draw_set(self, own: int) -> int | None:
        """Draw the set of a partner for a remaining item with objects.

        Args:
            own: The set of the item.

        Returns:
            The set of the partner, which has remaining items, or None without a possible partner.
        """
        if own in self._stuck:
            return None
        classes, mask, size = self._classes[own], self._masks[own], len(self._classes[own])
        class_starts = self._lay_out_tokens(classes)
        for _ in range(_PATIENCE):
            token = int(next(self._uniform) * class_starts[-1])
            place = bisect_right(class_starts, token) - 1
            class_id = classes[place]
            token -= class_starts[place]
            set_starts = self._token_starts[class_id]
            place = bisect_right(set_starts, token) - 1
            other = self._sets_with[class_id].item(place)
            if token - set_starts[place] >= self._left.item(other):
                self._dead_draws[class_id] += 1
            elif other != own:
                union = (mask | self._masks[other]).bit_count()
                if next(self._uniform) * union < size:
                    return other
        return self._draw_set_exactly(own)

    def remove(self, item: int) -> None:
        """Take an item out."""
        self.taken[item] = 1
        self._left[self.set_of_item[item]] -= 1

    def take(self, own: int) -> int:
        """Take a random item out of a set with remaining items."""
        self._top[own] -= 1
        while self.taken[self._stack[self._top[own]]]:
            self._top[own] -= 1
        item = int(self._stack[self._top[own]])
        self.remove(item)
        return item

    def draw_triangle(self, order: list[int]) -> tuple[int, int, int] | None:
        """Draw three sets, each a partner of both others.

        Args:
            order: Items to start from, in random order.

        Returns:
            The three sets, or None if there are none.
        """
        for item in order[:_PATIENCE]:
            own = int(self.set_of_item[item])
            second, third = self.draw_set(own), self.draw_set(own)
            if second is None or third is None or second == third:
                continue
            if self._masks[second] & self._masks[third]:
                return own, second, third
        return self._find_triangle(order)

    def _find_triangle(self, order: list[int]) -> tuple[int, int, int] | None:
        """Search all sets; this is short, because three sets that share a class are a triangle."""
        masks = self._masks
        for own in dict.fromkeys(self.set_of_item[order].tolist()):
            near = [i for i, mask in enumerate(masks) if mask & masks[own] and i != own]
            for second, third in combinations(near, 2):
                if masks[second] & masks[third]:
                    return own, second, third
        return None

    def _lay_out_tokens(self, classes: list[int]) -> list[int]:
        """Start of the tokens of each class in their concatenation, and the number of all."""
        starts = [0]
        for class_id in classes:
            if self._dead_draws[class_id] >= _PATIENCE:
                self._renew_tokens(class_id)
            starts.append(starts[-1] + self._token_starts[class_id][-1])
        return starts

    def _renew_tokens(self, class_id: int) -> None:
        """Drop the tokens of taken items; until then a draw of one of them fails."""
        sets = self._sets_with[class_id]
        sets = sets[self._left[sets] > 0]
        self._sets_with[class_id] = sets
        self._token_starts[class_id] = [0, *np.cumsum(self._left[sets]).tolist()]
        self._dead_draws[class_id] = 0

    def _draw_set_exactly(self, own: int) -> int | None:
        sharing = np.concatenate([self._sets_with[class_id] for class_id in self._classes[own]])
        overlap = np.bincount(sharing, minlength=len(self._left))  # (n_sets,)
        union = self._sizes + self._sizes[own] - overlap  # (n_sets,)
        weight = self._left * overlap / union  # (n_sets,)
        weight[own] = 0
        ends = np.cumsum(weight)  # (n_sets,)
        if ends[-1] == 0:
            self._stuck.add(own)  # items are only removed, so this stays true
            return None
        return int(np.searchsorted(ends, next(self._uniform) * ends[-1], side="right"))


def _distinct_rows(rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number distinct rows by first occurrence: the number of each row, and the first rows."""
    numbers: dict[bytes, int] = {}
    number = np.empty(len(rows), dtype=np.int64)  # (n_rows,)
    first: list[int] = []
    for index, row in enumerate(rows):
        number[index] = numbers.setdefault(row.tobytes(), len(numbers))
        if number[index] == len(first):
            first.append(index)
    return number, np.array(first, dtype=np.int64)


def _split(values: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(values, np.cumsum(sizes)[:-1]) if len(sizes) else []


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Uniform numbers from 0 to 1, drawn in blocks for speed."""
    while True:
        yield from rng.random(_BLOCK).tolist()

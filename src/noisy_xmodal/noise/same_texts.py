"""Prevents noise from exchanging captions of the same text: such a pair would be right.

In many datasets several images have the same text ("a man"). If a draw gives an image a text that
it already has, the item changes places with another item that moved. The number of moved items and
draws without such texts stay the same.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs

#: Random items to try to change places with, before all items are tried.
_TRIES = 64

#: Whether items (n,) must not move to images (n,), bool (n,).
Forbidden = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def has_text(pairs: Pairs, level: str) -> Forbidden:
    """Return the function that says whether an image already has a text of an item.

    Args:
        pairs: Clean pairs with the numbers of their texts.
        level: "caption" for items that are captions, "image" for caption lists.
    """
    assert pairs.text is not None
    if level == "caption":
        return lambda items, images: pairs.image_has(images, items)
    first = np.searchsorted(pairs.source_image, np.arange(pairs.n_images + 1))  # (n_images + 1,)

    def any_of_the_list(items: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.bool_]:
        counts = first[items + 1] - first[items]  # (n,), at least 1
        starts = np.cumsum(counts) - counts  # (n,)
        captions = np.arange(counts.sum()) + np.repeat(first[items] - starts, counts)
        own = pairs.image_has(np.repeat(images, counts), captions)  # (counts.sum(),)
        return np.logical_or.reduceat(own, starts)

    return any_of_the_list


def exchange_same_texts(
    holder: NDArray[np.int64],
    moved: NDArray[np.int64],
    forbidden: Forbidden,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Let items in forbidden places change places with other items that moved.

    Args:
        holder: The image of each item, (n_items,).
        moved: The items that moved, (n_moved,).
        forbidden: Which items must not move to which images; their own image included.
        rng: Source of randomness; used only if an item must change places.

    Returns:
        The image of each item, (n_items,). An item keeps its place if it fits nowhere else.
    """
    if not len(moved):
        return holder
    result = holder.copy()
    for item in moved[forbidden(moved, holder[moved])]:
        if not forbidden(item[None], result[[item]])[0]:
            continue  # an earlier item changed places with it
        for draw in (lambda: rng.choice(moved, _TRIES), lambda: rng.permutation(moved)):
            others = draw()  # (n_others,)
            fits = ~forbidden(np.full_like(others, item), result[others])
            fits &= ~forbidden(others, np.full_like(others, result[item]))
            if fits.any():
                other = others[fits][0]
                result[[item, other]] = result[[other, item]]
                break
    return result

"""No caption is exchanged for one of the same text: such a pair would be right and count as wrong.

Many datasets have texts that stand on several images ("a man"). A draw that gives an image such a
text is mended: the item takes the place of another one that moved as well. All other places, the
number of items that move and draws without such texts stay as they are.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs

#: Items that are drawn to change places with, before all are looked at.
_TRIES = 64

#: Whether items (n,) must not come to images (n,), bool (n,).
Forbidden = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def has_text(pairs: Pairs, level: str) -> Forbidden:
    """What tells whether an image has a text of an item among its own captions.

    Args:
        pairs: Clean pairs with the numbers of their texts.
        level: What an item is: "caption", or "image" for the caption list of an image.
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
    given: NDArray[np.int64],
    chosen: NDArray[np.int64],
    forbidden: Forbidden,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Let items that came to an image that forbids them change places with others that moved.

    Args:
        given: The image that each item came to, (n_items,).
        chosen: The items that moved, (n_chosen,).
        forbidden: Which items must not come to which images; their own one included.
        rng: Source of randomness; used only where an item must change places.

    Returns:
        The image of each item, (n_items,). An item stays where no other can take its place.
    """
    if not len(chosen):
        return given
    done = given.copy()
    for item in chosen[forbidden(chosen, given[chosen])]:
        if not forbidden(item[None], done[[item]])[0]:
            continue  # it changed places with one before
        for draw in (lambda: rng.choice(chosen, _TRIES), lambda: rng.permutation(chosen)):
            others = draw()  # (n_others,)
            fits = ~forbidden(np.full_like(others, item), done[others])
            fits &= ~forbidden(others, np.full_like(others, done[item]))
            if fits.any():
                other = others[fits][0]
                done[[item, other]] = done[[other, item]]
                break
    return done

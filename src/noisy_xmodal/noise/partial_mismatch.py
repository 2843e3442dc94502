"""Partial mismatch: captions exchanged between images that show some of the same objects.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 24(10),
2023, Section 4.1.1 and Eq. 13: J(A, B) = |A ∩ B| / |A ∪ B| for the sets of object classes of two
images.

A wrong caption is then still partly right: its new image overlaps with the image it came from and
differs from it, 0 < J < 1. The paper replaces "randomly according to the similarity matrix" and
leaves the rest open:

| open in the paper          | here                                                            |
|----------------------------|-----------------------------------------------------------------|
| exchanged or copied        | exchanged: every caption has one image, so the noise is a       |
|                            | permutation, comparable to complete mismatch                    |
| single captions or lists   | captions; lists at image level                                  |
| image or text replaced     | the same thing, where pairs are exchanged                       |
| partner of a caption       | any remaining caption, in proportion to J of the two images     |
| J = 1, J = 0, empty sets   | never partners                                                  |
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import CAPTION_LEVELS, CaptionNoise
from .pairs import Pairs
from .partners import Partners
from .same_texts import exchange_same_texts, has_text

_UNITS = {"caption": "captions", "image": "caption lists"}


@dataclass(frozen=True)
class PartialMismatch(CaptionNoise):
    """Partial mismatch: captions exchanged between images with overlapping sets of objects.

    Captions are exchanged two by two: a random caption that has not moved gets a partner among the
    others that have not moved, drawn in proportion to the Jaccard similarity of their images. A
    caption without a possible partner stays. If an odd number moves, three captions are exchanged
    in a cycle first. Late in the draw few captions have a similar partner, so the largest possible
    ratio depends a little on the seed.

    Attributes:
        ratio: Share of the captions (caption level) or images (image level) to make wrong, 0 to 1.
        level: "caption", or "image" to exchange whole caption lists.

    Raises:
        ValueError: If the ratio is outside 0 to 1 or the level is unknown.
    """

    kind = "partial_mismatch"
    title = "partial mismatch: texts moved to images that share some objects"
    sentences = (
        CAPTION_LEVELS,
        "In a partial mismatch captions move among pictures whose sets of objects overlap but "
        "differ, the more likely the more alike.",
    )
    needs: ClassVar = {
        **CaptionNoise.needs,
        "objects": "draws partners by the objects in the pictures, but this dataset has no object "
        "sets. Noise that needs no object sets: cmp_N, cmp_image_N. To derive object sets from "
        "other columns, choose objects_from='tags' or 'captions' (the nouns of the captions).",
    }
    prefixes: ClassVar = {"part": {"level": "caption"}, "part_image": {"level": "image"}}

    def apply(self, pairs: Pairs, rng: np.random.Generator, object_sets: ArrayLike) -> Pairs:
        """Exchange captions, or whole caption lists, between images that overlap and differ.

        Exactly round(ratio * n) of the n captions (or images) are wrong afterwards. At caption
        level every image keeps its number of captions. At image level whole lists move, with
        their numbers of captions. Where the texts of the pairs are known, no image gets a text
        that describes it, see `CompleteMismatch.apply`.

        Args:
            pairs: Clean pairs.
            rng: Source of randomness.
            object_sets: True (or 1) where an image shows an object of a class,
                (n_images, n_classes), see `object_matrix`. Images without any keep their captions.

        Returns:
            Noisy pairs; `pairs` does not change.

        Raises:
            ValueError: If the pairs are noisy already, the object sets are not such a matrix, or
                there are too few partners for the ratio.
        """
        pairs.check_clean()
        objects = _check_objects(object_sets, pairs.n_images)  # (n_images, n_classes)
        owner = pairs.source_image if self.level == "caption" else np.arange(pairs.n_images)
        n_moved = self._count(len(owner))
        if n_moved == 0:
            return pairs
        partners = Partners(objects, owner, rng)
        n_objects = objects.sum(axis=1)  # (n_images,)
        order = rng.permutation(np.flatnonzero(n_objects[owner]))  # (n_items_with_objects,)
        place = self._exchange(partners, order.tolist(), n_moved)
        holder = owner[place]  # (n_captions,) or (n_images,)
        if pairs.text is not None:
            same = has_text(pairs, self.level)
            holder = exchange_same_texts(
                holder,
                np.flatnonzero(holder != owner),
                lambda items, images: (
                    same(items, images) | ~_overlap(objects, owner[items], images)
                ),
                rng,
            )
        image = holder if self.level == "caption" else holder[pairs.source_image]  # (n_captions,)
        return replace(pairs, image=image)

    def _count(self, n_items: int) -> int:
        n_moved = round(self.ratio * n_items)
        if n_moved == 1 or (n_moved == 0 and self.ratio > 0):
            raise ValueError(
                f"{self._selection(n_moved, n_items)}, but an exchange needs at least 2: raise the "
                "ratio or use more images"
            )
        return n_moved

    def _exchange(self, partners: Partners, order: list[int], n_moved: int) -> NDArray[np.int64]:
        """Exchange items, in this order, until enough have moved.

        Returns:
            The item that each item replaces, (n_items,).
        """
        place = np.arange(len(partners.taken))  # (n_items,)
        n_done = 0
        if n_moved % 2:
            sets = partners.draw_triangle(order)
            if sets is None:
                raise ValueError(
                    f"{self._selection(n_moved, len(place))}, an odd number, which needs three "
                    "images that overlap with and differ from one another, and there are none: "
                    f"choose a ratio that selects an even number, such as {n_moved - 1}"
                )
            first, second, third = (partners.take(own) for own in sets)
            place[[first, second, third]] = second, third, first
            n_done = 3
        for item in order:
            if n_done == n_moved:
                return place
            if partners.taken[item]:
                continue
            other_set = partners.draw_set(int(partners.set_of_item[item]))
            if other_set is None:
                continue
            partners.remove(item)
            other = partners.take(other_set)
            place[item], place[other] = other, item
            n_done += 2
        if n_done == n_moved:
            return place
        advice = f"lower the ratio to {floor(1000 * n_done / len(place)) / 1000:g} or less, or give"
        raise ValueError(
            f"{self._selection(n_moved, len(place))}, but only {n_done} found a partner "
            f"({len(place) - len(order)} are of images without objects): "
            f"{advice if n_done > 1 else 'give'} object sets that overlap without being equal"
        )

    def _selection(self, n_moved: int, n_items: int) -> str:
        return (
            f"ratio={self.ratio} at {self.level} level selects {n_moved} of {n_items} "
            f"{_UNITS[self.level]}"
        )


def object_matrix(
    sets: Sequence[Iterable[Hashable]],
) -> tuple[NDArray[np.bool_], list[Any]]:
    """Convert lists of object classes into the matrix that `PartialMismatch.apply` takes.

    Args:
        sets: The classes of the objects in each image, all by name or all by number; repeated
            classes count once, and an image without objects has an empty list.

    Returns:
        True where an image shows an object of a class, (n_images, n_classes), and the classes in
        the order of the columns, sorted.

    Raises:
        ValueError: If an image has no list, or names and numbers are mixed.
    """
    for row, names in enumerate(sets):
        if names is None or isinstance(names, (str, bytes)):
            raise ValueError(
                f"sets has {names!r} at row {row}: give a list of classes for each image, an empty "
                "list for an image without objects"
            )
    distinct: list[set[Any]] = [set(names) for names in sets]
    try:
        classes = sorted(set().union(*distinct))
    except TypeError as error:
        raise ValueError(
            f"sets has classes that cannot be sorted ({error}): give names only or numbers only"
        ) from error
    column = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(distinct), len(classes)), dtype=bool)  # (n_images, n_classes)
    for row, classes_of_row in enumerate(distinct):
        matrix[row, [column[name] for name in classes_of_row]] = True
    return matrix, classes


def _overlap(
    objects: NDArray[np.bool_], some: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the object sets of images overlap and differ, 0 < J < 1, (n,)."""
    both = (objects[some] & objects[others]).sum(axis=1)  # (n,)
    either = (objects[some] | objects[others]).sum(axis=1)  # (n,)
    return (both > 0) & (both < either)


def _check_objects(object_sets: ArrayLike, n_images: int) -> NDArray[np.bool_]:
    array = np.asarray(object_sets)
    if array.ndim != 2 or len(array) != n_images:
        raise ValueError(
            f"object_sets has shape {array.shape}, but the pairs have {n_images} images: give "
            "one row per image and one column per class, see object_matrix"
        )
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"object_sets has type {array.dtype}: give booleans, True where an image shows a class"
        )
    wrong = (array != 0) & (array != 1)  # (n_images, n_classes)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"object_sets has {array[row, column]} for class {column} at row {row}: give 1 where "
            "an image shows a class, however often, and 0 elsewhere"
        )
    return array.astype(bool)

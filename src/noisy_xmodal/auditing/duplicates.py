"""Images that look alike, and captions that several images have."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..modules.pixels import to_rgb
from ..noise.equal_texts import text_numbers

#: Maximum number of different bits in the hashes of similar images. Of 500 photographs saved again
#: at JPEG quality 50, or brightened, 99 and 97 % are found; with 2 bits it is 94 and 89 %.
ALIKE_BITS = 4
_BITS = 64
THUMBNAIL = 16  # pixels a side
_COPY_DIFFERENCE = 0.055  # largest mean difference of the thumbnails of one image
_FLAT_BITS = 4  # a hash with fewer set or unset bits is of a nearly flat image
_SPARE_BANDS = 3  # minimum number of bands in which two close hashes agree
_SMALL = 256  # maximum number of hashes that are all compared with each other
_PENDING = 2_000_000  # links collected before they are merged


def difference_hash(picture: Image.Image) -> int:
    """64-bit difference hash: each bit is set if the right neighbour of a cell is brighter.

    Args:
        picture: An image of any mode; it is reduced to 8 rows of 9 gray cells.

    Returns:
        An integer below 2 ** 64. Copies of other size or compression differ in few bits.
    """
    return hash_of_gray(to_rgb(picture).convert("L"))


def hash_of_gray(picture: Image.Image) -> int:
    """`difference_hash` of an image of mode "L"."""
    small = picture.resize((9, 8), Image.Resampling.LANCZOS)
    cells = np.asarray(small, dtype=np.int16)  # (8, 9)
    is_brighter = cells[:, 1:] > cells[:, :-1]  # (8, 8)
    return int.from_bytes(np.packbits(is_brighter).tobytes(), "big")


def thumbnail(picture: Image.Image) -> np.ndarray:
    """An image of mode RGB as (16, 16, 3) float32 of mean 0 and deviation 1."""
    small = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    values -= values.mean()
    return values / max(float(values.std()), 1.0)


def first_copies(thumbnails: np.ndarray) -> np.ndarray:
    """The first of the images that each image is a copy of.

    Icons have close hashes although they differ in colour or detail, so images with close hashes
    are compared again. Of 300 photographs, 98 % of the copies at JPEG quality 50, and all of half
    the size or less contrast, are copies by this; a keycap with another digit is not.

    Args:
        thumbnails: (n, 16, 16, 3), see `thumbnail`.

    Returns:
        Positions, (n,): its own for an image that is no copy of an earlier one.
    """
    first = np.arange(len(thumbnails))
    originals, n = np.empty_like(thumbnails), 0
    places: list[int] = []
    for position, small in enumerate(thumbnails):
        near = np.flatnonzero(are_copies(originals[:n], small))
        if len(near):
            first[position] = places[near[0]]
        else:
            originals[n], n = small, n + 1
            places.append(position)
    return first


def are_copies(thumbnails: np.ndarray, thumbnail: np.ndarray) -> np.ndarray:
    """Whether images are copies of one, (n,) bool, by their thumbnails (n, 16, 16, 3)."""
    differences = np.abs(thumbnails - thumbnail).mean(axis=(1, 2, 3))  # (n,)
    return np.asarray(differences < _COPY_DIFFERENCE)


def hash_bytes(hashes: np.ndarray) -> np.ndarray:
    """Hashes (n,) uint64 as faiss takes them, (n, 8) uint8."""
    return np.ascontiguousarray(hashes).view(np.uint8).reshape(len(hashes), 8)


def is_flat(hashes: np.ndarray) -> np.ndarray:
    """Whether images are nearly flat, whose hashes say little: fewer than four bits set or unset.

    Args:
        hashes: `difference_hash` of each image, (n,) uint64.

    Returns:
        (n,) bool.
    """
    n_set = np.bitwise_count(hashes)
    return np.asarray((n_set < _FLAT_BITS) | (n_set > _BITS - _FLAT_BITS))


def similar_images(hashes: np.ndarray, distance: int = 2) -> list[np.ndarray]:
    """Groups of images whose hashes differ in few bits.

    Nearly flat images, with fewer than four set or unset bits, are in no group. Bands of bits find
    close hashes five to ten times as fast as faiss (IndexBinaryFlat, IndexBinaryMultiHash).

    Args:
        hashes: `difference_hash` of each image, (n,) uint64.
        distance: Maximum number of different bits, 0 to 8. Groups are transitive, so two of their
            members may differ in more bits.

    Returns:
        Row numbers of each group of two or more, sorted; largest group first, then by first row.
    """
    rows = np.flatnonzero(~is_flat(hashes))
    distinct, position = np.unique(hashes[rows], return_inverse=True)
    label = _components(distinct, distance)[position]
    order = np.argsort(label, kind="stable")
    groups = _groups(label[order], rows[order], 2)[1]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def _groups(
    labels: np.ndarray, rows: np.ndarray, least: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The labels of at least some rows, and the rows of each; labels are ascending."""
    is_large = np.bincount(labels)[labels] >= least
    labels, rows = labels[is_large], rows[is_large]
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    return labels[starts], np.split(rows, starts[1:]) if len(starts) else []


def _components(distinct: np.ndarray, distance: int) -> np.ndarray:
    """Labels of the connected components of close hashes, (n,)."""
    labels = np.arange(len(distinct))
    pending: list[np.ndarray] = []
    n_pending = 0
    for links in _close_pairs(distinct, np.arange(len(distinct)), range(_BITS), distance):
        pending.append(links[:, labels[links[0]] != labels[links[1]]])  # (2, n_links)
        n_pending += pending[-1].shape[1]
        if n_pending > _PENDING:
            labels = _merge(labels, pending)
            pending, n_pending = [], 0
    return _merge(labels, pending)


def _merge(labels: np.ndarray, links: list[np.ndarray]) -> np.ndarray:
    """Labels after merging the labels at both ends of each link."""
    ends = labels[np.hstack([np.empty((2, 0), np.int64), *links])]  # (2, n_links)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), tuple(ends)), shape=(len(labels),) * 2)
    return connected_components(graph, directed=False)[1][labels]


def _close_pairs(
    hashes: np.ndarray, names: np.ndarray, free: Sequence[int], distance: int
) -> Iterator[np.ndarray]:
    """Find pairs of distinct hashes that differ in at most `distance` bits.

    The bits are divided into `distance + _SPARE_BANDS` bands, so two close hashes agree in at least
    `_SPARE_BANDS` of them. Only hashes that agree in these bands are compared. If many agree, their
    remaining bits are divided into bands again.

    Args:
        hashes: Distinct hashes, (n,).
        names: Number of each hash, (n,).
        free: The bits in which the hashes may differ.
        distance: Maximum number of different bits.

    Yields:
        Numbers of both ends, (2, n_links); a pair may occur several times.
    """
    n_bands = distance + _SPARE_BANDS
    # Interleaved: neighbouring bits belong to neighbouring cells and are often equal everywhere.
    bands = [list(free[start::n_bands]) for start in range(n_bands)]
    for chosen in combinations(range(n_bands), _SPARE_BANDS):
        fixed = {bit for band in chosen for bit in bands[band]}
        mask = np.uint64(sum(1 << bit for bit in fixed))
        key = hashes & mask
        order = np.argsort(key)
        key, edges = key[order], np.flatnonzero(np.diff(key[order])) + 1
        starts = np.concatenate(([0], edges))
        sizes = np.diff(np.append(starts, len(key)))
        is_small = (sizes <= _SMALL) | (len(free) <= n_bands)
        small = order[np.repeat(is_small & (sizes > 1), sizes)]
        yield from _compare(hashes[small], names[small], hashes[small] & mask, distance)
        rest = [bit for bit in free if bit not in fixed]
        for bucket in np.flatnonzero(~is_small):
            members = order[starts[bucket] : starts[bucket] + sizes[bucket]]
            yield from _close_pairs(hashes[members], names[members], rest, distance)


def _compare(
    hashes: np.ndarray, names: np.ndarray, key: np.ndarray, distance: int
) -> Iterator[np.ndarray]:
    """Compare each hash with all others of its key; equal keys are consecutive."""
    here = np.arange(len(hashes))
    step = 0
    while True:
        step += 1
        here = here[here + step < len(hashes)]
        here = here[key[here] == key[here + step]]
        if not len(here):
            return
        near = here[np.bitwise_count(hashes[here] ^ hashes[here + step]) <= distance]
        if len(near):
            yield np.stack([names[near], names[near + step]])


def repeated_captions(
    captions: Sequence[str], rows: np.ndarray, min_images: int = 3
) -> list[tuple[str, np.ndarray]]:
    """Texts that several images have as captions.

    Case and the width of white space are ignored, and so are empty captions.

    Args:
        captions: Captions of all pairs.
        rows: Image of each pair, (n_pairs,).
        min_images: Minimum number of different images of a text.

    Returns:
        Each text in its first spelling, and its distinct images, ascending; most images first.
    """
    numbers = text_numbers(captions)  # (n_pairs,), by the first pair of each text
    first_pairs = np.unique(numbers, return_index=True)[1]
    pairs = np.unique(np.stack([numbers, rows]), axis=1)  # (2, n), distinct (text, image)
    repeated, groups = _groups(pairs[0], pairs[1], min_images)
    texts = [" ".join(captions[pair].split()) for pair in first_pairs[repeated]]
    found = [(text, group) for text, group in zip(texts, groups, strict=True) if text]
    return sorted(found, key=lambda item: -len(item[1]))

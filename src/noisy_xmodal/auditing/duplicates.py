"""Pictures that look alike, and captions that stand on several images."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..data.equal_texts import text_numbers
from ..modules.pixels import to_rgb

LARGEST_DISTANCE = 8

_BITS = 64
_FLAT_BITS = 4  # a hash with fewer bits that are set, or that are not, tells of no content
_SPARE_BANDS = 3  # bands in which two close hashes agree at least
_SMALL = 256  # hashes that are compared each with each
_PENDING = 2_000_000  # links kept before they are merged


def difference_hash(picture: Image.Image) -> int:
    """The 64 bits that tell whether brightness grows from each cell to its right neighbour.

    Args:
        picture: Of any mode; seen in gray, as 8 rows of 9 cells.

    Returns:
        A number below 2 ** 64. Copies of other size or compression differ in few bits.
    """
    gray = to_rgb(picture).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    cells = np.asarray(gray, dtype=np.int16)  # (8, 9)
    grows = cells[:, 1:] > cells[:, :-1]  # (8, 8)
    return int.from_bytes(np.packbits(grows).tobytes(), "big")


def alike_pictures(hashes: np.ndarray, distance: int = 2) -> list[np.ndarray]:
    """Groups of pictures whose hashes differ in few bits.

    Nearly flat pictures, fewer than four of whose bits are set or unset, are in no group.

    Args:
        hashes: `difference_hash` of each picture, (n,) uint64.
        distance: Bits in which two may differ, 0 to 8. Groups are transitive: their ends may
            differ in more.

    Returns:
        Row numbers of each group of two or more, sorted; largest group first.

    Raises:
        ValueError: If the hashes are not a row of uint64, or the distance is out of its range.
    """
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise ValueError(
            f"hashes has shape {hashes.shape} and dtype {hashes.dtype}: give (n,) uint64"
        )
    if not 0 <= distance <= LARGEST_DISTANCE:
        raise ValueError(f"distance is {distance}: give 0 to {LARGEST_DISTANCE}")
    n_set = np.bitwise_count(hashes)
    rows = np.flatnonzero((n_set >= _FLAT_BITS) & (n_set <= _BITS - _FLAT_BITS))
    distinct, kind = np.unique(hashes[rows], return_inverse=True)
    return _groups(_linked(distinct, distance)[kind], rows)


def _groups(labels: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each label that two or more have, largest group first, then by first row."""
    _, label, counts = np.unique(labels, return_inverse=True, return_counts=True)
    several = counts[label] > 1
    rows, label = rows[several], label[several]
    order = np.lexsort((rows, label))
    rows, starts = rows[order], np.flatnonzero(np.diff(label[order])) + 1
    groups = np.split(rows, starts) if len(rows) else []
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def _linked(distinct: np.ndarray, distance: int) -> np.ndarray:
    """Labels that hashes share if a chain of close ones joins them, (n,)."""
    labels = np.arange(len(distinct))
    if distance == 0:
        return labels
    pending: list[np.ndarray] = []
    n_pending = 0
    for links in _close_pairs(distinct, np.arange(len(distinct)), range(_BITS), distance):
        new = links[:, labels[links[0]] != labels[links[1]]]  # (2, n_links)
        pending.append(new)
        n_pending += new.shape[1]
        if n_pending > _PENDING:
            labels = _merged(labels, np.hstack(pending))
            pending, n_pending = [], 0
    return _merged(labels, np.hstack(pending)) if pending else labels


def _merged(labels: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Labels after the labels at both ends of each link have become one."""
    n = len(labels)
    ends = labels[links]  # (2, n_links)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(n, n))
    return connected_components(graph, directed=False)[1][labels]


def _close_pairs(
    hashes: np.ndarray, names: np.ndarray, free: Sequence[int], distance: int
) -> Iterator[np.ndarray]:
    """Finds pairs of distinct hashes that differ in at most `distance` bits.

    Bits are dealt to a few bands more than may differ, so that two close hashes agree in some
    `_SPARE_BANDS` of them: only hashes with equal bits there are compared. Where many agree,
    their remaining bits are dealt to bands again.

    Args:
        hashes: Distinct, (n,).
        names: What to call each, (n,).
        free: The bits in which any of them differ.
        distance: Bits in which two may differ.

    Yields:
        Names of both ends, (2, n_links); a pair may come several times.
    """
    n_bands = distance + _SPARE_BANDS
    # Dealt in turn: neighbouring bits are of neighbouring cells, and often equal everywhere.
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
        yield from _compared(hashes[small], names[small], hashes[small] & mask, distance)
        rest = [bit for bit in free if bit not in fixed]
        for bucket in np.flatnonzero(~is_small):
            members = order[starts[bucket] : starts[bucket] + sizes[bucket]]
            yield from _close_pairs(hashes[members], names[members], rest, distance)


def _compared(
    hashes: np.ndarray, names: np.ndarray, key: np.ndarray, distance: int
) -> Iterator[np.ndarray]:
    """Compares each hash with all others of its key; equal keys stand together."""
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
    captions: Sequence[str], rows: np.ndarray, least: int = 3
) -> list[tuple[str, np.ndarray]]:
    """Texts that stand on several images.

    Case and the width of white space do not matter; captions without text are passed over.

    Args:
        captions: Of all pairs.
        rows: Image of each, (n_pairs,).
        least: Different images from which on a text is told.

    Returns:
        Each text as it is first spelt, and its images, sorted and distinct; most images first.

    Raises:
        ValueError: If there is not one row for each caption.
    """
    if rows.shape != (len(captions),):
        raise ValueError(f"rows has shape {rows.shape}, but there are {len(captions)} captions")
    numbers = text_numbers(captions)  # (n_pairs,), by the first pair of each text
    spelt = [" ".join(captions[pair].split()) for pair in np.unique(numbers, return_index=True)[1]]
    pairs = np.unique(np.stack([numbers, rows]), axis=1)  # (2, n), each text on each image once
    n_images = np.bincount(pairs[0], minlength=len(spelt))
    starts = np.cumsum(n_images) - n_images
    told = np.flatnonzero(n_images >= least)
    told = told[np.argsort(-n_images[told], kind="stable")]
    return [
        (spelt[text], pairs[1, starts[text] : starts[text] + n_images[text]])
        for text in told
        if spelt[text]
    ]

"""Many values in narrow bins, and k-means in one dimension.

A bin keeps the sums of its values, so few points represent many values. The sums of a k-means group
are the difference of the sums below its two ends.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_BLOCK = 2**15
_N_BINS = 2048  # relative error of the parameters of a beta mixture: 1e-8; with 1024 bins 1e-7


class BinnedValues:
    """Many values in narrow bins, with the sums of weight, value and square over each.

    Bins are equally wide in log(x / (1 - x)), so they are narrow at both ends, where a beta density
    has the largest curvature.
    """

    def __init__(self, values: FloatArray, weight: FloatArray, margin: float) -> None:
        self._values, self._weight, self._margin = values, weight, margin
        self._highest = np.log1p(-margin) - np.log(margin)  # largest log(x / (1 - x))
        self._bin = np.empty(len(values), dtype=np.uint16)  # (n,)
        self._sums = np.zeros((3, _N_BINS))
        for rows in blocks(len(values)):
            block = np.clip(values[rows], margin, 1 - margin)  # (n_rows,)
            bins, part = self._bins(block), weight[rows]  # (n_rows,) each
            self._bin[rows] = bins
            for power in self._sums:
                power += np.bincount(bins, part, _N_BINS)
                part = part * block

    def points(self) -> tuple[FloatArray, FloatArray]:
        """Few values and weights that represent all values.

        A bin gives two values of half its weight, one standard deviation below and above its mean:
        they have the sums of the bin. In the last bins they can be slightly outside the margin.
        """
        weight, total, squares = self._sums[:, self._sums[0] > 0]  # (n_filled,) each
        mean = total / weight
        deviation = np.sqrt(np.maximum(squares / weight - mean**2, 0))
        points = np.concatenate([mean - deviation, mean + deviation])  # (2 * n_filled,)
        least = self._margin / 2  # against rounding with a tiny margin
        return np.clip(points, least, 1 - least), np.tile(weight / 2, 2)

    def groups(self, n_groups: int) -> FloatArray:
        """Sums over the groups of k-means, (n_groups, 3), equal to those over the values."""
        sums = np.insert(np.cumsum(self._sums, axis=1), 0, 0, axis=1).T  # (_N_BINS + 1, 3)

        @cache
        def members(at: int) -> tuple[FloatArray, FloatArray]:
            inside = np.flatnonzero(self._bin == at)
            values = np.clip(self._values[inside], self._margin, 1 - self._margin)
            return values, self._weight[inside]

        def below(cut: float) -> FloatArray:
            at = int(self._bins(np.array([cut]))[0])
            values, weight = members(at)  # (n_inside,) each
            lower = values < cut
            return sums[at] + weighted_powers(values[lower], weight[lower]).sum(axis=0)

        low, high = np.clip(
            [self._values.min(), self._values.max()], self._margin, 1 - self._margin
        )
        cuts = k_means_cuts(below, sums[-1], low, high, n_groups)
        edges = np.array([np.zeros(3), *map(below, cuts), sums[-1]])  # (n_groups + 1, 3)
        return np.diff(edges, axis=0)

    def _bins(self, values: FloatArray) -> NDArray[np.int64]:
        height = np.log(values / (1 - values)) + self._highest  # (n,)
        bins = (height * (_N_BINS / (2 * self._highest))).astype(np.int64)
        return np.clip(bins, 0, _N_BINS - 1)


def weighted_powers(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Weight, weighted value and weighted square of each value, (n, 3)."""
    return weight[:, None] * np.stack([np.ones_like(values), values, values**2], axis=1)


def k_means_cuts(
    below: Callable[[float], FloatArray], whole: FloatArray, low: float, high: float, n_groups: int
) -> FloatArray:
    """Cuts between the groups of k-means, (n_groups - 1,).

    Args:
        below: Returns the sums over the values below a cut, (3,): weight, total and squares.
        whole: Sums over all values, (3,).
        low: The lowest value.
        high: The highest value.
        n_groups: Number of groups.
    """
    centres = np.linspace(low, high, 2 * n_groups + 1)[1::2]  # (n_groups,)
    cuts, edges = centres[:0], np.zeros(0)
    for _ in range(100):
        cuts = (centres[1:] + centres[:-1]) / 2  # (n_groups - 1,)
        last, edges = edges, np.array([0 * whole, *map(below, cuts), whole])  # (n_groups + 1, 3)
        if np.array_equal(edges, last):
            break
        groups = np.diff(edges, axis=0)  # (n_groups, 3)
        filled = groups[:, 0] > 1e-12 * whole[0]  # more than a rounding error
        centres[filled] = groups[filled, 1] / groups[filled, 0]
    return cuts


def blocks(n_values: int) -> Iterator[slice]:
    """Consecutive blocks whose intermediate results fit into the cache of a processor."""
    for start in range(0, n_values, _BLOCK):
        yield slice(start, start + _BLOCK)

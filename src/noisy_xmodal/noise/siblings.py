"""Evidence of siblings: the other captions of an image tell whether a caption is wrong, too.

If whole sets of captions were exchanged, the losses of an image's captions are nearly equal, and
their mean tells more than each of them. If single captions were exchanged, it tells nothing. How
much they agree can be measured, so nobody needs to know which kind of noise it is:

    loss_ij' = (1 - rho) loss_ij + rho mean_j loss_ij

where rho is the intraclass correlation of the losses of an image: the share of their variance that
is between images. The mean is the best linear predictor for rho = 1, the loss itself for rho = 0.

Source: Fisher, "Statistical Methods for Research Workers", 1925, chapter VII; the estimator for
groups of different sizes as in Donner, International Statistical Review 54, 1986.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def intraclass_correlation(values: ArrayLike, groups: ArrayLike) -> float:
    """Share of the variance that is between groups, by the analysis of variance.

    Args:
        values: A value for each member, (n,).
        groups: The group of each member, (n,), integers from 0.

    Returns:
        0 to 1; 0 if no group has several members, or all values are equal.
    """
    value, group = np.asarray(values, dtype=np.float64), np.asarray(groups)
    sizes = np.bincount(group)
    sizes = sizes[sizes > 0]  # (n_groups,)
    n, n_groups = len(value), len(sizes)
    if n_groups < 2 or n == n_groups:
        return 0.0
    means = group_means(value, group)  # (n,)
    within = float(((value - means) ** 2).sum()) / (n - n_groups)
    between = float(((means - value.mean()) ** 2).sum()) / (n_groups - 1)
    size = (n - float((sizes**2).sum()) / n) / (n_groups - 1)
    total = between + (size - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def shrink_to_siblings(losses: ArrayLike, groups: ArrayLike) -> NDArray[np.float64]:
    """Move each loss towards the mean of its group, as far as groups agree.

    Args:
        losses: Loss of each pair, (n,).
        groups: The image of each pair, (n,), integers from 0.

    Returns:
        (n,).
    """
    values, group = np.asarray(losses, dtype=np.float64), np.asarray(groups)
    share = intraclass_correlation(values, group)
    return (1 - share) * values + share * group_means(values, group)


def group_means(values: NDArray[np.float64], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean of the group of each member, (n,).

    Args:
        values: A value for each member, (n,).
        groups: The group of each member, (n,), integers from 0.
    """
    counts = np.bincount(groups)
    sums = np.bincount(groups, weights=values)
    means: NDArray[np.float64] = (sums / np.maximum(counts, 1))[groups]
    return means

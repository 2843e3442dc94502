"""The intraclass correlation against simulated shares of variance, and the shrinkage by it."""

import numpy as np
import pytest

from noisy_xmodal.noise.siblings import (
    group_means,
    intraclass_correlation,
    shrink_to_siblings,
)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_it_is_the_share_of_variance_between_groups(share):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3000), rng.integers(1, 8, 3000))
    between = rng.normal(0, share**0.5, 3000)[groups]
    values = 5 + between + rng.normal(0, (1 - share) ** 0.5, len(groups))
    assert intraclass_correlation(values, groups) == pytest.approx(share, abs=0.02)


def test_it_is_that_of_the_anova_table_for_equal_groups():
    values = np.array([[1.0, 2.0, 4.0], [3.0, 3.5, 5.0], [7.0, 8.0, 6.0], [0.0, 2.0, 1.0]])
    k, groups = 3, np.repeat(np.arange(4), 3)
    between = k * values.mean(axis=1).var(ddof=1)
    within = values.var(axis=1, ddof=1).mean()
    expected = (between - within) / (between + (k - 1) * within)
    assert intraclass_correlation(values.ravel(), groups) == pytest.approx(expected)
    moved = shrink_to_siblings(values.ravel(), groups).reshape(4, 3)
    means = values.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(moved, means + (1 - expected) * (values - means))


def test_order_of_pairs_and_numbers_of_groups_do_not_matter():
    rng = np.random.default_rng(1)
    groups, values = rng.integers(0, 9, 60), rng.normal(size=60)
    order = rng.permutation(60)
    moved = shrink_to_siblings(values, groups)
    np.testing.assert_allclose(shrink_to_siblings(values[order], groups[order]), moved[order])
    np.testing.assert_allclose(shrink_to_siblings(values, 7 + 3 * groups), moved)
    for group in range(9):
        assert group_means(values, groups)[groups == group] == pytest.approx(
            values[groups == group].mean()
        )


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ([1.0, 5.0, 2.0], [0, 1, 2]),  # no siblings
        ([1.0, 5.0, 2.0], [0, 0, 0]),  # one image
        ([2.0, 2.0, 2.0, 2.0], [0, 0, 1, 1]),
        ([1.0, 5.0, 1.0, 5.0], [0, 0, 1, 1]),  # siblings differ more than images
    ],
)
def test_where_siblings_tell_nothing_losses_stay(values, groups):
    assert intraclass_correlation(values, groups) == 0
    np.testing.assert_array_equal(shrink_to_siblings(values, groups), values)

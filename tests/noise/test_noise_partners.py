"""Partners: proportional to the Jaccard similarity, on every path to a draw."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2

from noisy_xmodal.noise import object_matrix, partners
from noisy_xmodal.noise.partners import Partners

SETS = ["ab", "abc", "a", "b", "bcd", "ab", "e", "abcdefgh", "fg", "", "ad", "h"]
MATRIX, _ = object_matrix([list(names) for names in SETS])
OWNER = np.repeat(np.arange(len(SETS)), [2, 5, 1, 3, 2, 4, 1, 1, 6, 2, 3, 1])


def jaccard(first, second):
    union = set(first) | set(second)
    return len(set(first) & set(second)) / len(union) if union else 0.0


def weights(own, items):
    """The share of each set among the partners of an item of `own`, as slow loops."""
    weight = dict.fromkeys(SETS, 0.0)
    for item in items:
        similarity = jaccard(own, SETS[OWNER[item]])
        weight[SETS[OWNER[item]]] += similarity if similarity < 1 else 0
    return {names: value / sum(weight.values()) for names, value in weight.items() if value}


def set_names(world):
    """The set of each set number."""
    return {int(number): SETS[OWNER[item]] for item, number in enumerate(world.set_of_item)}


def assert_shares(found, expected):
    """A chi-square test that a right draw fails once in a million."""
    assert set(found) <= set(expected)
    total = sum(found.values())
    distance = sum((found.get(k, 0) - total * p) ** 2 / (total * p) for k, p in expected.items())
    assert distance < chi2.ppf(1 - 1e-6, max(1, len(expected) - 1))


@pytest.mark.parametrize("patience", [0, 1, 64, 1000], ids="patience {}".format)
@pytest.mark.parametrize("gone", [[], [2, 3, 4, 7, 8, 9, 20], list(range(9, 31, 2))])
@pytest.mark.parametrize("own", ["ab", "a", "abcdefgh", "fg"])
def test_sets_are_drawn_in_proportion_to_jaccard(monkeypatch, patience, gone, own):
    monkeypatch.setattr(partners, "_PATIENCE", patience)
    world = Partners(MATRIX, OWNER, np.random.default_rng(0))
    for item in gone:
        world.remove(item)
    names = set_names(world)
    number = next(number for number, text in names.items() if text == own)
    found = {}
    for _ in range(2000):
        drawn = names[world.draw_set(number)]
        found[drawn] = found.get(drawn, 0) + 1
    assert_shares(found, weights(own, set(range(len(OWNER))) - set(gone)))


def test_items_of_a_set_are_drawn_evenly_and_once():
    found = {}
    for seed in range(1500):
        world = Partners(MATRIX, OWNER, np.random.default_rng(seed))
        own = int(world.set_of_item[0])
        items = np.flatnonzero(world.set_of_item == own).tolist()
        world.remove(items[1])
        taken = [world.take(own) for _ in items[1:]]
        assert sorted(taken) == [items[0], *items[2:]]
        assert all(world.taken[item] for item in items)
        found[taken[0]] = found.get(taken[0], 0) + 1
    assert_shares(found, dict.fromkeys([items[0], *items[2:]], 1 / (len(items) - 1)))


@pytest.mark.parametrize("patience", [0, 64])
def test_without_a_partner_left_none_is_drawn(monkeypatch, patience):
    monkeypatch.setattr(partners, "_PATIENCE", patience)
    matrix, _ = object_matrix([["a"], ["a"], ["a", "b"], ["c"]])
    world = Partners(matrix, np.arange(4), np.random.default_rng(0))
    first, _, wider, alone = world.set_of_item.tolist()
    assert world.draw_set(alone) is None
    assert world.draw_set(first) == wider
    world.remove(2)
    assert world.draw_set(first) is None
    assert world.draw_set(first) is None


@pytest.mark.parametrize("patience", [0, 64], ids=["by search", "by draws"])
def test_the_only_triangle_is_found(monkeypatch, patience):
    monkeypatch.setattr(partners, "_PATIENCE", patience)
    sets = ["ab", "bc", "cd", "de", "xy", "yz", "zx", "fg", "gh"]
    matrix, _ = object_matrix([list(names) for names in sets])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        world = Partners(matrix, np.arange(len(sets)), rng)
        found = world.draw_triangle(rng.permutation(len(sets)).tolist())
        assert sorted(found) == [4, 5, 6]


@pytest.mark.parametrize("patience", [0, 64])
@pytest.mark.parametrize("seed", range(10))
def test_triangles_of_random_worlds(monkeypatch, seed, patience):
    monkeypatch.setattr(partners, "_PATIENCE", patience)
    rng = np.random.default_rng(seed)
    matrix = rng.random((8, 9)) < 0.2
    sets = [set(np.flatnonzero(row)) for row in matrix]
    exists = any(
        all(0 < jaccard(*two) < 1 for two in combinations(three, 2))
        for three in combinations(sets, 3)
    )
    world = Partners(matrix, np.arange(8), rng)
    found = world.draw_triangle(rng.permutation(np.flatnonzero(matrix.any(axis=1))).tolist())
    assert (found is not None) == exists
    if found:
        three = [sets[world.set_of_item.tolist().index(number)] for number in found]
        assert all(0 < jaccard(*two) < 1 for two in combinations(three, 2))


def test_thousands_of_classes_and_large_sets():
    rng = np.random.default_rng(0)
    matrix = rng.random((300, 3000)) < 0.3
    world = Partners(matrix, np.arange(300), rng)
    assert len({world.draw_set(0) for _ in range(300)}) > 100

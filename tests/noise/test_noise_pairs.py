"""Pairs: counts, slots and what they refuse."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_xmodal.noise import Pairs

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=10)


def slots_by_hand(pairs):
    """The rule of `rows` as slow loops, for rows that keep their number of captions."""
    rows = []
    for row in range(pairs.n_images):
        slots = [c for c in range(len(pairs.image)) if pairs.source_image[c] == row]
        incoming = [c for c in range(len(pairs.image)) if pairs.image[c] == row and c not in slots]
        rows.append([slot if pairs.image[slot] == row else incoming.pop(0) for slot in slots])
        assert not incoming
    return rows


def test_clean_pairs_of_ragged_counts():
    pairs = Pairs.from_counts([2, 1, 3])
    assert pairs.image.tolist() == [0, 0, 1, 2, 2, 2]
    assert pairs.source_image.tolist() == [0, 0, 1, 2, 2, 2]
    assert pairs.image.dtype == np.int64
    assert pairs.n_images == 3
    assert not pairs.is_noisy.any()
    assert [row.tolist() for row in pairs.rows()] == [[0, 1], [2], [3, 4, 5]]


def test_moved_caption_takes_the_slot_that_was_left():
    pairs = Pairs(image=[0, 1, 0, 1, 0, 1], source_image=[0, 0, 0, 1, 1, 1])
    assert pairs.is_noisy.tolist() == [False, True, False, False, True, False]
    assert [row.tolist() for row in pairs.rows()] == [[0, 4, 2], [3, 1, 5]]


def test_whole_lists_of_different_length_move_whole():
    pairs = Pairs(image=[1, 1, 1, 2, 0, 0], source_image=[0, 0, 0, 1, 2, 2])
    assert [row.tolist() for row in pairs.rows()] == [[4, 5], [0, 1, 2], [3]]


@pytest.mark.parametrize("seed", range(5))
def test_rows_agree_with_slow_loops(seed):
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(7), rng.integers(1, 5, size=7))
    image = source.copy()
    some = rng.permutation(len(source))[:9]
    image[some] = rng.permutation(image[some])
    pairs = Pairs(image=image, source_image=source)
    assert [row.tolist() for row in pairs.rows()] == slots_by_hand(pairs)


@MANY
@given(counts=COUNTS, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_rows_are_a_permutation_that_keeps_counts_and_untouched_slots(counts, share, seed):
    clean = Pairs.from_counts(counts)
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(clean.image))[: round(share * len(clean.image))]
    image = clean.image.copy()
    image[some] = rng.permutation(image[some])
    pairs = Pairs(image=image, source_image=clean.image)
    rows = [row.tolist() for row in pairs.rows()]
    assert rows == slots_by_hand(pairs)
    assert [len(row) for row in rows] == counts
    slots = [caption for row in rows for caption in row]
    assert sorted(slots) == list(range(len(slots)))
    for slot in np.flatnonzero(~pairs.is_noisy):
        assert slots[slot] == slot


@MANY
@given(counts=COUNTS, shuffle=st.randoms(use_true_random=False))
def test_rows_take_whole_lists_as_they_are(counts, shuffle: random.Random):
    lists = [row.tolist() for row in Pairs.from_counts(counts).rows()]
    given_to = list(range(len(counts)))
    shuffle.shuffle(given_to)
    source = np.repeat(np.arange(len(counts)), counts)
    rows = Pairs(image=np.array(given_to)[source], source_image=source).rows()
    assert [rows[row].tolist() for row in given_to] == lists


def test_pairs_neither_share_nor_give_away_their_arrays():
    image = np.array([0, 1])
    pairs = Pairs(image=image, source_image=image)
    image[0] = 1
    assert pairs.image.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        pairs.image[0] = 1


@pytest.mark.parametrize(
    ("image", "source", "message"),
    [
        ([0, 1], [0, 1, 2], "one of each per caption"),
        ([0, 0], [0, 2], "each at least once"),
        ([0, 0], [1, 1], "each at least once"),
        ([0, 0], [1, 0], "in order"),
        ([0, 2], [0, 1], "caption 1 to row 2"),
        ([0, -1], [0, 1], "caption 1 to row -1"),
        ([0.0, 1.0], [0, 1], "image has shape .* float64"),
        ([[0], [1]], [0, 1], "flat integer array"),
    ],
)
def test_bad_pairs_are_refused(image, source, message):
    with pytest.raises(ValueError, match=message):
        Pairs(image=np.array(image), source_image=np.array(source))


@pytest.mark.parametrize(
    ("counts", "message"),
    [([2, 0, 1], "row 1 0 captions"), ([1.5, 2], "list of integers"), ([[1, 2]], "flat list")],
)
def test_bad_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        Pairs.from_counts(counts)

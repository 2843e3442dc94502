"""Complete mismatch: exact counts, kept row sizes, names and refusals."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_xmodal.noise import CompleteMismatch, Pairs

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)

RAGGED = [3, 1, 5, 2, 4, 1, 2, 6, 1, 3]
COUNTS = {"five each": [5] * 20, "one each": [1] * 50, "ragged": RAGGED}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.4, 0.6, 0.85, 1.0])
def test_caption_level_is_exact_for_many_seeds(counts, ratio):
    pairs = Pairs.from_counts(counts)
    for seed in range(30):
        noisy = CompleteMismatch(ratio).apply(pairs, np.random.default_rng(seed))
        assert noisy.is_noisy.sum() == round(ratio * len(pairs.image))
        assert np.bincount(noisy.image).tolist() == list(counts)
        rows = noisy.rows()
        assert [len(row) for row in rows] == list(counts)
        slots = np.concatenate(rows)
        assert sorted(slots) == list(range(len(slots)))
        stayed = ~noisy.is_noisy
        assert (slots[stayed] == np.arange(len(slots))[stayed]).all()
        assert (noisy.source_image == pairs.source_image).all()
        assert not pairs.is_noisy.any()


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("ratio", [0.2, 0.4, 0.6, 0.85, 1.0])
def test_image_level_is_exact_for_many_seeds(counts, ratio):
    pairs = Pairs.from_counts(counts)
    lists = [row.tolist() for row in pairs.rows()]
    for seed in range(30):
        noisy = CompleteMismatch(ratio, level="image").apply(pairs, np.random.default_rng(seed))
        rows = [row.tolist() for row in noisy.rows()]
        changed = sum(row != own for row, own in zip(rows, lists, strict=True))
        assert changed == round(ratio * len(counts))
        assert sorted(rows) == sorted(lists)


def test_one_image_with_half_of_the_captions_is_just_possible():
    pairs = Pairs.from_counts([4, 1, 1, 2])
    for seed in range(50):
        noisy = CompleteMismatch(1.0).apply(pairs, np.random.default_rng(seed))
        assert noisy.is_noisy.all()


def test_every_exchange_of_four_images_occurs():
    pairs = Pairs.from_counts([1] * 4)
    found = {
        tuple(CompleteMismatch(1.0).apply(pairs, np.random.default_rng(seed)).image.tolist())
        for seed in range(200)
    }
    expected = {p for p in permutations(range(4)) if all(p[i] != i for i in range(4))}
    assert found == expected


def test_selection_and_targets_are_spread_evenly():
    pairs = Pairs.from_counts([2] * 5)
    moved, received = np.zeros(10), np.zeros((5, 5))
    for seed in range(2000):
        noisy = CompleteMismatch(0.4).apply(pairs, np.random.default_rng(seed))
        moved += noisy.is_noisy
        np.add.at(received, (noisy.source_image[noisy.is_noisy], noisy.image[noisy.is_noisy]), 1)
    assert moved / 2000 == pytest.approx(np.full(10, 0.4), abs=0.05)
    expected = 2000 * 4 / 20 * (1 - np.eye(5))
    assert received == pytest.approx(expected, abs=0.2 * 400)


@pytest.mark.parametrize("level", ["caption", "image"])
def test_the_seed_decides(level):
    pairs = Pairs.from_counts([5] * 40)
    noise = CompleteMismatch(0.4, level)
    first, again, other = (noise.apply(pairs, np.random.default_rng(s)).image for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("level", ["caption", "image"])
def test_ratio_zero_leaves_all_pairs(level):
    pairs = Pairs.from_counts([2, 3])
    noisy = CompleteMismatch(0.0, level).apply(pairs, np.random.default_rng(0))
    assert not noisy.is_noisy.any()


@pytest.mark.parametrize(
    ("counts", "ratio", "level"),
    [
        ([1] * 10, 0.1, "caption"),  # one caption cannot be exchanged
        ([1] * 10, 0.01, "caption"),  # rounds to none
        ([5] * 10, 0.1, "image"),
        ([5] * 10, 0.01, "image"),
        ([5], 1.0, "caption"),  # a single image
        ([5], 1.0, "image"),
        ([5, 1, 1], 1.0, "caption"),  # five captions, two places elsewhere
        ([2, 2], 0.75, "caption"),  # three captions of two images
    ],
)
def test_impossible_requests_name_the_ratio(counts, ratio, level):
    with pytest.raises(ValueError, match=rf"ratio={ratio} at {level} level selects"):
        CompleteMismatch(ratio, level).apply(Pairs.from_counts(counts), np.random.default_rng(0))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, 40, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio is .* between 0 and 1"):
        CompleteMismatch(ratio)


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="choose one of caption, image"):
        CompleteMismatch(0.4, level="word")


def test_noise_on_noise_is_refused():
    pairs = Pairs(image=[1, 0], source_image=[0, 1])
    with pytest.raises(ValueError, match="2 noisy pairs already"):
        CompleteMismatch(1.0).apply(pairs, np.random.default_rng(0))


def can_all_move(owner, n_chosen):
    """Whether n_chosen items can be picked so that no image owns more than half of them."""
    usable = sum(min(owner.count(image), n_chosen // 2) for image in set(owner))
    return n_chosen >= 2 and usable >= n_chosen


@MANY
@given(
    counts=st.lists(st.integers(1, 6), max_size=12),
    ratio=st.floats(0, 1),
    level=st.sampled_from(["caption", "image"]),
    seed=st.integers(0, 2**32),
)
def test_any_counts_and_ratio_are_exact_or_refused(counts, ratio, level, seed):
    pairs = Pairs.from_counts(np.array(counts, dtype=int))
    owner = pairs.source_image.tolist() if level == "caption" else list(range(len(counts)))
    n_chosen = round(ratio * len(owner))
    noise = CompleteMismatch(ratio, level)
    if ratio > 0 and not can_all_move(owner, n_chosen):
        with pytest.raises(ValueError, match=rf"selects {n_chosen} of {len(owner)} {level}s"):
            noise.apply(pairs, np.random.default_rng(seed))
        return
    noisy = noise.apply(pairs, np.random.default_rng(seed))
    assert (noisy.image == noise.apply(pairs, np.random.default_rng(seed)).image).all()
    assert not pairs.is_noisy.any()
    rows = [row.tolist() for row in noisy.rows()]
    if level == "caption":
        assert noisy.is_noisy.sum() == n_chosen
        assert [len(row) for row in rows] == counts
    else:
        lists = [row.tolist() for row in pairs.rows()]
        assert sum(row != own for row, own in zip(rows, lists, strict=True)) == n_chosen
        assert sorted(rows) == sorted(lists)

"""No caption is exchanged for one of the same text; nothing else changes, counts stay exact."""

import numpy as np
import pytest

from noisy_xmodal.noise import CompleteMismatch, Pairs, PartialMismatch, same_texts


def noisy_pairs(noise, level, ratio, counts, text, seed, objects=None):
    pairs = Pairs.from_counts(counts, text)
    kind = CompleteMismatch if noise == "complete" else PartialMismatch
    more = () if noise == "complete" else (objects,)
    return kind(ratio, level).apply(pairs, np.random.default_rng(seed), *more)


def texts_that_fit(pairs, text):
    """How many captions that moved have the text of a caption of their new image."""
    own = {(i, t) for i, t in zip(pairs.source_image, text, strict=True)}
    moved = zip(pairs.image, text, pairs.is_noisy, strict=True)
    return sum((i, t) in own for i, t, is_noisy in moved if is_noisy)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", ["caption", "image"])
@pytest.mark.parametrize("noise", ["complete", "partial"])
@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_draws_are_mended_where_a_text_came_back_and_nowhere_else(noise, level, ratio, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, 120)
    n = counts.sum()
    text = np.where(rng.random(n) < 0.5, rng.integers(0, 6, n), 10 + np.arange(n))  # half repeat
    objects = rng.random((120, 6)) < 0.5
    asked = (noise, level, ratio, counts)
    plain = noisy_pairs(*asked, None, seed, objects)
    mended = noisy_pairs(*asked, text, seed, objects)
    assert texts_that_fit(plain, text) > 0, "there is nothing to mend"
    assert mended.n_same_text == texts_that_fit(mended, text) == 0
    assert (mended.is_noisy == plain.is_noisy).all()
    assert sorted(map(len, mended.rows())) == sorted(map(len, plain.rows()))
    if noise == "partial":
        both = (objects[mended.image] & objects[mended.source_image]).sum(axis=1)
        either = (objects[mended.image] | objects[mended.source_image]).sum(axis=1)
        assert ((both > 0) & (both < either))[mended.is_noisy].all()
    changed = (mended.image != plain.image).sum()
    # A caption that is mended takes another one with it; at image level their lists.
    assert changed <= 2 * texts_that_fit(plain, text) * (1 if level == "caption" else counts.max())


@pytest.mark.parametrize("level", ["caption", "image"])
@pytest.mark.parametrize("noise", ["complete", "partial"])
def test_texts_that_are_all_different_change_nothing(noise, level):
    counts, objects = [2] * 40, np.random.default_rng(0).random((40, 4)) < 0.5
    plain, known = (
        noisy_pairs(noise, level, 0.4, counts, text, 5, objects) for text in (None, np.arange(80))
    )
    assert (plain.image == known.image).all()
    assert plain.n_same_text == known.n_same_text == 0


def test_what_cannot_be_mended_is_counted():
    text = np.array([0] * 9 + [1])  # nine images of one text: most must exchange it
    noisy = noisy_pairs("complete", "caption", 1.0, [1] * 10, text, 0)
    assert noisy.is_noisy.all()
    assert noisy.n_same_text == texts_that_fit(noisy, text) == 8


def test_many_are_looked_at_where_few_will_do(monkeypatch):
    monkeypatch.setattr(same_texts, "_TRIES", 1)
    text = np.array([0] * 60 + list(range(1, 61)))
    noisy = noisy_pairs("complete", "caption", 1.0, [1] * 120, text, 1)
    assert noisy.n_same_text == 0


def test_numbers_of_texts_are_one_a_caption():
    with pytest.raises(ValueError, match="text has 2 entries and source_image 3"):
        Pairs.from_counts([1, 2], np.array([0, 1]))

"""Which captions have one text, and which images are given it, against loops."""

import numpy as np
import pytest

from noisy_xmodal.noise.equal_texts import SharedTexts, text_numbers


def test_texts_are_numbered_as_they_come_whatever_their_case_and_white_space():
    captions = ["A man", "a dog", "a  MAN ", "a man.", "A DOG", "", "  "]
    assert text_numbers(captions).tolist() == [0, 1, 0, 2, 1, 3, 3]
    assert text_numbers(iter([])).shape == (0,)


@pytest.mark.parametrize("n_texts", [1, 3, 40, 10_000])
def test_images_have_the_texts_of_their_own_pairs(n_texts):
    rng = np.random.default_rng(n_texts)
    row_of_pair = np.repeat(np.arange(15), rng.integers(1, 4, 15))
    captions = [f"text {number}" for number in rng.integers(0, n_texts, len(row_of_pair))]
    own = SharedTexts(text_numbers(captions), row_of_pair)
    texts_of = [
        {c for c, r in zip(captions, row_of_pair, strict=True) if r == i} for i in range(15)
    ]
    assert own.is_shared.tolist() == [sum(c in texts for texts in texts_of) > 1 for c in captions]
    rows, pairs = np.arange(15), np.arange(len(captions))
    found = own.match(rows[:, None], pairs[None])
    assert found.tolist() == [[c in texts for c in captions] for texts in texts_of]
    np.testing.assert_array_equal(
        own.match(row_of_pair[::-1], pairs), found[row_of_pair[::-1], pairs]
    )

"""Which words are hidden, how many, and by what."""

import pytest
import torch

from noisy_xmodal.modules.masked_words import mask_words

PAD, START, END, UNKNOWN, MASK = range(5)
SPECIAL = [PAD, START, END, UNKNOWN, MASK]
VOCABULARY = 400


@pytest.fixture
def texts() -> torch.Tensor:
    """Ids (600, 32): start, 5 to 30 words, end, padding; here and there an unknown word."""
    lengths = torch.randint(5, 31, (600, 1))
    places = torch.arange(32)
    ids = torch.randint(len(SPECIAL), VOCABULARY, (600, 32))
    ids[torch.rand(600, 32) < 0.05] = UNKNOWN
    ids[:, 0] = START
    ids = torch.where(places == lengths + 1, END, ids)
    return torch.where(places > lengths + 1, PAD, ids)


def is_word(ids: torch.Tensor) -> torch.Tensor:
    return ids >= len(SPECIAL)


@pytest.mark.parametrize("masking", ["mask", "bert"])
@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_so_many_words_are_chosen_and_never_a_special_token(texts, masking, probability):
    before = texts.clone()
    masked, chosen = mask_words(texts, SPECIAL, MASK, VOCABULARY, probability, masking)
    assert torch.equal(texts, before)
    assert masked.shape == chosen.shape == texts.shape
    assert masked.dtype == texts.dtype
    assert chosen.dtype == torch.bool
    assert not chosen[~is_word(texts)].any()
    assert torch.equal(masked[~chosen], texts[~chosen])
    n_words = int(is_word(texts).sum())
    error = (probability * (1 - probability) / n_words) ** 0.5
    assert chosen.sum() / n_words == pytest.approx(probability, abs=4 * error)


def test_every_word_may_be_chosen(texts):
    total = torch.zeros(texts.shape, dtype=torch.long)
    for _ in range(60):
        total += mask_words(texts, SPECIAL, MASK, VOCABULARY, 0.5)[1]
    assert (total[is_word(texts)] > 0).all()
    assert (total[is_word(texts)] < 60).all()


def test_by_mask_every_chosen_word_is_hidden(texts):
    masked, chosen = mask_words(texts, SPECIAL, MASK, VOCABULARY)
    assert (masked[chosen] == MASK).all()


def test_by_bert_eight_of_ten_are_hidden_one_stays_and_one_is_random(texts):
    masked, chosen = mask_words(texts, SPECIAL, MASK, VOCABULARY, 0.9, "bert")
    given, found = texts[chosen], masked[chosen]
    n_chosen = len(given)
    hidden, kept = found == MASK, found == given
    others = found[~hidden & ~kept]
    for share, expected in ((hidden, 0.8), (kept, 0.1), (~hidden & ~kept, 0.1)):
        # A random word may be the word itself or the mask, one time in 400 each.
        error = (expected * (1 - expected) / n_chosen) ** 0.5 + 0.2 / VOCABULARY
        assert share.double().mean() == pytest.approx(expected, abs=4 * error)
    assert 0 <= others.min() < 20
    assert VOCABULARY - 20 <= others.max() < VOCABULARY


def test_at_least_one_word_of_a_batch_is_chosen(texts):
    places = set()
    for _ in range(40):
        masked, chosen = mask_words(texts[:2], SPECIAL, MASK, VOCABULARY, 1e-9)
        assert chosen.sum() == 1
        assert (masked[chosen] == MASK).all()
        assert is_word(texts[:2])[chosen].all()
        places.add(tuple(chosen.nonzero()[0].tolist()))
    assert len(places) > 5


def test_texts_without_words_are_left_alone():
    ids = torch.tensor([[START, UNKNOWN, END, PAD]])
    for masking in ("mask", "bert"):
        masked, chosen = mask_words(ids, SPECIAL, MASK, VOCABULARY, 0.9, masking)
        assert torch.equal(masked, ids)
        assert not chosen.any()


@pytest.mark.parametrize("masking", ["mask", "bert"])
def test_the_seed_decides_the_words(texts, masking):
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(mask_words(texts, SPECIAL, MASK, VOCABULARY, 0.15, masking))
    for a, b, other in zip(*found, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, other)

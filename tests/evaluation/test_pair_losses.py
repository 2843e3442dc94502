"""Losses of single pairs against slow loops over references and chunks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noisy_xmodal.evaluation import pair_losses
from noisy_xmodal.evaluation.pair_losses import pair_losses_from_scores, pair_losses_from_vectors
from noisy_xmodal.noise.equal_texts import SharedTexts, text_numbers


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.normal(size=(n, 5)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def log_mean_exp(values: list[float]) -> float:
    return float(np.log(np.mean(np.exp(np.float64(values)))))


def test_losses_of_vectors_are_those_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_losses, "_BLOCK", 4)  # several blocks
    monkeypatch.setattr(pair_losses, "_MIN_RANDOM", 30)
    rng = np.random.default_rng(0)
    image_of_text = np.repeat(np.arange(6), 2)[:11]
    images, texts, scale = unit(rng, 6), unit(rng, 11), 7.0
    found = pair_losses_from_vectors(images, texts, image_of_text, scale, seed=3)
    score = scale * images.astype(np.float64) @ texts.T.astype(np.float64)  # (6, 11)
    of_image = [log_mean_exp(row.tolist()) for row in score]
    of_text = [log_mean_exp(column.tolist()) for column in score.T]

    def loss(i: int, t: int) -> float:
        return (of_image[i] + of_text[t]) / 2 - score[i, t]

    slow = [loss(i, t) for t, i in enumerate(image_of_text.tolist())]
    np.testing.assert_allclose(found.losses, slow, atol=1e-5)
    wrong = np.array([loss(i, t) for i in range(6) for t in range(11) if image_of_text[t] != i])
    nearest = np.abs(found.random_losses[:, None] - wrong[None]).min(axis=1)
    assert nearest.max() < 1e-5
    own_gap = np.abs(np.array(slow)[:, None] - wrong[None]).min()
    assert own_gap > 1e-4  # so that an own pair among the random ones would have been seen
    assert len(found.random_losses) >= 20
    again = pair_losses_from_vectors(images, texts, image_of_text, scale, seed=3)
    np.testing.assert_array_equal(again.random_losses, found.random_losses)


@pytest.mark.parametrize("block", [4, 4096])
def test_the_evidence_of_siblings_is_that_of_a_slow_loop(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_losses, "_BLOCK", block)
    monkeypatch.setattr(pair_losses, "_MAX_EXCHANGED", 40)
    rng = np.random.default_rng(0)
    image_of_text = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5])
    images, texts, scale = unit(rng, 6), unit(rng, 13), 3.0
    replaced, others = np.array([(r, o) for r in range(13) for o in range(13)]).T
    differ = image_of_text[replaced] != image_of_text[others]
    all_pairs = replaced[differ][::4], others[differ][::4]
    assert 20 < len(all_pairs[0]) <= 40
    monkeypatch.setattr(pair_losses, "_random_pairs", lambda *_: all_pairs)
    found = pair_losses_from_vectors(images, texts, image_of_text, scale, seed=5)

    with_image = scale * images.astype(np.float64) @ texts.T.astype(np.float64)  # (6, 13)
    with_text = scale * texts.astype(np.float64) @ texts.T.astype(np.float64)  # (13, 13)
    of_image = [log_mean_exp(row.tolist()) for row in with_image]
    of_text = [log_mean_exp(column.tolist()) for column in with_image.T]
    among = [log_mean_exp(row.tolist()) for row in with_text]

    def slow(i: int, t: int, text_of_set: int) -> list[float]:
        members = np.flatnonzero(image_of_text == image_of_text[text_of_set]).tolist()
        siblings = [s for s in members if s != text_of_set]
        image = [(of_image[i] + of_text[s]) / 2 - with_image[i, s] for s in siblings]
        text = [(among[t] + among[s]) / 2 - with_text[t, s] for s in siblings]
        own = (of_image[i] + of_text[t]) / 2 - with_image[i, t]
        return [own, *(float(np.mean(of)) if of else np.nan for of in (image, text))]

    row_of = image_of_text.tolist()
    given = [slow(i, t, t) for t, i in enumerate(row_of)]
    np.testing.assert_allclose(found.evidence, given, atol=1e-5)
    assert np.isnan(found.evidence[[3, 10], 1:]).all()  # single captions
    assert np.isnan(found.evidence).sum() == 4
    np.testing.assert_array_equal(found.losses, found.evidence[:, 0])
    drawn = list(zip(*(part.tolist() for part in all_pairs), strict=True))
    of_caption = [slow(row_of[r], o, r) for r, o in drawn]
    of_set = [slow(row_of[r], o, o) for r, o in drawn]
    np.testing.assert_allclose(found.caption_exchanged, of_caption, atol=1e-5)
    np.testing.assert_allclose(found.set_exchanged, of_set, atol=1e-5)
    np.testing.assert_allclose(found.random_losses, np.array(of_set)[:, 0], atol=1e-5)


def test_the_siblings_of_some_random_pairs_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_losses, "_MAX_EXCHANGED", 50)
    rng = np.random.default_rng(0)
    found = pair_losses_from_vectors(unit(rng, 30), unit(rng, 60), np.repeat(np.arange(30), 2), 3.0)
    assert len(found.caption_exchanged) == len(found.set_exchanged) == 50
    assert len(found.random_losses) > 10_000
    np.testing.assert_array_equal(found.caption_exchanged[:, 0], found.set_exchanged[:, 0])
    at = np.searchsorted(np.sort(found.random_losses), found.set_exchanged[:, 0])
    np.testing.assert_array_equal(np.sort(found.random_losses)[at], found.set_exchanged[:, 0])


def test_references_are_a_sample_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    images, texts, own = unit(rng, 300), unit(rng, 300), np.arange(300)
    whole = pair_losses_from_vectors(images, texts, own, 5.0).losses
    monkeypatch.setattr(pair_losses, "N_REFERENCES", 100)
    some = pair_losses_from_vectors(images, texts, own, 5.0).losses
    assert not np.array_equal(some, whole)
    np.testing.assert_allclose(some, whole, atol=0.6)


def test_random_pairs_are_never_of_the_own_image() -> None:
    image_of_text = np.array([0, 0, 0, 1, 2, 2])
    rng = np.random.default_rng(0)
    replaced, texts = pair_losses._random_pairs(rng, image_of_text, None)
    rows = image_of_text[replaced]
    assert (image_of_text[texts] != rows).all()
    # Texts stand for those of their image, and are replaced, about as often as each other.
    assert np.ptp(np.bincount(replaced)[:3]) < 0.05 * len(rows)
    assert len(rows) >= 0.4 * pair_losses._MIN_RANDOM
    assert set(zip(rows.tolist(), texts.tolist(), strict=True)) == {
        (i, t) for i in range(3) for t in range(6) if image_of_text[t] != i
    }


def test_a_caption_with_the_text_of_an_own_one_makes_no_random_pair() -> None:
    captions = ["a cat", "a dog", "A  dog", "a bird", "a cat", "a fish"]
    rows = np.array([0, 0, 1, 1, 2, 3])
    own = [{text_numbers(captions)[p] for p in np.flatnonzero(rows == i)} for i in range(4)]
    wrong = {(i, p) for i in range(4) for p in range(6) if text_numbers(captions)[p] not in own[i]}
    known = SharedTexts(text_numbers(captions), rows)
    replaced, texts = pair_losses._random_pairs(np.random.default_rng(0), rows, known)
    assert set(zip(rows[replaced].tolist(), texts.tolist(), strict=True)) == wrong

    table = np.random.default_rng(1).random((4, 6))
    given = (Stub(table), stub_processor, range(4), list("012345"), rows, 3.0, 0)
    n_wrong = sum((rows[p], q) in wrong for p in range(6) for q in range(6))
    assert len(pair_losses_from_scores(*given, known).random_losses) == n_wrong
    same = SharedTexts(np.zeros(6, dtype=np.int64), rows)
    vectors = unit(np.random.default_rng(2), 6)
    for judge in (
        lambda: pair_losses_from_vectors(vectors[:4], vectors, rows, 3.0, 0, same),
        lambda: pair_losses_from_scores(*given, same),
    ):
        with pytest.raises(ValueError, match="every caption matches every image"):
            judge()


class Stub:
    """A model whose scores are the cosine of one-hot vectors and a table."""

    device = torch.device("cpu")
    training = True

    def __init__(self, table: np.ndarray) -> None:
        self.table = torch.from_numpy(table)
        self.sizes: list[tuple[int, int]] = []

    def train(self, mode: bool = True) -> None:
        self.training = mode

    def encode_image(self, image: Tensor) -> Tensor:
        assert not self.training
        return image

    def encode_text(self, text: Tensor) -> Tensor:
        return text

    def score(self, image: Tensor, text: Tensor) -> Tensor:
        self.sizes.append((len(image), len(text)))
        return self.table[image[:, None], text[None]]


def stub_processor(images: Any = None, text: Any = None) -> dict[str, Tensor]:
    if images is not None:
        return {"image": torch.tensor(images)}
    return {"text": torch.tensor([int(one) for one in text])}


@pytest.mark.parametrize("scale", [3.0, 40.0])
def test_losses_of_scores_are_those_of_a_slow_loop(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_losses, "_CHUNK", 4)
    rng = np.random.default_rng(0)
    image_of_text = np.array([0, 0, 1, 2, 2, 3, 4, 5, 5])
    table = rng.random((6, 9))
    model = Stub(table)
    texts = [str(text) for text in range(9)]
    found = pair_losses_from_scores(
        model, stub_processor, list(range(6)), texts, image_of_text, scale, seed=2
    )
    assert model.training  # restored
    assert sorted(n for _, n in model.sizes) == [3, 3, 3]  # none is left with few

    logits = scale * table
    order = np.random.default_rng(2).permutation(9)
    slow, random = np.empty(9), []
    for chunk in (order[:3], order[3:6], order[6:]):
        for t in chunk:
            for u in chunk:
                i = image_of_text[u]
                along_image = log_mean_exp([logits[i, v] for v in chunk])
                along_text = log_mean_exp([logits[image_of_text[v], t] for v in chunk])
                loss = (along_image + along_text) / 2 - logits[i, t]
                if t == u:
                    slow[t] = loss
                elif image_of_text[t] != i:
                    random.append(loss)
    np.testing.assert_allclose(found.losses, slow, atol=1e-9)
    np.testing.assert_allclose(np.sort(found.random_losses), np.sort(random), atol=1e-9)
    np.testing.assert_array_equal(found.evidence[:, 0], found.losses)
    for exchanged in (found.caption_exchanged, found.set_exchanged):
        np.testing.assert_array_equal(exchanged[:, 0], found.random_losses)
    for evidence in (found.evidence, found.caption_exchanged, found.set_exchanged):
        assert np.isnan(evidence[:, 1:]).all()  # no vectors


@pytest.mark.parametrize("n", [2, 64, 65, 130])
def test_chunks_are_of_nearly_one_size(n: int) -> None:
    model = Stub(np.random.default_rng(0).random((n, n)))
    texts = [str(text) for text in range(n)]
    found = pair_losses_from_scores(model, stub_processor, list(range(n)), texts, np.arange(n), 1.0)
    sizes = [size for _, size in model.sizes]
    assert sum(sizes) == n
    assert max(sizes) <= 64
    assert max(sizes) - min(sizes) <= 1
    assert np.isfinite(found.losses).all()

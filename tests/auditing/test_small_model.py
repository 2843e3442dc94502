"""Small models with the vectors of captions beside words."""

import numpy as np
import pytest
import torch

from noisy_xmodal.auditing.features import CaptionVectors
from noisy_xmodal.auditing.small_model import small_model, small_processor
from noisy_xmodal.data import PairDataset
from noisy_xmodal.data.pair_dataset import GridPairs
from toy_pairs import toy_pairs


@pytest.fixture(scope="module")
def pairs() -> PairDataset:
    return PairDataset(toy_pairs(6))


@pytest.fixture(scope="module")
def captions(pairs: PairDataset) -> CaptionVectors:
    texts = sorted(set(pairs.captions()))
    rng = np.random.default_rng(0)
    return CaptionVectors(texts, rng.standard_normal((len(texts), 5)).astype(np.float16))


def test_a_token_is_its_word_and_the_vector_of_its_caption(
    pairs: PairDataset, captions: CaptionVectors
) -> None:
    torch.manual_seed(0)
    processor = small_processor(pairs, captions, None)
    encoder = small_model(processor, captions).eval().text_encoder
    texts = [captions.texts[3], captions.texts[1]]
    encoded = encoder(**processor(text=texts))
    words = processor.tokenizer(texts, padding=True, return_tensors="pt")
    alone = encoder.words(words["input_ids"], words["attention_mask"])
    vectors = torch.from_numpy(captions.vectors[[3, 1]]).float()
    beside = vectors @ encoder.projection.weight.T + encoder.projection.bias  # (2, hidden)
    torch.testing.assert_close(encoded.tokens, alone.tokens + beside[:, None])
    assert torch.equal(encoded.mask, alone.mask)
    one = encoder(**processor(text=texts[0]))
    torch.testing.assert_close(one.tokens[0], encoded.tokens[0][encoded.mask[0]])


def test_words_alone_need_no_vectors(pairs: PairDataset, captions: CaptionVectors) -> None:
    processor = small_processor(pairs, None, None)
    texts = captions.texts[:2]
    inputs = processor(text=texts)
    assert inputs["input_ids"][:, 0].tolist() == [processor.tokenizer.bos_token_id] * 2
    model = small_model(processor, None)
    assert not any("projection" in name for name in model.text_encoder.state_dict())


def test_with_the_vectors_of_two_towers_training_starts_from_their_scores(
    pairs: PairDataset, captions: CaptionVectors
) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((6, 5))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    grid = GridPairs(pairs.dataset, images[:, None])
    joint = CaptionVectors(captions.texts, captions.vectors, scale=20.0)
    processor = small_processor(grid, joint, None)
    model = small_model(processor, joint).eval()
    output = model(**processor(images=grid.images[:], text=joint.texts))
    texts = captions.vectors.astype(np.float64)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    expected = 20 * images @ texts.T  # (n_images, n_texts)
    np.testing.assert_allclose(output.logits_per_image.detach(), expected, atol=1e-4)

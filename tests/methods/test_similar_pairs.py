"""Similarities of training pairs, and RCAR with hard negatives by them."""

import numpy as np
import pytest
import torch

from noisy_xmodal import MatchingConfig, MatchingModel, MatchingProcessor, RegionFeatureProcessor
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.methods.similar_pairs import SimilarPairs
from noisy_xmodal.modules import train_word_tokenizer
from toy_pairs import REGION_SIZE, toy_pairs

PAIRS = PairDataset(toy_pairs(8))


@pytest.fixture(scope="module")
def processor() -> MatchingProcessor:
    tokenizer = train_word_tokenizer(PAIRS.captions())
    return MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer)


def make_model(processor: MatchingProcessor, similarity: str) -> MatchingModel:
    sizes = {"region_size": REGION_SIZE, "hidden_size": 8, "word_size": 8}
    sizes |= {"vocab_size": len(processor.tokenizer), "word_encoder": "words"}
    return MatchingModel(MatchingConfig(similarity=similarity, **sizes))


def test_logits_are_the_scaled_scores_of_image_i_with_caption_j(processor):
    model = make_model(processor, "cosine")
    with torch.no_grad():
        model.logit_scale.fill_(1.5)
    similar = SimilarPairs.by_model(model, processor, PAIRS)
    scores = score_matrix(model, processor, PAIRS.images, PAIRS.captions())
    pair_id = torch.tensor([5, 0, 11])
    expected = np.exp(1.5) * scores[np.ix_(PAIRS.row_of_pair[pair_id], pair_id)]
    np.testing.assert_allclose(similar.logits(pair_id), expected, rtol=1e-4, atol=1e-5)
    other = SimilarPairs.by_model(make_model(processor, "cosine"), processor, PAIRS)
    assert len(similar.digests()) == len(PAIRS)
    assert (similar.digests() != other.digests()).all()


def test_a_model_without_vectors_is_refused(processor):
    with pytest.raises(ValueError, match=r"MatchingModel has no vectors .* two-tower model"):
        SimilarPairs.by_model(make_model(processor, "scan_t2i"), processor, PAIRS)

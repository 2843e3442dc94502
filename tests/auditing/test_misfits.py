"""Words that do not fit, against scores one by one, and in a model whose words are known."""

import numpy as np
import pytest
import torch

from noisy_xmodal import MatchingConfig, MatchingModel, NcrProcessor, PairDataset
from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing.judge import ModelJudge
from noisy_xmodal.auditing.misfits import gains_without_words, misfit_words
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.models import RegionFeatureProcessor
from noisy_xmodal.modules import train_word_tokenizer
from toy_pairs import REGION_SIZE, toy_pairs

WORDS = ["red", "green", "small", "dog", "cat"]


@pytest.fixture
def judge(tmp_path) -> ModelJudge:
    """The word "cat" is orthogonal to every image, the others point towards it."""
    torch.manual_seed(0)
    captions = [["red dog", "small green cat"], ["cat"], [" ".join([*WORDS] * 30)]]
    rows = toy_pairs(3).select_columns(["image_id", "regions"]).add_column("captions", captions)
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(WORDS))
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_encoder="words",
        word_size=4,
        hidden_size=4,
        similarity="cosine",
    )
    model = MatchingModel(config).eval()
    with torch.no_grad():
        model.get_parameter("image_encoder.projection.weight").zero_()
        model.get_parameter("image_encoder.projection.bias").fill_(1.0)
        vectors = model.get_parameter("text_encoder.words.weight")
        vectors.copy_(1 + 0.1 * torch.rand_like(vectors))
        cat = processor.tokenizer.convert_tokens_to_ids("cat")
        vectors[cat] = torch.tensor([2.0, -2.0, 2.0, -2.0])

    pairs = PairDataset(rows)
    return ModelJudge(model, processor, pairs, AuditOptions(disable_tqdm=True), tmp_path)


def test_gains_are_differences_of_scores(judge: ModelJudge):
    words = ["small", "green", "cat"]
    image = judge.pairs.images[0]

    def score(text: str) -> float:
        return float(score_matrix(judge.model, judge.processor, [image], [text])[0, 0])

    gains = gains_without_words(judge.model, judge.processor, image, words)
    expected = [
        score(text) - score("small green cat") for text in ("green cat", "small cat", "small green")
    ]
    np.testing.assert_allclose(gains, expected, atol=1e-6)


def test_the_word_that_does_not_fit_comes_first(judge: ModelJudge):
    misfits = misfit_words(judge, judge.pairs, [1, 2, 3])
    assert misfits[1][0] == "cat"
    assert "small" not in misfits[1]
    assert 2 not in misfits  # one word
    assert misfits[3] == ["cat"] * 3  # of a caption of 150 words

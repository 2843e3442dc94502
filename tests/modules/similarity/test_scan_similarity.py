"""SCAN against the formulas of section 3.1, one pair and one token at a time."""

import math

import pytest
import torch

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import ScanImageToText, ScanTextToImage
from noisy_xmodal.modules.similarity.cross_attention import cross_attention

SIZE = 6
IMAGE_LENGTHS, TEXT_LENGTHS = [4, 2, 1], [3, 5, 1, 2]


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def score_slowly(queries, context, lambda_softmax, lambda_lse, aggregation):
    """The score of one pair; `queries` and `context` are lists of vectors without padding."""
    affinity = [[float(c @ q) for q in queries] for c in context]
    clipped = [[s if s > 0 else 0.1 * s for s in row] for row in affinity]
    scaled = [[s / math.sqrt(sum(x * x for x in row)) for s in row] for row in clipped]
    relevance = []
    for j, q in enumerate(queries):
        exponentials = [math.exp(lambda_softmax * row[j]) for row in scaled]
        attended = sum(
            e / sum(exponentials) * c for e, c in zip(exponentials, context, strict=True)
        )
        relevance.append(float(q @ attended / (q.norm() * attended.norm())))
    if aggregation == "mean":
        return sum(relevance) / len(relevance)
    return math.log(sum(math.exp(lambda_lse * r) for r in relevance)) / lambda_lse


def expected_scores(image, text, words_attend, *options):
    scores = torch.zeros(len(IMAGE_LENGTHS), len(TEXT_LENGTHS), dtype=torch.double)
    for i, n_regions in enumerate(IMAGE_LENGTHS):
        for j, n_words in enumerate(TEXT_LENGTHS):
            regions, words = list(image.tokens[i, :n_regions]), list(text.tokens[j, :n_words])
            queries, context = (words, regions) if words_attend else (regions, words)
            scores[i, j] = score_slowly(queries, context, *options)
    return scores


@pytest.mark.parametrize("aggregation", ["lse", "mean"])
@pytest.mark.parametrize(
    ("head_class", "words_attend", "lambda_softmax", "lambda_lse"),
    [(ScanTextToImage, True, 9.0, 6.0), (ScanImageToText, False, 4.0, 5.0)],
)
def test_defaults_follow_the_paper(
    head_class, words_attend, lambda_softmax, lambda_lse, aggregation
):
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)
    expected = expected_scores(image, text, words_attend, lambda_softmax, lambda_lse, aggregation)
    scores = head_class(SIZE, aggregation=aggregation)(image, text)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("head_class", "words_attend"), [(ScanTextToImage, True), (ScanImageToText, False)]
)
def test_both_temperatures_are_used(head_class, words_attend):
    image, text = ragged(IMAGE_LENGTHS, 3), ragged(TEXT_LENGTHS, 4)
    head = head_class(SIZE, lambda_softmax=2.0, lambda_lse=20.0)
    expected = expected_scores(image, text, words_attend, 2.0, 20.0, "lse")
    torch.testing.assert_close(head(image, text), expected, atol=1e-6, rtol=0)


def test_attention_of_each_query_token_sums_to_one_over_the_real_context():
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)
    words = text.tokens.masked_fill(~text.mask.unsqueeze(-1), 0)
    regions = image.tokens.masked_fill(~image.mask.unsqueeze(-1), 0)
    attention = cross_attention(words, Encoded(regions, image.mask), smoothing=9.0)
    assert attention.weights[~image.mask].abs().sum() == 0
    torch.testing.assert_close(attention.weights.sum(1), torch.ones(3, 4, 5, dtype=torch.double))
    attended = torch.einsum("irtw,ird->itwd", attention.weights, regions)
    torch.testing.assert_close(attention.norms, attended.norm(dim=-1))


def test_gradients_match_finite_differences():
    image, text = ragged([3, 2], 1), ragged([2, 3], 2)
    image_tokens = image.tokens.requires_grad_()
    text_tokens = text.tokens.requires_grad_()
    for head in (ScanTextToImage(SIZE), ScanImageToText(SIZE, aggregation="mean")):
        assert torch.autograd.gradcheck(
            lambda v, t, head=head: head(Encoded(v, image.mask), Encoded(t, text.mask)),
            (image_tokens, text_tokens),
        )


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="aggregation must be one of lse, mean, found 'max'"):
        ScanTextToImage(SIZE, aggregation="max")
    with pytest.raises(ValueError, match="lambda_lse must be positive, found 0"):
        ScanImageToText(SIZE, lambda_lse=0.0)

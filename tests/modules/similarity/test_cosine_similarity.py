"""The cosine head and its poolings against one vector at a time."""

import pytest
import torch

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import CosineSimilarity

SIZE = 5
IMAGE_LENGTHS, TEXT_LENGTHS = [3, 1, 4], [2, 5, 1, 3]


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def pool_slowly(name: str, tokens: torch.Tensor, pooling: torch.nn.Module) -> torch.Tensor:
    rows = list(tokens)
    if name == "mean":
        return sum(rows) / len(rows)
    if name == "max":
        return torch.stack([max(row[k] for row in rows) for k in range(SIZE)])
    if name == "last":
        return rows[-1]
    scores = [(pooling.score.weight[0] @ row + pooling.score.bias[0]).exp() for row in rows]
    return sum(score * row for score, row in zip(scores, rows, strict=True)) / sum(scores)


@pytest.mark.parametrize("image_pooling", ["mean", "max", "attention", "last"])
@pytest.mark.parametrize("text_pooling", ["mean", "max", "attention", "last"])
def test_scores_are_cosines_of_pooled_tokens(image_pooling, text_pooling):
    torch.manual_seed(0)
    head = CosineSimilarity(SIZE, image_pooling=image_pooling, text_pooling=text_pooling).double()
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)

    expected = torch.zeros(len(IMAGE_LENGTHS), len(TEXT_LENGTHS), dtype=torch.double)
    for i, n_regions in enumerate(IMAGE_LENGTHS):
        for j, n_words in enumerate(TEXT_LENGTHS):
            v = pool_slowly(image_pooling, image.tokens[i, :n_regions], head.image_pooling)
            t = pool_slowly(text_pooling, text.tokens[j, :n_words], head.text_pooling)
            expected[i, j] = v @ t / (v @ v).sqrt() / (t @ t).sqrt()

    torch.testing.assert_close(head(image, text), expected, atol=1e-6, rtol=0)


def test_embeddings_are_unit_vectors_whose_product_is_the_score():
    head = CosineSimilarity(SIZE, text_pooling="last").double()
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)
    v, t = head.embed_image(image), head.embed_text(text)

    torch.testing.assert_close(v.norm(dim=1), torch.ones(3, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(t.norm(dim=1), torch.ones(4, dtype=torch.double), atol=1e-6, rtol=0)
    assert torch.equal(v @ t.T, head(image, text))
    assert head.is_two_tower


@pytest.mark.parametrize("argument", ["image_pooling", "text_pooling"])
def test_unknown_pooling_is_refused_by_name(argument):
    with pytest.raises(ValueError, match=rf"{argument} must be one of mean, max.*'median'"):
        CosineSimilarity(SIZE, **{argument: "median"})


def test_a_shortcut_is_added_to_the_perceptron():
    torch.manual_seed(0)
    head = CosineSimilarity(SIZE, projection=True, shortcut=True).double()
    tokens = torch.randn(3, 2, SIZE, dtype=torch.float64)
    encoded = Encoded(tokens, torch.ones(3, 2, dtype=torch.bool))
    for side in ("image", "text"):
        pooled = tokens.mean(dim=1)
        first, _, second = getattr(head, f"{side}_projection")
        shortcut = getattr(head, f"{side}_shortcut")
        hidden = torch.nn.functional.gelu(pooled @ first.weight.T + first.bias)
        expected = hidden @ second.weight.T + second.bias
        expected += pooled @ shortcut.weight.T + shortcut.bias
        expected /= expected.norm(dim=1, keepdim=True)
        torch.testing.assert_close(getattr(head, f"embed_{side}")(encoded), expected)


def test_a_shortcut_without_a_perceptron_is_refused():
    with pytest.raises(ValueError, match="shortcut is true, but projection is not"):
        CosineSimilarity(SIZE, shortcut=True)

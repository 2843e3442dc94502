"""TERAN's scores against its formulas, a pair, a word and a region at a time."""

import pytest
import torch
from torch import nn

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import TeranSimilarity
from noisy_xmodal.modules.similarity.teran import AGGREGATIONS
from noisy_xmodal.modules.transformer_layers import TransformerLayers

SIZE = 8
IMAGE_LENGTHS, TEXT_LENGTHS = [4, 2, 3], [5, 3, 6, 2]


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def build(**options) -> TeranSimilarity:
    torch.manual_seed(0)
    return TeranSimilarity(SIZE, heads=2, **options).double().eval()


def contextualize(layers: TransformerLayers, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Unit vectors of the tokens of one image or text, which has no padding."""
    whole = torch.ones(1, len(tokens), dtype=torch.bool)
    return [vector / vector.norm() for vector in layers(tokens[None], whole)[0]]


def aggregate_slowly(name, regions, words):
    of_words = [max(float(r @ w) for r in regions) for w in words]
    of_regions = [max(float(r @ w) for w in words) for r in regions]
    return {
        "MrSw": sum(of_words),
        "MrAVGw": sum(of_words) / len(of_words),
        "MwSr": sum(of_regions),
        "symm": sum(of_words) + sum(of_regions),
    }[name]


@torch.no_grad()
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_scores_follow_the_paper(name):
    head = build(aggregation=name, skip_last=2)
    head.has_class_token = True
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)
    scores = head(head.encode_image(image), head.encode_text(text))
    for i, n_regions in enumerate(IMAGE_LENGTHS):
        for j, n_words in enumerate(TEXT_LENGTHS):
            regions = contextualize(head.image_layers, image.tokens[i, :n_regions])[1:]
            words = contextualize(head.text_layers, text.tokens[j, :n_words])
            words = words[1:-2] or words  # the last two texts are too short to leave tokens out
            expected = aggregate_slowly(name, regions, words)
            assert abs(scores[i, j].item() - expected) < 1e-6


def test_layers_keep_to_the_real_tokens():
    torch.manual_seed(0)
    layers = TransformerLayers(SIZE, 2, 2, 12, 0.1).double().eval()
    tokens, mask = ragged(TEXT_LENGTHS, 3)
    states = layers(tokens, mask)
    for i, length in enumerate(TEXT_LENGTHS):
        alone = layers(tokens[i : i + 1, :length], mask[i : i + 1, :length])
        torch.testing.assert_close(states[i : i + 1, :length], alone)


def test_a_layer_is_attention_and_a_perceptron_with_norms_after_them():
    layers = TransformerLayers(SIZE, 1, 1, 12, 0.0).double()
    layer = layers.layers[0]
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.3)
    tokens = ragged([4], 1).tokens
    weight, bias = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    query, key, value = (tokens[0] @ weight.T + bias).chunk(3, dim=-1)
    attended = (query @ key.T / SIZE**0.5).softmax(dim=-1) @ value
    state = layer.norm1(tokens[0] + layer.self_attn.out_proj(attended))
    state = layer.norm2(state + layer.linear2(torch.relu(layer.linear1(state))))
    torch.testing.assert_close(layers(tokens, torch.ones(1, 4, dtype=torch.bool))[0], state)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"aggregation must be one of MrSw.*found 'max'"):
        build(aggregation="max")
    with pytest.raises(ValueError, match="3 heads of attention do not divide a width of 8"):
        TransformerLayers(SIZE, 1, 3, 8, 0.1)

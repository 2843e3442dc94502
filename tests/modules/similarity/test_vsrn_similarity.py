"""VSRN against the formulas, one image, one region and one feature at a time."""

import pytest
import torch
from torch import nn

from noisy_xmodal import MatchingConfig, MatchingModel
from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import VsrnSimilarity

SIZE = 6
LENGTHS = [4, 1, 3]


def ragged(seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(LENGTHS), max(LENGTHS), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None])


def build(**options) -> VsrnSimilarity:
    torch.manual_seed(0)
    head = VsrnSimilarity(SIZE, layers=2, **options)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            for weight in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(weight)
    return head.double().eval()


def over_regions(regions):
    """Each feature divided by its norm over the regions."""
    columns = [column / sum(x * x for x in column) ** 0.5 for column in regions.T]
    return torch.stack(columns, dim=1)


def normalize_slowly(norm, row):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (row - norm.running_mean) * scale + norm.bias


def reason_slowly(head, regions):
    """The reasoned regions of one image."""
    regions = regions if head.norm is not None else over_regions(regions)
    for layer in head.reasoning:
        rows = []
        for row in regions:
            mixed = torch.zeros(SIZE, dtype=torch.double)
            for other in regions:
                edge = layer.query(row) @ layer.key(other) / len(regions)
                mixed = mixed + edge * layer.value(other)
            rows.append(row + normalize_slowly(layer.norm, layer.update(mixed)))
        regions = torch.stack(rows)
    return over_regions(regions)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_image_vector_follows_the_published_form(batch_norm):
    head, image = build(batch_norm=batch_norm), ragged(1)
    reasoned = head.encode_image(image)
    vectors = head.embed_image(reasoned)
    for i, length in enumerate(LENGTHS):
        expected = reason_slowly(head, image.tokens[i, :length])
        torch.testing.assert_close(reasoned.tokens[i, :length], expected, atol=1e-6, rtol=0)
        vector = head.memory(expected[None])[0][0, -1]
        vector = normalize_slowly(head.norm, vector) if batch_norm else vector
        torch.testing.assert_close(vectors[i], vector / vector.norm(), atol=1e-6, rtol=0)


def test_the_text_vector_is_the_last_state():
    head, text = build(), ragged(2)
    for i, length in enumerate(LENGTHS):
        last = text.tokens[i, length - 1]
        torch.testing.assert_close(head.embed_text(text)[i], last / last.norm())


def test_a_new_network_reasons_nothing():
    torch.manual_seed(0)
    config = MatchingConfig(
        similarity="vsrn", hidden_size=SIZE, region_size=4, vocab_size=9, normalize_tokens=False
    )
    head = MatchingModel(config).head
    tokens = torch.randn(1, 3, SIZE)
    image = Encoded(tokens, torch.ones(1, 3, dtype=torch.bool))
    expected = over_regions(over_regions(tokens[0]))
    torch.testing.assert_close(head.encode_image(image).tokens[0], expected)


def test_wrong_pooling_is_refused():
    with pytest.raises(ValueError, match=r"text_pooling must be one of .*last, found 'first'"):
        VsrnSimilarity(SIZE, text_pooling="first")

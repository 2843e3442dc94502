"""The contrastive loss over both modalities against a double loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from noisy_xmodal.losses import multimodal_contrastive_loss


def random_embeds(seed, n=7, d=5):
    generator = torch.Generator().manual_seed(seed)
    images, texts = F.normalize(torch.randn(2, n, d, generator=generator), dim=-1)
    return images, texts


def by_hand(embeds, temperature, self_similarity):
    """Eq. 7 of each pair j, as printed or without the similarity of an embedding with itself."""
    n, values = len(embeds[0]), []
    for j in range(n):
        value = 0.0
        for i in range(2):
            above = below = 0.0
            for which in range(2):
                for t in range(n):
                    if (which, t) == (i, j) and not self_similarity:
                        continue
                    similarity = sum(embeds[which][t] * embeds[i][j]).item()
                    term = math.exp(similarity / temperature)
                    below += term
                    above += term if t == j else 0.0
            value -= math.log(above / below)
        values.append(value)
    return values


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("self_similarity", [False, True])
def test_loss_is_the_printed_formula(seed, temperature, self_similarity):
    embeds = random_embeds(seed)
    values = multimodal_contrastive_loss(*embeds, temperature, self_similarity)
    assert values.shape == (7,)
    assert values.tolist() == pytest.approx(by_hand(embeds, temperature, self_similarity), abs=1e-5)


@pytest.mark.parametrize("self_similarity", [False, True])
def test_order_of_pairs_and_modalities_does_not_matter(self_similarity):
    images, texts = random_embeds(0)
    order = torch.tensor([3, 1, 5, 0, 6, 2, 4])
    values = multimodal_contrastive_loss(images, texts, 0.1, self_similarity)
    torch.testing.assert_close(
        multimodal_contrastive_loss(texts[order], images[order], 0.1, self_similarity),
        values[order],
    )


@pytest.mark.parametrize("self_similarity", [False, True])
def test_few_pairs(self_similarity):
    values = multimodal_contrastive_loss(*random_embeds(0, n=1), self_similarity=self_similarity)
    assert values.tolist() == [0.0]
    empty = multimodal_contrastive_loss(*random_embeds(0, n=0), self_similarity=self_similarity)
    assert empty.shape == (0,)


@pytest.mark.parametrize("self_similarity", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_low_temperatures_stay_finite(self_similarity, scale):
    images, texts = (scale * embeds for embeds in random_embeds(1))
    images.requires_grad_()
    values = multimodal_contrastive_loss(images, -texts, 0.01, self_similarity)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert (values >= 0).all()
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("self_similarity", [False, True])
def test_gradient_matches_finite_differences(self_similarity):
    embeds = tuple(embeds.double().requires_grad_() for embeds in random_embeds(2, n=3, d=4))
    assert torch.autograd.gradcheck(
        lambda a, b: multimodal_contrastive_loss(a, b, 0.5, self_similarity), embeds
    )


def test_matching_pairs_cost_less():
    images, texts = random_embeds(3)
    far = multimodal_contrastive_loss(images, texts, 0.1).mean()
    assert multimodal_contrastive_loss(images, images, 0.1).mean() < far


def test_half_precision_is_computed_in_single():
    images, texts = (embeds.half() for embeds in random_embeds(4))
    values = multimodal_contrastive_loss(images, texts, 0.01)
    assert values.dtype == torch.float32
    torch.testing.assert_close(
        values, multimodal_contrastive_loss(images.float(), texts.float(), 0.01)
    )


def test_mixed_precision_leaves_the_similarities_alone():
    images, texts = random_embeds(4)
    expected = multimodal_contrastive_loss(images, texts, 0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(multimodal_contrastive_loss(images, texts, 0.01), expected)


@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((4,), (4,))])
def test_embeddings_come_in_pairs(shapes):
    with pytest.raises(ValueError, match="image_embeds has shape"):
        multimodal_contrastive_loss(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match=f"temperature is {temperature}"):
        multimodal_contrastive_loss(*random_embeds(0), temperature)

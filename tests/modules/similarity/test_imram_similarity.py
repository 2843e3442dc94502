"""IMRAM against the formulas of section 3, one pair and one token at a time."""

import math

import pytest
import torch
from torch import nn

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import ImramSimilarity

SIZE = 5
IMAGE_LENGTHS, TEXT_LENGTHS = [4, 2, 1], [3, 5, 1, 3]


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def build(**options) -> ImramSimilarity:
    torch.manual_seed(0)
    return ImramSimilarity(SIZE, **options).double()


def attend_slowly(queries, context, smoothing):
    """The attended vector of each query of one pair."""
    affinity = [[float(c @ q) for q in queries] for c in context]
    clipped = [[s if s > 0 else 0.1 * s for s in row] for row in affinity]
    scaled = [[s / math.sqrt(sum(x * x for x in row)) for s in row] for row in clipped]
    attended = []
    for j in range(len(queries)):
        weights = [math.exp(smoothing * row[j]) for row in scaled]
        attended.append(sum(w / sum(weights) * c for w, c in zip(weights, context, strict=True)))
    return attended


@torch.no_grad()
def score_slowly(tokens, context, layers, steps, smoothing, normalize):
    """The score of one pair in one direction; `layers` are the candidate and the gate."""
    queries, score = list(tokens), 0.0
    for _ in range(steps):
        attended = attend_slowly(queries, context, smoothing)
        cosines = [x @ a / (x.norm() * a.norm()) for x, a in zip(tokens, attended, strict=True)]
        score += float(sum(cosines)) / len(cosines)
        if layers is None:
            continue
        following = []
        for q, a in zip(queries, attended, strict=True):
            joined = torch.cat([q, a])
            gate = torch.sigmoid(layers.gate(joined))
            new = gate * q + (1 - gate) * torch.tanh(layers.candidate(joined))
            following.append(new / new.norm() if normalize else new)
        queries = following
    return score


@pytest.mark.parametrize(
    ("directions", "steps", "normalize"),
    [("text", 3, False), ("image", 2, True), ("image", 1, False), ("full", 3, False)],
)
def test_scores_follow_the_paper(directions, steps, normalize):
    head = build(directions=directions, steps=steps, lambda_softmax=4.0, normalize=normalize)
    image, text = ragged(IMAGE_LENGTHS, 1), ragged(TEXT_LENGTHS, 2)
    expected = torch.zeros(len(IMAGE_LENGTHS), len(TEXT_LENGTHS), dtype=torch.double)
    for i, n_regions in enumerate(IMAGE_LENGTHS):
        for j, n_words in enumerate(TEXT_LENGTHS):
            sides = {"text": text.tokens[j, :n_words], "image": image.tokens[i, :n_regions]}
            for side, other in (("text", "image"), ("image", "text")):
                if directions in (side, "full"):
                    layers = head.of_queries[side] if steps > 1 else None
                    expected[i, j] += score_slowly(
                        list(sides[side]), list(sides[other]), layers, steps, 4.0, normalize
                    )
    torch.testing.assert_close(head(image, text), expected, atol=1e-5, rtol=0)


def test_defaults_are_three_steps_of_both_directions():
    head = build()
    assert list(head.of_queries) == ["text", "image"]
    assert all((part.steps, part.smoothing) == (3, 9.0) for part in head.of_queries.values())


def test_only_a_memory_has_weights():
    assert not list(build(steps=1).parameters())
    shapes = {tuple(weight.shape) for weight in build(directions="text").parameters()}
    assert shapes == {(SIZE, 2 * SIZE), (SIZE,)}


def test_gradients_match_finite_differences():
    head = build(steps=2)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    image, text = ragged([3, 2], 1), ragged([2, 3], 2)
    assert torch.autograd.gradcheck(
        lambda v, t: head(Encoded(v, image.mask), Encoded(t, text.mask)),
        (image.tokens.requires_grad_(), text.tokens.requires_grad_()),
    )


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="directions must be text, image or full, found 'both'"):
        build(directions="both")
    with pytest.raises(ValueError, match="steps must be at least 1, found 0"):
        build(steps=0)

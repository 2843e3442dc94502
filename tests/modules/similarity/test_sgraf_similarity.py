"""SAF and SGR against the paper's formulas, one pair and one node at a time."""

import pytest
import torch

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import JointSgrafSimilarity, SafSimilarity, SgrSimilarity

SIZE, SIMILARITY_SIZE, SMOOTHING = 6, 4, 7.0
TEXT_LENGTHS = [3, 5, 1, 2]


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def randomised(head: torch.nn.Module) -> torch.nn.Module:
    """Weights, norms and running statistics that are all different from their defaults."""
    torch.manual_seed(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.3, 2.0)
    return head.double().eval()


def unit(x):
    return x / x.norm()


def normalise_slowly(norm, x, position=None):
    """A norm at inference on one vector, or on the vector of one region `position`."""
    if isinstance(norm, torch.nn.Identity):
        return x
    if isinstance(norm, torch.nn.LayerNorm):
        centred = x - x.mean()
        return norm.weight * centred / (centred.square().mean() + norm.eps).sqrt() + norm.bias
    at = slice(None) if position is None else position
    scale = norm.weight[at] / (norm.running_var[at] + norm.eps).sqrt()
    return (x - norm.running_mean[at]) * scale + norm.bias[at]


def pool_slowly(attention, tokens):
    mean = torch.tanh(
        normalise_slowly(attention.mean_norm, attention.mean_map(sum(tokens) / len(tokens)))
    )
    exponentials = []
    for position, token in enumerate(tokens):
        branch = normalise_slowly(attention.token_norm, attention.token_map(token), position)
        exponentials.append(attention.score(torch.tanh(branch) * mean).exp())
    return unit(sum(e * t for e, t in zip(exponentials, tokens, strict=True)) / sum(exponentials))


def nodes_slowly(alignment, regions, words):
    image = pool_slowly(alignment.image_attention, regions)
    text = pool_slowly(alignment.text_attention, words)
    nodes = [unit(alignment.global_map((image - text) ** 2))]
    clipped = torch.zeros(len(regions), len(words), dtype=torch.double)
    for i, region in enumerate(regions):
        for j, word in enumerate(words):
            s = region @ word
            clipped[i, j] = s if s > 0 else 0.1 * s
    for j, word in enumerate(words):
        logits = [SMOOTHING * clipped[i, j] / clipped[i].norm() for i in range(len(regions))]
        total = sum(logit.exp() for logit in logits)
        attended = sum(lo.exp() / total * r for lo, r in zip(logits, regions, strict=True))
        nodes.append(unit(alignment.local_map((unit(attended) - word) ** 2)))
    return nodes


def saf_slowly(head, regions, words):
    nodes = nodes_slowly(head.alignment, regions, words)
    filtration = head.filtration
    gates = [
        torch.sigmoid(normalise_slowly(filtration.gate_norm, filtration.gate(n))) for n in nodes
    ]
    vector = unit(sum(gate / sum(gates) * n for gate, n in zip(gates, nodes, strict=True)))
    return torch.sigmoid(head.score(vector))


def sgr_slowly(head, regions, words):
    nodes = nodes_slowly(head.alignment, regions, words)
    for step in head.reasoning:
        updated = []
        for p in nodes:
            edges = [(step.query(p) @ step.key(q)).exp() for q in nodes]
            mixed = sum(e / sum(edges) * q for e, q in zip(edges, nodes, strict=True))
            updated.append(torch.relu(step.update(mixed)))
        nodes = updated
    return torch.sigmoid(head.score(nodes[0]))


def score_all_slowly(function, head, image, text):
    scores = torch.zeros(len(image.tokens), len(text.tokens), dtype=torch.double)
    for i, (regions, region_mask) in enumerate(zip(*image, strict=True)):
        for j, (words, word_mask) in enumerate(zip(*text, strict=True)):
            scores[i, j] = function(head, list(regions[region_mask]), list(words[word_mask]))
    return scores


OPTIONS = {"similarity_size": SIMILARITY_SIZE, "smoothing": SMOOTHING}
# Ragged regions under layer norms; four regions each under the published batch norms.
LAYOUTS = [([4, 2, 1], None), ([4, 4, 4], 4)]


@pytest.mark.parametrize(("image_lengths", "num_regions"), LAYOUTS)
@torch.no_grad()
def test_saf_scores(image_lengths, num_regions):
    head = randomised(SafSimilarity(SIZE, num_regions=num_regions, **OPTIONS))
    image, text = ragged(image_lengths, 1), ragged(TEXT_LENGTHS, 2)
    expected = score_all_slowly(saf_slowly, head, image, text)
    assert expected.std() > 1e-3
    torch.testing.assert_close(head(image, text), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("image_lengths", "num_regions"), LAYOUTS)
@torch.no_grad()
def test_sgr_scores(image_lengths, num_regions, steps):
    head = randomised(SgrSimilarity(SIZE, steps=steps, num_regions=num_regions, **OPTIONS))
    image, text = ragged(image_lengths, 1), ragged(TEXT_LENGTHS, 2)
    expected = score_all_slowly(sgr_slowly, head, image, text)
    assert expected.std() > 1e-3
    torch.testing.assert_close(head(image, text), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_sgraf_is_the_mean_of_two_heads_with_their_own_weights():
    head = randomised(JointSgrafSimilarity(SIZE, **OPTIONS))
    image, text = ragged([4, 2, 1], 1), ragged(TEXT_LENGTHS, 2)
    saf = score_all_slowly(saf_slowly, head.saf, image, text)
    sgr = score_all_slowly(sgr_slowly, head.sgr, image, text)
    torch.testing.assert_close(head(image, text), (saf + sgr) / 2, atol=1e-6, rtol=0)
    assert not torch.equal(head.saf.score.weight, head.sgr.score.weight)


@torch.no_grad()
def test_batch_statistics_of_saf_count_every_real_node_once():
    head = randomised(SafSimilarity(SIZE, dropout=0.0, **OPTIONS)).train()
    norm = head.filtration.gate_norm
    norm.reset_running_stats()
    norm.momentum = 1.0  # the running statistics become those of the batch
    image, text = ragged([4, 2, 1], 1), ragged(TEXT_LENGTHS, 2)
    logits = [
        head.filtration.gate(node)
        for regions, region_mask in zip(*image, strict=True)
        for words, word_mask in zip(*text, strict=True)
        for node in nodes_slowly(head.alignment, list(regions[region_mask]), list(words[word_mask]))
    ]
    head(image, text)
    assert len(logits) == 3 * (4 + 3 + 5 + 1 + 2)
    torch.testing.assert_close(norm.running_mean, torch.cat(logits).mean()[None], atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_var, torch.cat(logits).var()[None], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("lengths", "found"), [([3, 3], "3 to 3"), ([4, 2], "2 to 4")])
@pytest.mark.parametrize("head_class", [SafSimilarity, SgrSimilarity, JointSgrafSimilarity])
def test_other_region_counts_are_refused(head_class, lengths, found):
    head = head_class(SIZE, num_regions=4, **OPTIONS).double()
    with pytest.raises(ValueError, match=rf"num_regions=4, found images with {found} regions"):
        head(ragged(lengths, 1), ragged(TEXT_LENGTHS, 2))


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, found 0"):
        SgrSimilarity(SIZE, steps=0)

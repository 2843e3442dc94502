"""SPS: targets, the stable space and borrowed captions against loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import method_alone, scores_and_batch
from noisy_xmodal.training import PairState

STRICT, CLEAN, NOISY = [0, 1, 4, 8], [5], [2, 3, 6, 7]
PROBABILITY = [0.9, 0.6, 0.4, 0.1, 0.7, 0.55, 0.2, 0.3, 0.95]


@pytest.fixture
def method():
    """At the end of its training; network 1 was judged by network 0."""
    method = method_alone("sps", temperature=0.4, stability_weight=2.0, least_target=0.1)
    method.args = SimpleNamespace(robust=True, warmup_epochs=2)
    state = PairState(9, 2)
    state["clean_probability"] = np.array([PROBABILITY, [0.5] * 9])
    state["is_clean"] = (state["clean_probability"] >= 0.5).astype(np.uint8)
    state["prediction"] = np.array([[0.3] * 9, np.linspace(0.1, 0.9, 9)])
    method.engine = SimpleNamespace(pair_state=state, epoch=9, n_epochs=10)
    state["target"] = method.targets()
    return method


def test_targets_are_by_the_division_of_the_peer(method):
    of_a, of_b = method.engine.pair_state["target"]
    np.testing.assert_allclose(of_a, 0.5 + 0.5 * 0.3)
    for i in range(9):
        p = 0.1 + 0.1 * i
        expected = 1 if i in STRICT else 0.55 + 0.45 * p if i in CLEAN else 0
        assert of_b[i] == pytest.approx(expected)


def log_softmax(row, at, counts):
    total = sum(math.exp(float(row[j]) / 0.4) for j in counts)
    return float(row[at]) / 0.4 - math.log(total)


def slow_loss(output, batch, targets, taking_part, with_noisy):
    scores = output.scores.detach()
    losses = np.zeros(9)
    siblings = {1, 2}
    for i in range(9):
        counts = [j for j in range(9) if {i, j} != siblings]
        contrast = -log_softmax(scores[i], i, counts) - log_softmax(scores[:, i], i, counts)
        losses[i] += targets[i] * contrast if i in taking_part else 0
    image, text = output.image_embeds, output.text_embeds
    for i in STRICT:
        for j in STRICT:
            across = float(scores[i, j] - scores[j, i]) ** 2
            within = float(image[i] @ image[j] - text[i] @ text[j]) ** 2
            losses[i] += 2 * (across + within) / len(STRICT)
    if not with_noisy:
        return losses
    proxy = {i: max(STRICT, key=lambda j: float(image[i] @ image[j])) for i in NOISY}

    def is_own(i: int, text: int) -> bool:
        return i == text or {i, text} == siblings

    for i in NOISY:
        matches = []
        for texts_of_image in (True, False):
            counts, row = [], {}
            for j in NOISY:
                a, b = (i, j) if texts_of_image else (j, i)  # image a with the text of proxy of b
                row[j] = scores[a, proxy[b]]
                own = is_own(a, proxy[b]) or is_own(proxy[a], proxy[b])
                if j == i or not own:
                    counts.append(j)
            matches.append(log_softmax(row, i, counts))
        p = sum(math.exp(match) for match in matches) / 2
        y = float(image[i] @ image[proxy[i]]) * p
        losses[i] += -y * sum(matches) if y >= 0.1 else 0
    return losses


@pytest.mark.parametrize(
    ("epoch", "taking_part", "with_noisy"),
    [(2, STRICT, False), (4, STRICT + CLEAN, False), (5, STRICT + CLEAN, True)],
)
def test_loss_is_its_formula_in_every_stage(method, epoch, taking_part, with_noisy):
    method.engine.epoch = epoch
    output, batch = scores_and_batch(9, peer=1)
    # The images of noisy pairs are near those of strict ones, as neighbours are.
    near = output.image_embeds
    near[NOISY] = torch.nn.functional.normalize(near[STRICT] + 0.2 * near[NOISY], dim=1)
    targets = np.float32(method.engine.pair_state["target"][1]).astype(float)
    losses = method.loss(output, batch)
    expected = slow_loss(output, batch, targets, taking_part, with_noisy)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-6)
    assert (expected[NOISY] > 0).any() == with_noisy
    losses.sum().backward()
    assert output.scores.grad.isfinite().all()
    if with_noisy:
        assert (output.scores.grad[NOISY][:, STRICT] != 0).any()


def test_without_strict_pairs_nothing_is_borrowed(method):
    state = method.engine.pair_state
    state["clean_probability"] = np.full((2, 9), 0.55)
    state["is_clean"] = np.array([[1] * 5 + [0] * 4] * 2, dtype=np.uint8)
    state["target"] = method.targets()
    output, batch = scores_and_batch(9, peer=1)
    losses = method.loss(output, batch).detach()
    assert losses.isfinite().all()
    assert (losses[5:] == 0).all()
    assert (losses[:5] > 0).all()

"""GSC: its loss by loops, and the two beliefs whose smaller one is the target."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import make_caption_trainer, method_alone, scores_and_batch, softmax_of
from noisy_xmodal.noise import divide


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_structures(output, beliefs) -> list[list[list[float]]]:
    sides = (output.image_embeds.tolist(), output.text_embeds.tolist())
    return [
        [
            [beliefs[j] / (1 + math.exp(-cosine(side[i], side[j]))) for j in range(7)]
            for i in range(7)
        ]
        for side in sides
    ]


@pytest.fixture
def method():
    method = method_alone("gsc", temperature=0.4, structure_weight=0.5, novelty=0.6)
    method.args = SimpleNamespace(robust=True, seed=0, warmup_epochs=1)
    state = {"target": np.linspace(0.1, 1, 7)[None]}
    method.engine = SimpleNamespace(pair_state=state)
    return method


def test_loss_is_its_formula(method):
    output, batch = scores_and_batch()
    beliefs = np.float32(method.engine.pair_state["target"][0]).astype(float)
    image, text = slow_structures(output, beliefs)
    match, back = softmax_of(output.scores.detach(), batch, 0.4)
    losses = method.loss(output, batch)
    for i in range(7):
        logits = {
            j: sum(x * y for x, y in zip(image[i], text[j], strict=True))
            for j in range(7)
            if {i, j} != {1, 2}
        }
        structure = math.log(sum(math.exp(v) for v in logits.values())) - logits[i]
        contrast = -(math.log(match[i][i]) + math.log(back[i][i])) / 2
        expected = beliefs[i] * (contrast + 0.5 * structure)
        assert float(losses[i].detach()) == pytest.approx(expected, rel=1e-9), i


def test_a_pass_keeps_both_similarities_of_a_pair(method):
    output, batch = scores_and_batch()
    beliefs = np.float32(method.engine.pair_state["target"][0]).astype(float)
    image, text = slow_structures(output, beliefs)
    match, back = softmax_of(output.scores.detach(), batch, 0.4)
    kept = method.loss_pass(output, batch)
    for i in range(7):
        assert float(kept["structure"][i]) == pytest.approx(cosine(image[i], text[i]))
        expected = float(match[i][i] + back[i][i]) / 2
        assert float(kept["prediction"][i].detach()) == pytest.approx(expected)


def test_targets_are_the_smaller_of_two_averages(method):
    random = np.random.default_rng(0)

    class State(dict):
        shape = (1, 60)

    method.engine.pair_state = state = State()
    last = np.ones(60), np.ones(60)
    for _ in range(3):
        alike = np.concatenate([random.normal(0.95, 0.01, 40), random.normal(0.8, 0.03, 20)])
        state["structure"], state["prediction"] = alike[None], random.random((1, 60))
        judged = divide(1 - alike).clean_probability
        seen = (state["prediction"][0], judged)
        last = tuple(0.6 * new + 0.4 * old for new, old in zip(seen, last, strict=True))
        np.testing.assert_allclose(method.targets()[0], np.minimum(*last))
    assert judged[:40].mean() > 0.9 > 0.1 > judged[40:].mean()


def test_it_trains_a_head_without_vectors(tmp_path):
    trainer = make_caption_trainer(
        "gsc", tmp_path, num_train_epochs=2, network={"similarity": "scan_t2i"}
    )
    trainer.train()
    target = trainer.pair_state["target"]
    assert ((target >= 0) & (target <= 1)).all()
    assert torch.isfinite(torch.as_tensor(target)).all()

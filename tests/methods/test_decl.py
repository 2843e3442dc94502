"""DECL against its formulas by loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from caption_methods import method_alone, scores_and_batch

SIBLINGS = {1, 2}


def counted(i: int, n: int = 7) -> list[int]:
    """What image i, or text i, is compared with."""
    return [j for j in range(n) if {i, j} != SIBLINGS]


def slow_losses(scores: np.ndarray, believed: list[int], k: int, options: dict) -> list[float]:
    n, tau, m = len(scores), options["temperature"], options["margin"]
    losses = [0.0] * n
    for side in (scores, scores.T):
        for i in range(n):
            evidence = [np.exp(np.tanh(side[i, j]) / tau) for j in counted(i)]
            labels = [float(i == j and believed[i]) for j in counted(i)]
            alpha = [e + 1 for e in evidence]
            total = sum(alpha)
            for y, a in zip(labels, alpha, strict=True):
                losses[i] += (y - a / total) ** 2 + a * (total - a) / (total**2 * (total + 1))
            misled = [e * (1 - y) + 1 for e, y in zip(evidence, labels, strict=True)]
            flat = Dirichlet(torch.ones(len(misled), dtype=torch.float64))
            divergence = kl_divergence(Dirichlet(torch.tensor(misled, dtype=torch.float64)), flat)
            losses[i] += options["divergence_weight"] * float(divergence)
            lead = [
                max(0.0, m + np.tanh(side[i, j]) - np.tanh(side[i, i])) if j in counted(i) else 0.0
                for j in range(n)
                if j != i
            ]
            hinge = sum(sorted(lead)[-k:]) / k
            losses[i] += believed[i] * options["hinge_weight"] * n * hinge
    return losses


@pytest.mark.parametrize(("step", "k"), [(0, 6), (4, 5), (8, 3), (100, 2)])
def test_loss_is_its_formula_with_fewer_negatives_at_every_step(step, k):
    options = {"temperature": 0.5, "margin": 0.3, "divergence_weight": 0.2, "hinge_weight": 0.7}
    output, batch = scores_and_batch()
    method = method_alone("decl", eta=0.5, least_negatives=2, **options)
    method.engine = SimpleNamespace(step=step)
    assert method.n_negatives(7) == k
    for believed in ([1] * 7, [1, 0, 1, 0, 1, 1, 0]):
        losses = method.both_losses(output, batch, torch.tensor(believed))
        expected = slow_losses(output.scores.detach().numpy(), believed, k, options)
        np.testing.assert_allclose(losses.detach(), expected, rtol=1e-9)


def test_a_pair_is_believed_where_no_other_text_has_more_evidence_of_both_directions():
    output, batch = scores_and_batch()
    with torch.no_grad():
        output.scores[range(1, 7, 2), range(1, 7, 2)] = 1.0
    method = method_alone("decl", temperature=0.5)
    kept = method.loss_pass(output, batch)
    evidence = np.exp(np.tanh(output.scores.detach().numpy()) / 0.5)
    for i in range(7):
        both = {j: evidence[i, j] + evidence[j, i] for j in counted(i)}
        assert bool(kept["is_first"][i]) == (max(both, key=both.get) == i)
        assert float(kept["loss"][i].detach()) == pytest.approx(
            -np.log(both[i] / sum(both.values()))
        )
    state = {"is_first": kept["is_first"].double().numpy()[None]}
    method.engine = SimpleNamespace(pair_state=state)
    (division,) = method.divide(kept["loss"].detach().numpy()[None])
    np.testing.assert_array_equal(division.is_clean, kept["is_first"])
    assert 0 < division.is_clean.sum() < 7


def test_siblings_have_no_gradient():
    output, batch = scores_and_batch()
    method = method_alone("decl")
    method.engine = SimpleNamespace(step=0)
    method.warm_up_loss(output, batch).sum().backward()
    assert output.scores.grad[1, 2] == output.scores.grad[2, 1] == 0
    assert output.scores.grad.isfinite().all()

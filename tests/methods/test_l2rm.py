"""L2RM: the transport against a linear program, and the losses against loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from caption_methods import method_alone, scores_and_batch, softmax_of
from noisy_xmodal.losses import hardest_triplet_loss
from noisy_xmodal.methods.l2rm import partial_transport
from noisy_xmodal.methods.objectives import OBJECTIVES
from noisy_xmodal.training import PairState


def attached(is_clean, **constants):
    method = method_alone("l2rm", **constants)
    method.objective = OBJECTIVES[method.constants.objective](method.constants.margin)
    method.args = SimpleNamespace(robust=True, warmup_epochs=1)
    state = PairState(len(is_clean), 1)
    state["is_clean"] = np.array([is_clean], dtype=np.uint8)
    method.engine = SimpleNamespace(pair_state=state)
    return method


def exact_transport(cost, allowed, mass):
    """The plan of least cost with at most 1 / n in a row, at most 1 / m in a column, and a mass."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    bounds = [(0, None if free else 0) for free in allowed.ravel()]
    found = linprog(
        cost.ravel(),
        A_ub=np.concatenate([rows, columns]),
        b_ub=np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)]),
        A_eq=np.ones((1, n * m)),
        b_eq=[mass],
        bounds=bounds,
    )
    return found.x.reshape(n, m)


@pytest.mark.parametrize(("shape", "mass"), [((6, 6), 0.1), ((6, 6), 0.5), ((5, 8), 0.3)])
def test_transport_is_the_cheapest_one(shape, mass):
    cost = np.random.default_rng(2).random(shape)
    allowed = ~np.eye(*shape, dtype=bool)
    arrays = torch.from_numpy(cost), torch.from_numpy(allowed)
    found = partial_transport(*arrays, mass, 3e-3, 4000, 1e-6).numpy()
    least = (exact_transport(cost, allowed, mass) * cost).sum()
    assert (found * cost).sum() == pytest.approx(least, abs=3e-3)
    assert found.sum() == pytest.approx(mass, abs=1e-3)
    assert found.sum(axis=1).max() <= 1 / shape[0] + 1e-3
    assert found.sum(axis=0).max() <= 1 / shape[1] + 1e-3
    assert (found[~allowed] == 0).all()


def test_few_steps_come_close():
    random = torch.Generator().manual_seed(0)
    cost = torch.rand(50, 50, generator=random)
    allowed = ~torch.eye(50, dtype=torch.bool)
    plan = partial_transport(cost, allowed, 0.1, 0.01)
    assert float(plan.sum()) == pytest.approx(0.1, abs=0.02)
    assert float(plan.sum(dim=1).max()) <= 0.021
    assert (plan * cost).sum() / plan.sum() < 0.1


@pytest.mark.parametrize("n", [2, 24, 64])
@pytest.mark.parametrize(("mean", "spread"), [(0.0, 0.0), (0.05, 0.02), (0.9, 0.1), (1.0, 0.05)])
@pytest.mark.parametrize("entropy", [0.01, 0.07])
def test_the_plan_does_not_depend_on_the_level_of_the_costs(n, mean, spread, entropy):
    random = torch.Generator().manual_seed(0)
    cost = (mean + spread * torch.randn(n, n, generator=random)).clamp(min=0)
    allowed = ~torch.eye(n, dtype=torch.bool)
    plan = partial_transport(cost, allowed, 0.1, entropy)
    end = partial_transport(cost, allowed, 0.1, entropy, 20_000, 1e-9)
    assert float(plan.sum()) == pytest.approx(0.1, abs=0.01)
    target, limit = (part / part.sum(dim=1, keepdim=True) for part in (plan, end))
    assert float((target - limit).abs().sum(dim=1).mean()) < 0.04
    unshifted = partial_transport(cost + 3.0, allowed, 0.1, entropy)
    torch.testing.assert_close(unshifted, plan, atol=1e-6, rtol=1e-4)


def test_noisy_pairs_aim_at_the_plan():
    output, batch = scores_and_batch()
    options = {"temperature": 0.5, "mass": 0.4, "entropy": 0.05, "rematch_weight": 3.0}
    method = attached([1, 0, 0, 1, 0, 0, 0], **options)
    noisy = [1, 2, 4, 5, 6]
    scores = output.scores.detach()[noisy][:, noisy]
    negatives = batch.negatives[noisy][:, noisy]
    plan = partial_transport((1 - scores).clamp(min=0), negatives, 0.4, 0.05).clamp(min=1e-10)
    both = softmax_of(scores, SimpleNamespace(negatives=negatives), 0.5)
    losses = method.loss(output, batch)
    for k, i in enumerate(noisy):
        expected = 0.0
        for side, match in zip((plan, plan.T), both, strict=True):
            counts = [j for j in range(5) if {noisy[j], i} != {1, 2}]
            total = sum(float(side[k, j]) for j in counts)
            for j in counts:
                wanted, given = float(side[k, j]) / total, float(match[k][j])
                expected += wanted * math.log(wanted / given) / 2
                expected += given * math.log(given / wanted) / 2
        assert float(losses[i].detach()) == pytest.approx(3 * expected / 5, rel=1e-6), i
    triplets = hardest_triplet_loss(output.scores, 0.2, batch.negatives)
    torch.testing.assert_close(losses[[0, 3]], triplets[[0, 3]])
    losses[noisy].sum().backward()
    assert output.scores.grad.isfinite().all()
    assert output.scores.grad[1, 2] == output.scores.grad[2, 1] == 0


@pytest.mark.parametrize("is_clean", [[1] * 7, [1] * 6 + [0]])
def test_too_few_noisy_pairs_have_no_loss(is_clean):
    output, batch = scores_and_batch()
    losses = attached(is_clean).loss(output, batch)
    expected = hardest_triplet_loss(output.scores, 0.2, batch.negatives)
    torch.testing.assert_close(losses, expected * torch.tensor(is_clean))


def test_warm_up_is_half_of_cross_entropy_and_its_reverse():
    output, batch = scores_and_batch()
    method = attached([1] * 7, temperature=0.5)
    both = softmax_of(output.scores.detach(), batch, 0.5)
    found = method.warm_up_loss(output, batch)
    for i in range(7):
        expected = 0.0
        for match in both:
            labels = [float(i == j) + 1e-7 for j in range(7)]
            reverse = -sum(p * math.log(y) for p, y in zip(match[i], labels, strict=True))
            expected += (reverse - math.log(match[i][i])) / 2
        assert float(found[i].detach()) == pytest.approx(expected), i

"""L2RM: noisy images and noisy texts are matched anew by optimal transport.

Source: Han, Zheng, Dai, Luo and Wang, "Learning to Rematch Mismatched Pairs for Robust Cross-Modal
Retrieval", CVPR 2024. Pairs that a mixture calls clean have a triplet loss. The images and texts of
the others may belong together in another order: a part of them is transported to each other at the
least cost, and the plan is what their similarities aim at.

| symbol  | here                  | meaning                                                       |
|---------|-----------------------|---------------------------------------------------------------|
| S, tau  | output.scores,        | similarities (b, b), temperature                              |
|         | constants.temperature |                                                               |
| P, Q    | log_match             | softmax of S / tau over the texts of an image, and over the   |
|         |                       | images of a text                                              |
| l       | pair_state["loss"]    | hinge averaged over the negatives                             |
| w       | clean_probability     | posterior of a beta mixture over l; clean from 1 / 2 on       |
| C       | cost                  | relu(1 - S) of the noisy images and texts of a batch          |
| rho     | constants.mass        | mass that is transported, of 1                                |
| epsilon | constants.entropy     | weight of the entropy                                         |
| pi      | partial_transport     | plan of least cost with uniform marginals; a pair keeps its   |
|         |                       | own text in no plan                                           |
| T       | target                | pi divided by the sums of its rows, and of its columns        |
| L_n     | rematching            | [KL(T, P) + KL(P, T)] / 2 of noisy images, and of noisy texts |
| L_w     | warm_up_loss          | [CE + reverse CE] / 2 against the identity plus 1e-7          |

Decisions:

* The loss of a batch is the sum of the triplet losses of its clean pairs and the mean L_n of its
  noisy ones, times `rematch_weight`, as in the published code.
* The published cost is relu(W S + b), a linear layer over the places of a batch that begins with
  W = -I and b = 1 and learns at a rate of 2e-6 from pairs that are planted. Places of a batch mean
  nothing, and at this rate W stays near its start, so the cost is the start itself.
* Noisy images and texts are those of the mini-batch, which holds as many as the division says. The
  published code keeps a queue of 128 noisy images beside the noisy texts of a batch.
* The published plan gives the dummy row and column a cost of 100 max C. Any constant there gives
  the same plan in the limit of many steps. Few steps suffice if it is the least of C, so it is.
* The other captions of an image, and equal captions, are neither negatives nor in a plan.
* Hinges with hard negatives do not get far on small models, so the small recipe has InfoNCE for
  clean pairs.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..losses import log_match_probabilities
from ..noise import BetaMixture, Division, divide
from ..training import Constant, PairBatch, PairTask
from ..training.method import Fields
from .objectives import MARGIN, ObjectiveMethod, objective_constant

_WARM_FLOOR = 1e-7  # added to the identity, whose logarithm the reverse cross-entropy takes
_PLAN_FLOOR = 1e-10  # least entry of a plan, whose logarithm the divergence takes
_LEAST_DUMMY_COST = 30.0  # in units of the entropy: the dummies exchange e^-30 of their mass


class L2rm(ObjectiveMethod):
    """One network; with `args.robust = False` it believes every pair."""

    title = "L2RM"
    citation = """@inproceedings{han2024learning,
  title     = {Learning to Rematch Mismatched Pairs for Robust Cross-Modal Retrieval},
  author    = {Han, Haochen and Zheng, Qinghua and Dai, Guang and Luo, Minnan and Wang, Jingdong},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024}
}"""
    task = PairTask
    is_dividing = True
    options: ClassVar[Mapping[str, Constant]] = {
        "objective": objective_constant("triplet"),
        "margin": MARGIN,
        "temperature": Constant(0.05, 1e-3, 10),
        "mass": Constant(0.1, 1e-3, 1 - 1e-3),
        "entropy": Constant(0.01, 1e-4, 10),
        "rematch_weight": Constant(1.0, 0, 1e4),
    }
    recipe: ClassVar[Fields] = {"method_options": json.dumps({"objective": "infonce"})}

    def model_options(self) -> dict[str, Any]:
        """None: rematching needs all pairs of the noisy ones."""
        return {}

    def log_match(self, scores: Tensor, negatives: Tensor) -> Tensor:
        """Logarithms of P and Q, (2, n, n)."""
        return log_match_probabilities(scores / self.constants.temperature, negatives)

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """Cross-entropy and its reverse, halved, (n_pairs,)."""
        own = self.log_match(output.scores, batch.negatives).diagonal(dim1=1, dim2=2)
        right, wrong = np.log1p(_WARM_FLOOR), np.log(_WARM_FLOOR)
        reverse = own.exp() * right + (1 - own.exp()) * wrong  # (2, n_pairs)
        return -0.5 * (own + reverse).sum(dim=0)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """l, (n_pairs,)."""
        return {"loss": self.objective.warm_up(output, batch.negatives)}

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division of the losses (1, n_pairs) by a beta mixture."""
        return [divide(row, mixture=BetaMixture()) for row in losses]

    def batch_mask(self, network: int) -> np.ndarray | None:
        """Every mini-batch holds clean and noisy pairs as the division has them."""
        if "is_clean" not in self.engine.pair_state:
            return None
        return self.engine.pair_state["is_clean"][0].astype(bool)

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The objective of clean pairs, and L_n of noisy ones, (n_pairs,).

        Clean pairs are to be summed, and L_n is to be a mean, so a noisy pair has a share of it.
        """
        ones = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        losses = self.objective.robust(output, ones, batch.negatives)
        if not self.args.robust:
            return losses
        is_clean = self.look_up("is_clean", batch) > 0
        losses, noisy = losses * is_clean, (~is_clean).nonzero().flatten()
        if len(noisy) < 2:
            return losses
        negatives = batch.negatives[noisy][:, noisy]  # (n_noisy, n_noisy)
        noisy_losses = self.rematching(output.scores[noisy][:, noisy], negatives)
        weight = self.constants.rematch_weight / len(noisy)
        return losses.index_add(0, noisy, weight * noisy_losses.to(losses))

    def rematching(self, scores: Tensor, negatives: Tensor) -> Tensor:
        """L_n, (n_noisy,), for the scores and negatives of noisy pairs, (n_noisy, n_noisy)."""
        cost = torch.relu(1 - scores.detach())
        plan = partial_transport(cost, negatives, self.constants.mass, self.constants.entropy)
        plan = plan.to(scores).clamp(min=_PLAN_FLOOR)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        counts = torch.stack([negatives | own, negatives.T | own])  # (2, n_noisy, n_noisy)
        target = torch.stack([plan, plan.T]) * counts
        target = target / target.sum(dim=2, keepdim=True)
        log_match = self.log_match(scores, negatives).masked_fill(~counts, 0)
        log_target = target.masked_fill(~counts, 1).log()
        match = log_match.exp() * counts
        # KL(T, P) + KL(P, T) is the sum of (T - P) (log T - log P).
        return 0.5 * ((target - match) * (log_target - log_match)).sum(dim=(0, 2))


@torch.no_grad()
def partial_transport(
    cost: Tensor,
    allowed: Tensor,
    mass: float,
    entropy: float,
    max_steps: int = 200,
    tolerance: float = 1e-3,
) -> Tensor:
    """Transport a part of a uniform mass of 1 at the least cost, with entropy.

    A dummy row takes what the columns do not get, and a dummy column what the rows keep. The plan
    is that of Sinkhorn's steps in the log domain.

    Args:
        cost: Cost of each row and column, (n, m), not negative.
        allowed: Where mass may be transported, bool (n, m).
        mass: Mass that is transported, between 0 and 1. With much entropy, or a plan that few
            entries allow, it can be more.
        entropy: Weight of the entropy, in units of the cost.
        max_steps: Largest number of steps.
        tolerance: Largest change of a potential, in units of the entropy, at the end.

    Returns:
        The plan, float64 (n, m), on the CPU.
    """
    cost, allowed = cost.cpu().double(), allowed.cpu()  # not every device has float64
    n, m = cost.shape
    if allowed.any():
        cost = cost - cost[allowed].min()
    kernel = cost.new_zeros(n + 1, m + 1)  # log of exp(-cost / entropy)
    kernel[:n, :m] = -cost / entropy
    kernel[:n, :m].masked_fill_(~allowed, -torch.inf)
    kernel[n, m] = -max(float(cost.max()) / entropy, _LEAST_DUMMY_COST)
    rest = kernel.new_tensor([1 - mass])
    rows = torch.cat([kernel.new_full((n,), 1 / n), rest]).log()  # (n + 1,)
    columns = torch.cat([kernel.new_full((m,), 1 / m), rest]).log()  # (m + 1,)
    of_columns = torch.zeros_like(columns)
    of_rows = torch.zeros_like(rows)
    for _ in range(max_steps):
        last = of_rows
        of_rows = rows - (kernel + of_columns).logsumexp(dim=1)
        of_columns = columns - (kernel + of_rows[:, None]).logsumexp(dim=0)
        if float((of_rows - last).abs().max()) < tolerance:
            break
    return (kernel + of_rows[:, None] + of_columns).exp()[:n, :m]

"""DECL: evidence for each match, and hinges over ever harder negatives.

Source: Qin, Peng, Peng, Wang and Hu, "Deep Evidential Learning with Noisy Correspondence for
Cross-modal Retrieval", ACM Multimedia 2022. The similarities of an image with the texts of a batch
are evidence for a Dirichlet distribution over these texts, and the same from texts to images. A
pair is believed if its text has the most evidence of both directions in a batch.

| symbol   | here                   | meaning                                                     |
|----------|------------------------|-------------------------------------------------------------|
| S        | output.scores          | similarity of each image and text, (b, b)                   |
| tau      | constants.temperature  | scale of the evidence                                       |
| E        | evidence[0]            | exp(tanh(S) / tau); E' in evidence[1] has texts as rows     |
| alpha, A | alpha, strength        | E + 1, and its sum over a row                               |
| y        | labels                 | identity, 0 for pairs that are not believed                 |
| L_edl    | evidential_losses      | sum_j (y - alpha / A)^2 + alpha (A - alpha) / (A^2 (A + 1)) |
|          |                        | + lambda2 KL(Dir(E (1 - y) + 1), Dir(1)), of E and of E'    |
| k        | n_negatives            | max(b - eta step, mu): negatives of the hinge               |
| L_rdh    | hinges                 | mean of the k largest [m + tanh(S_ij) - tanh(S_ii)]+, both  |
|          |                        | directions, of believed pairs                               |
| lambda1  | constants.hinge_weight | weight of the sum of L_rdh in a batch beside the mean L_edl |

Decisions:

* S is the score of any head. The published code takes that of SGR before its sigmoid.
* Pairs are judged over the same fixed chunks in every epoch, not over shuffled batches.
* The other captions of an image, and equal captions, give no evidence and are no negatives. The
  published code counts them.
* The published batch has 128 pairs and 1,133 steps an epoch, after four of which the hinge has its
  five hardest negatives. Small data need a larger eta: the small recipe has 1.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..losses import legitimate_negatives
from ..noise import Division
from ..training import Constant, Method, PairBatch, PairTask
from ..training.method import Fields


class Decl(Method):
    """One network; with `args.robust = False` it believes every pair."""

    title = "DECL"
    citation = """@inproceedings{qin2022deep,
  title     = {Deep Evidential Learning with Noisy Correspondence for Cross-modal Retrieval},
  author    = {Qin, Yang and Peng, Dezhong and Peng, Xi and Wang, Xu and Hu, Peng},
  booktitle = {Proceedings of the 30th ACM International Conference on Multimedia},
  pages     = {4948--4956},
  year      = {2022}
}"""
    task = PairTask
    is_dividing = True
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.1, 1e-2, 10),
        "divergence_weight": Constant(0.1, 0, 100),
        "hinge_weight": Constant(0.8, 0, 100),
        "margin": Constant(0.2, 1e-6, 2),
        "eta": Constant(0.025, 0, 1e6),
        "least_negatives": Constant(5, 1, 1e6),
    }
    recipe: ClassVar[Fields] = {"method_options": json.dumps({"eta": 1})}

    # Evidence

    def evidence(self, output: Any, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """E and E', and where they count: pairs and negatives, (2, n_pairs, n_pairs) each."""
        scaled = torch.exp(output.scores.tanh() / self.constants.temperature)
        counts = legitimate_negatives(output.scores, batch.negatives)
        counts = counts | torch.eye(len(counts), dtype=torch.bool, device=counts.device)
        evidence, counts = torch.stack([scaled, scaled.T]), torch.stack([counts, counts.T])
        return evidence * counts, counts

    def evidential_losses(self, output: Any, batch: PairBatch, belief: Tensor) -> Tensor:
        """L_edl of both directions, (n_pairs,); `belief` is 1 or 0 for each pair."""
        evidence, counts = self.evidence(output, batch)  # (2, n_pairs, n_pairs)
        labels = belief.to(evidence).diag()  # (n_pairs, n_pairs)
        alpha = evidence + 1
        strength = (alpha * counts).sum(dim=2, keepdim=True)  # (2, n_pairs, 1)
        share = alpha / strength
        terms = (labels - share) ** 2 + share * (1 - share) / (strength + 1)
        losses = (terms * counts).sum(dim=2)  # (2, n_pairs)
        divergence = _divergence(evidence * (1 - labels) + 1, counts)  # (2, n_pairs)
        return (losses + self.constants.divergence_weight * divergence).sum(dim=0)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """The share of a pair in the evidence, and whether it has the most."""
        evidence, _ = self.evidence(output, batch)
        both = evidence.sum(dim=0)  # (n_pairs, n_pairs), both directions
        own = torch.arange(len(both), device=both.device)
        share = both.diagonal() / both.sum(dim=1)
        return {"loss": -share.log(), "is_first": both.argmax(dim=1) == own}

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A pair is believed if no other text of its chunk has more evidence."""
        is_first = self.engine.pair_state["is_first"] > 0.5
        return [Division(np.exp(-losses[0]), is_first[0])]

    # Hinges

    def n_negatives(self, batch_size: int) -> int:
        """k, which falls with the steps."""
        k = max(batch_size - self.constants.eta * self.engine.step, self.constants.least_negatives)
        return min(int(k), batch_size - 1)

    def hinges(self, output: Any, batch: PairBatch) -> Tensor:
        """L_rdh as if all pairs were believed, (n_pairs,)."""
        bounded = output.scores.tanh()
        negatives = legitimate_negatives(bounded, batch.negatives)
        costs = [
            torch.relu(self.constants.margin + side - bounded.diagonal()[:, None])
            for side in (bounded, bounded.T)
        ]
        masks = torch.stack([negatives, negatives.T])
        k = self.n_negatives(len(bounded))
        hardest = (torch.stack(costs) * masks).topk(k, dim=2).values  # (2, n_pairs, k)
        return hardest.mean(dim=2).sum(dim=0)

    def both_losses(self, output: Any, batch: PairBatch, belief: Tensor) -> Tensor:
        """L_edl, and L_rdh of believed pairs, (n_pairs,)."""
        # The trainer takes the mean over the pairs, and hinges are to be summed.
        weight = self.constants.hinge_weight * len(belief)
        hinges = belief * self.hinges(output, batch)
        return self.evidential_losses(output, batch, belief) + weight * hinges

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The loss with every pair believed, (n_pairs,)."""
        return self.both_losses(output, batch, torch.ones_like(output.scores.diagonal()))

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The loss with the pairs of the division, (n_pairs,)."""
        if not self.args.robust:
            return self.warm_up_loss(output, batch)
        return self.both_losses(output, batch, self.look_up("is_clean", batch))


def _divergence(alpha: Tensor, counts: Tensor) -> Tensor:
    """KL divergence of Dirichlet distributions, the rows of alpha, from the uniform one.

    Args:
        alpha: (2, n_pairs, n_pairs).
        counts: Which entries of a row the distribution is over.
    """
    n = counts.sum(dim=2).to(alpha)  # (2, n_pairs)
    strength = (alpha * counts).sum(dim=2)  # (2, n_pairs)
    means = alpha.digamma() - strength.digamma().unsqueeze(2)
    terms = (alpha - 1) * means - alpha.lgamma()
    return strength.lgamma() - n.lgamma() + (terms * counts).sum(dim=2)

"""CREAM: refined targets on the diagonal, and what is left of them for similar pairs off it.

Source: Ma, Yang, Li, Hu, Lv and Peng, "Cross-modal Retrieval with Noisy Correspondence via
Consistency Refining and Mining", IEEE Transactions on Image Processing 2024. Two networks divide
the pairs into three parts: both call a pair clean, both call it noisy, or they differ (hard).

| symbol   | here                  | meaning                                                       |
|----------|-----------------------|---------------------------------------------------------------|
| S, tau   | output.scores,        | similarities (b, b), temperature                              |
|          | constants.temperature |                                                               |
| P, Q     | log_match             | softmax of S / tau over the texts of an image, and over the   |
|          |                       | images of a text, (2, b, b)                                   |
| CE       |                       | -log P_ii - log Q_ii, the loss of warm-up and division        |
| w_A, w_B | clean_probability     | posterior of a Gaussian mixture over CE, for each network     |
| p_A, p_B | pair_state[           | (P_ii + Q_ii) / 2 of each network                             |
|          | "prediction"]         |                                                               |
| y        | pair_state["target"]  | w + (1 - w) p, with the network's own p; w is the peer's for  |
|          |                       | clean pairs and the mean for hard ones; for noisy pairs       |
|          |                       | (p_A + p_B) / 2                                               |
| T        | distributions         | y on the diagonal; (1 - y_i) S_ij / sum_{j != i} S_ij off it, |
|          |                       | 0 where that is below the mean of y over the data             |
| L        | loss                  | -sum_j T_ij log P_ij, and the same for the texts              |

Decisions:

* y is refined once an epoch, over the same fixed chunks as the division, so that it is logged and
  saved. The published code refines it at each training step.
* The parts share a mini-batch and its negatives. The published code draws a batch of each part.
* Hard and noisy pairs have a loss of their own after a share of the epochs that follow the warm-up:
  `hard_start` and `noisy_start` are the published 10 and 15 of 40.
* T is constant in a step, and similarities below 0 count as 0, for heads whose scores can be.
* The published code keeps all entries off the diagonal where more than 85 % of the pairs are clean.
  That is not done here.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..noise import bootstrap
from ..training import Constant, PairBatch, PairTask
from .peers import ContrastivePeers


class Cream(ContrastivePeers):
    """Two networks; with `args.robust = False` they believe every pair."""

    title = "CREAM"
    citation = """@article{ma2024cream,
  title   = {Cross-modal Retrieval with Noisy Correspondence via Consistency Refining and Mining},
  author  = {Ma, Xinran and Yang, Mouxing and Li, Yunfan and Hu, Peng and Lv, Jiancheng and
             Peng, Xi},
  journal = {IEEE Transactions on Image Processing},
  volume  = {33},
  pages   = {2587--2598},
  year    = {2024}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.07, 1e-3, 10),
        "hard_start": Constant(0.25, 0, 1),
        "noisy_start": Constant(0.375, 0, 1),
    }

    # Targets

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Which pairs are clean, and which are noisy, bool (n_pairs,) each; the others are hard."""
        is_clean = self.engine.pair_state["is_clean"] > 0  # (2, n_pairs)
        votes = is_clean.sum(axis=0)  # (n_pairs,)
        return votes == 2, votes == 0

    def batch_mask(self, network: int) -> np.ndarray | None:
        """Every mini-batch holds pairs that are clean for both networks, and others."""
        return self.parts()[0] if "is_clean" in self.engine.pair_state else None

    def targets(self) -> np.ndarray:
        """y for both networks, (2, n_pairs)."""
        state = self.engine.pair_state
        is_clean, is_noisy = self.parts()
        probability, prediction = state["clean_probability"], state["prediction"]
        weight = np.where(is_clean, probability[::-1], probability.mean(axis=0))
        mixed = bootstrap(1.0, prediction, weight)
        return np.where(is_noisy, prediction.mean(axis=0), mixed)

    # The loss

    def weights(self, batch: PairBatch) -> Tensor:
        """1 for pairs that take part, 0 for those that do not yet, (n_pairs,)."""
        first, second = (self.look_up("is_clean", batch, peer) for peer in (0, 1))
        votes = first + second  # 2 for clean, 1 for hard, 0 for noisy pairs
        starts = self.constants.hard_start, self.constants.noisy_start
        least = 2 - sum(self.progress() >= start for start in starts)
        return (votes >= least).float()

    def distributions(self, scores: Tensor, targets: Tensor, batch: PairBatch) -> Tensor:
        """T over the texts of each image, and over the images of each text, (2, n_pairs, n_pairs).

        Args:
            scores: S, (n_pairs, n_pairs).
            targets: y, (n_pairs,).
            batch: The batch, for its negatives.
        """
        similar = scores.detach().clamp(min=0) * batch.negatives
        similar = torch.stack([similar, similar.T])
        share = similar / similar.sum(dim=2, keepdim=True).clamp(min=1e-12)
        off = (1 - targets)[:, None] * share
        off = off.masked_fill(off < float(self.engine.pair_state["target"].mean()), 0)
        return off + targets.diag()

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """Cross-entropy against T in both directions, (n_pairs,)."""
        if not self.args.robust:
            return self.warm_up_loss(output, batch)
        targets = self.look_up("target", batch).to(output.scores)
        distribution = self.distributions(output.scores, targets, batch)
        log_match = self.log_match(output.scores, batch.negatives)
        log_match = log_match.masked_fill(distribution == 0, 0)  # no 0 times -inf
        return self.weights(batch) * -(distribution * log_match).sum(dim=(0, 2))

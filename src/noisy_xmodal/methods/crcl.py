"""CRCL: pairs weighted by belief, a bounded loss on negatives, and beliefs that survive restarts.

Source: Qin, Sun, Peng, Zhou, Peng and Hu, "Cross-modal Active Complementary Learning with
Self-refining Correspondence", NeurIPS 2023. Training is a sequence of runs, each of which begins
with the first weights; the belief in each pair goes on from one to the next.

| symbol  | here                   | meaning                                                     |
|---------|------------------------|-------------------------------------------------------------|
| S, tau  | output.scores,         | similarities (b, b), temperature                            |
|         | constants.temperature  |                                                             |
| P, Q    | match                  | softmax of S / tau over the texts of an image, and over the |
|         |                        | images of a text, (2, b, b)                                 |
| y       | pair_state["target"]   | belief in each pair; 1 at first                             |
| L_d     | pull                   | -log P_ii - log Q_ii                                        |
| L_r     | push                   | sum_{j != i} tan P_ij / (sum_j tan P_ij)^(1 - y), and of Q  |
| L       | loss                   | y L_d + lambda L_r, lambda = `push_weight`                  |
| p       | prediction             | (P_ii + Q_ii) / 2                                           |
| alpha   | constants.memory       | y = alpha y + (1 - alpha) p, but p the first time           |
| e_f     | warmup_epochs          | first epochs of a run, in which y is frozen                 |
| epsilon | constants.least_belief | smaller y become 0, but not the first time                  |

Decisions:

* Beliefs are refined as an epoch begins, over the same fixed chunks in every epoch and without
  dropout, so that they are logged, saved, and the same for any number of processes. The published
  code refines a belief at each training step of its pair.
* The power of the push is as in the published code, where the sum over j counts the pair.
* The published code corrupts words and drops regions while it trains; that belongs to its data
  loader, is none of the method, and is left out.
* The other captions of an image, and equal captions, are no negatives.
* With a low temperature p is close to 0 until thousands of steps have been made, and no pair is
  believed. The small recipe has .2, and two runs.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..losses import log_match_probabilities
from ..training import Constant, Method, PairBatch, PairTask
from ..training.method import Fields


class Crcl(Method):
    """One network; with `args.robust = False` a single run that believes every pair."""

    title = "CRCL"
    citation = """@inproceedings{qin2023cross,
  title     = {Cross-modal Active Complementary Learning with Self-refining Correspondence},
  author    = {Qin, Yang and Sun, Yuan and Peng, Dezhong and Zhou, Joey Tianyi and
               Peng, Xi and Hu, Peng},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {36},
  year      = {2023}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.05, 1e-3, 10),
        "push_weight": Constant(5.0, 0, 1e3),
        "memory": Constant(0.8, 0, 1),
        "least_belief": Constant(0.1, 0, 1),
        "n_restarts": Constant(3, 0, 100),
        "run_epochs": Constant(7, 1, 1e4),
    }
    recipe: ClassVar[Fields] = {
        "num_train_epochs": 9.0,
        "warmup_epochs": 2,
        "method_options": json.dumps({"temperature": 0.2, "n_restarts": 1, "run_epochs": 3}),
    }

    def check_data(self, smallest: int) -> None:
        """Refuse runs that leave the last one no epoch with refined beliefs."""
        epochs = self.args.num_train_epochs
        first = self.constants.n_restarts * self.constants.run_epochs
        if self.args.robust and self.args.max_steps <= 0 and first >= epochs:
            raise ValueError(
                f"{self.title}: {self.constants.n_restarts} runs of {self.constants.run_epochs} "
                f"epochs leave none of {epochs:g} to the last run: raise `num_train_epochs`, or "
                "lower `n_restarts` or `run_epochs` in `method_options`."
            )

    def epoch_of_run(self, epoch: int) -> int:
        """The epoch within its run, from 0; the last run goes on to the end."""
        run = min(epoch // self.constants.run_epochs, self.constants.n_restarts)
        return epoch - run * self.constants.run_epochs

    def stages(self) -> tuple[int, ...]:
        """The first epoch of each run."""
        n_restarts = self.constants.n_restarts if self.args.robust else 0
        return tuple(run * self.constants.run_epochs for run in range(n_restarts + 1))

    # Beliefs

    def passes_at(self, epoch: int) -> bool:
        """Where beliefs are refined: after the first epochs of a run."""
        return self.args.robust and self.epoch_of_run(epoch) >= max(1, self.args.warmup_epochs)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """p, (n_pairs,)."""
        match = self.log_match(output, batch).exp()
        return {"prediction": match.diagonal(dim1=1, dim2=2).mean(dim=0)}

    def targets(self) -> np.ndarray | None:
        """The beliefs of the epoch, (1, n_pairs); None where they stay."""
        state = self.engine.pair_state
        if not self.passes_at(self.engine.epoch):
            return None
        if "target" not in state:
            return state["prediction"]
        memory = self.constants.memory
        beliefs = memory * state["target"] + (1 - memory) * state["prediction"]
        return np.where(beliefs < self.constants.least_belief, 0.0, beliefs)

    # The loss

    def log_match(self, output: Any, batch: PairBatch) -> Tensor:
        """Logarithms of P and Q, (2, n_pairs, n_pairs)."""
        return log_match_probabilities(output.scores / self.constants.temperature, batch.negatives)

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """y L_d + lambda L_r, (n_pairs,)."""
        belief = torch.ones_like(output.scores.diagonal())
        if self.args.robust and "target" in self.engine.pair_state:
            belief = self.look_up("target", batch).to(belief)
        log_match = self.log_match(output, batch)  # (2, n_pairs, n_pairs)
        pull = -log_match.diagonal(dim1=1, dim2=2).sum(dim=0)  # (n_pairs,)
        pushes = log_match.exp().tan()  # (2, n_pairs, n_pairs)
        every = pushes.sum(dim=2)  # (2, n_pairs)
        others = every - pushes.diagonal(dim1=1, dim2=2)
        push = (others / every ** (1 - belief)).sum(dim=0)  # (n_pairs,)
        return belief * pull + self.constants.push_weight * push

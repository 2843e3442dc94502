"""NCR: co-divide, co-rectify and soft margins, by two networks that teach each other.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Algorithm 1. Two peers under one Adam are the same as two optimizers, since it works parameter by
parameter and gradients are clipped for each peer.

| symbol   | here                            | meaning                                        |
|----------|---------------------------------|------------------------------------------------|
| S(I, T)  | output.scores                   | similarity of each image and text, (b, b)      |
| alpha, m | constants.margin, curve         | margin of Eq. 2 and 7, curve of Eq. 7          |
| l        | pair_state["loss"]              | Eq. 2 over fixed chunks, (2, n_pairs)          |
| w        | pair_state["clean_probability"] | posterior of the lower component, Eq. 3        |
| s        | advantage                       | how far a pair beats the mean of its negatives |
| Theta    | clamp                           | to [0, ceiling]; the ceiling is alpha          |
| tau      | anchor                          | mean of the largest 10 % of Theta(s)           |
| P(I, T)  | pair_state["prediction"]        | Theta(s) / tau, at most 1, Eq. 5               |
| y-hat    | pair_state["target"]            | rectified correspondence, Eq. 4                |

| lines of Algorithm 1 | equations | where                                          |
|----------------------|-----------|------------------------------------------------|
| 1                    | 2         | `warm_up_loss`                                 |
| 3-4                  | 1, 2, 3   | `loss_pass`, `divide`                          |
| 6-7                  |           | `PeerMethod`: division by the other peer       |
| 9                    |           | `PeerMethod`: clean and noisy pairs in a batch |
| 10                   | 5, 4      | `adaptive_prediction`, `targets`               |
| 11                   | 6, 7      | `loss`, by `objectives.TripletObjective`       |

Departures from the paper:

* An epoch visits every pair once (the paper does not give num_steps; the code stops with the clean
  pairs), and noisy pairs take part from the first epoch after the warm-up, in the same step.
* Targets are rectified once per division, over the same fixed chunks as the losses, so that they
  are logged and saved. `rectification="batch"` is Algorithm 1's line 10 exactly.
* The means of Eq. 5 are over the negatives; the printed 1/b counts the pair itself as a zero. The
  code hinges every negative before it averages; here, as printed, the mean comes first.
* tau = 0 (no pair of the chunk beats its negatives) is 0/0 in print and NaN in the code. It means
  that nothing is predicted to match: P = 0.
* Clean and noisy pairs share a mini-batch, its negatives and its tau ("the data have at least 10 %
  clean pairs" is true of the data, not of its noisy side). The code scores them apart, so that the
  best tenth of the noisy pairs counts as matching by construction.
* Table 4's row without co-divide is not explained. Without a division no pair has a posterior and
  none is known to be clean, so `co_divide=False` takes the second line of Eq. 4 for every pair.
* "Theta(s) / tau ... otherwise [0, 1]" means that P is cut at 1.
* With a cross-entropy there is no alpha at which training stops pushing, so Theta has no ceiling.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.ncr.configuration_ncr import NcrConfig
from ..noise import Division, co_rectify, divide
from ..training import PairBatch, PairTask
from .objectives import ObjectiveMethod
from .peers import PeerMethod


class Ncr(ObjectiveMethod, PeerMethod):
    """NCR; with `args.robust = False`, the same two networks without division and rectification."""

    title = "NCR"
    citation = """@inproceedings{huang2021learning,
  title     = {Learning with Noisy Correspondence for Cross-modal Matching},
  author    = {Huang, Zhenyu and Niu, Guocheng and Liu, Xiao and Ding, Wenbiao and
               Xiao, Xinyan and Wu, Hua and Peng, Xi},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}"""
    task = PairTask
    config_class = NcrConfig
    constants_in_config = True

    def run_title(self) -> str:
        """NCR, or plain."""
        return self.title if self.args.robust else "plain"

    # Eq. 1-3

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """Eq. 2, averaged over the negatives, (n_pairs,)."""
        return self.objective.warm_up(output, batch.negatives)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """Losses for the mixture (Eq. 1) and predictions for the targets (Eq. 5)."""
        prediction = self.predict(output, batch)
        return {"loss": self.warm_up_loss(output, batch), "prediction": prediction}

    def passes_at(self, epoch: int) -> bool:
        """Predictions are needed without a division, too."""
        return super().divides_at(epoch)

    def divides_at(self, epoch: int) -> bool:
        """After the warm-up, unless the ablation leaves it out."""
        return self.constants.co_divide and super().divides_at(epoch)

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A pair is clean from a posterior of `clean_threshold` on, for each peer."""
        threshold = self.constants.clean_threshold
        return [divide(row, threshold=threshold, seed=self.args.seed) for row in losses]

    # Eq. 4-5

    def predict(self, output: Any, batch: PairBatch) -> Tensor:
        """Eq. 5 for a batch of one network, (n_pairs,)."""
        return adaptive_prediction(
            output.scores,
            batch.negatives,
            ceiling=self.objective.prediction_ceiling,
            anchor_share=self.constants.anchor_share,
        )

    def targets(self) -> np.ndarray | None:
        """Eq. 4 for both peers, (2, n_pairs), each with the division that the other one made."""
        if not self.constants.co_rectify:
            return None
        if not self.constants.co_divide:
            prediction = self.engine.pair_state["prediction"]
            return np.broadcast_to(prediction.mean(axis=0), prediction.shape)
        return self.rectified()

    def batch_targets(self, batch: PairBatch) -> Tensor:
        """Eq. 4 and 5 for this batch alone, by both peers in eval mode, (n_pairs,)."""
        own, other = (
            self.predict(self.engine.judge(peer, batch), batch)
            for peer in (batch.peer, 1 - batch.peer)
        )
        if not self.constants.co_divide:
            return (own + other) / 2
        judge = self.judge_of(batch.peer)
        probability = self.look_up("clean_probability", batch, judge).to(own)
        is_clean = self.look_up("is_clean", batch, judge).to(own)
        return co_rectify(1.0, own, other, probability, is_clean)

    # Eq. 6-7

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """Eq. 6 with the margins of Eq. 7, or another objective, (n_pairs,).

        Without co-rectification a noisy pair is a negative and nothing else.
        """
        weights = targets = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        if self.args.robust and not self.constants.co_rectify:
            weights = self.look_up("is_clean", batch, self.judge_of(batch.peer))
        elif self.args.robust and self.constants.rectification == "epoch":
            targets = self.look_up("target", batch)
        elif self.args.robust:
            targets = self.batch_targets(batch)
        return weights * self.objective.robust(output, targets, batch.negatives)


def adaptive_prediction(
    scores: Tensor,
    negatives: Tensor,
    ceiling: float | None = 0.2,
    anchor_share: float = 0.1,
) -> Tensor:
    """Predict whether each pair of a batch matches (Eq. 5), judged by the pairs beside it.

    Args:
        scores: Similarity of every image with every text of the batch, pairs on the diagonal,
            (b, b).
        negatives: True where image i is a legitimate negative of text j, (b, b).
        ceiling: Largest advantage that counts, alpha of Eq. 2; None for no limit.
        anchor_share: Share of the pairs whose mean advantage is the anchor.

    Returns:
        Predictions in [0, 1], (b,).
    """
    scores = scores.detach().float()
    others = scores.masked_fill(~negatives, 0)  # (b, b)
    of_image = others.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)  # (b,)
    of_text = others.sum(dim=0) / negatives.sum(dim=0).clamp(min=1)  # (b,)
    advantage = scores.diagonal() - (of_image + of_text) / 2  # (b,)
    clamped = advantage.clamp(min=0, max=ceiling)  # (b,)
    n_anchors = max(1, round(anchor_share * len(clamped)))
    anchor = clamped.topk(n_anchors).values.mean()
    prediction = clamped / anchor.clamp(min=1e-12)  # (b,), 0 where the anchor is 0
    return prediction.clamp(max=1)

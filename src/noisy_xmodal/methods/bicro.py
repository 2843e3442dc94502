"""BiCro: a pair is as right as its neighbour among the images is one among the texts.

Source: Yang, Xu, Wang, You, Yao, Liu and Xu, "BiCro: Noisy Correspondence Rectification for
Multi-modality Data via Bi-directional Cross-modal Similarity Consistency", CVPR 2023. Two networks
teach each other, as in NCR; targets come from anchors, pairs that are surely right.

| symbol    | here                      | meaning                                                  |
|-----------|---------------------------|----------------------------------------------------------|
| S         | output.scores             | similarity of each image and text, (b, b)                |
| alpha     | constants.margin          | margin of the triplet loss                               |
| m         | constants.curve           | curve of the soft margin                                 |
| l         | pair_state["loss"]        | hinge averaged over the negatives                        |
| gamma     | constants.warmup_share    | share of a batch, of the lowest losses, that warms up    |
| w         | clean_probability         | posterior of a beta mixture over l; clean from 1 / 2 on  |
| anchors   | pair_state["is_anchor"]   | tenth of a chunk with the lowest losses                  |
| c_I, c_T  |                           | cosines of image and text with those of an anchor        |
| r         | pair_state["consistency"] | min(c_I / c_T, c_T / c_I) at the anchor with the largest |
|           |                           | c_I and at the one with the largest c_T, averaged        |
| y         | pair_state["target"]      | 1 for clean anchors, (1 + r) / 2 for other clean         |
|           |                           | pairs, r for noisy ones; 0 where not above 1 / 2         |
| alpha-hat |                           | alpha (m^y - 1) / (m - 1), the soft margin               |

Decisions:

* Losses, anchors and r are those of the peer in its pass over fixed chunks as an epoch begins, so
  that targets are logged and saved. The published code asks the peer at each training step.
* Noisy pairs are negatives of others from the first epoch after the warm-up on. As in the published
  code they have a loss of their own after a share of the epochs that follow the warm-up,
  `noisy_start`.
* A cosine of 0 or less makes r = 0. Images are compared by their vectors (`vectors.py`).
* The margin of a pair applies to its row and its column. In the published code rows take the margin
  of the column.
* The mixture runs until it has converged; the published one takes ten steps.
* Hinges with hard negatives do not get far on small models, so the small recipe has InfoNCE, whose
  pairs are weighted by the same curve.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..noise import BetaMixture, Division, divide
from ..training import Constant, PairBatch, PairTask
from ..training.method import Fields
from .objectives import MARGIN, ObjectiveMethod, objective_constant
from .peers import PeerMethod
from .vectors import pair_vectors


class Bicro(ObjectiveMethod, PeerMethod):
    """Two networks; with `args.robust = False` they believe every pair."""

    title = "BiCro"
    citation = """@inproceedings{yang2023bicro,
  title     = {BiCro: Noisy Correspondence Rectification for Multi-modality Data via
               Bi-directional Cross-modal Similarity Consistency},
  author    = {Yang, Shuo and Xu, Zhaopan and Wang, Kai and You, Yang and Yao, Hongxun and
               Liu, Tongliang and Xu, Min},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "objective": objective_constant("triplet"),
        "margin": MARGIN,
        "curve": Constant(10.0, 1e-6, 1e6),
        "warmup_share": Constant(0.3, 1e-3, 1),
        "anchor_share": Constant(0.1, 1e-3, 1),
        "least_target": Constant(0.5, 0, 1),
        "noisy_start": Constant(0.5, 0, 1),
    }
    recipe: ClassVar[Fields] = {"method_options": json.dumps({"objective": "infonce"})}

    # The warm-up and the pass

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The lowest losses, (n_pairs,), 0 for other pairs; a mean over pairs is that of theirs."""
        losses = self.objective.warm_up(output, batch.negatives)
        if not self.args.robust:
            return losses
        is_low = _is_lowest(losses, self.constants.warmup_share)
        scale = 1.0 if self.args.sum_losses else len(losses) / is_low.sum()
        return losses * is_low * scale

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """l, the anchors of the chunk and r, (n_pairs,) each."""
        losses = self.objective.warm_up(output, batch.negatives)
        is_anchor = _is_lowest(losses, self.constants.anchor_share)
        return {
            "loss": losses,
            "is_anchor": is_anchor,
            "consistency": consistency(*pair_vectors(output), is_anchor),
        }

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division for each peer's losses (2, n_pairs), by a beta mixture."""
        return [divide(row, mixture=BetaMixture()) for row in losses]

    def targets(self) -> np.ndarray:
        """y of both peers, (2, n_pairs), each by what the other one saw."""
        state = self.engine.pair_state
        ratio, is_clean = state["consistency"], state["is_clean"] > 0
        targets = np.where(is_clean, (1 + ratio) / 2, ratio)
        targets[is_clean & (state["is_anchor"] > 0)] = 1.0
        targets[targets <= self.constants.least_target] = 0.0
        return targets[::-1]

    # The loss

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The objective with the targets, (n_pairs,); 0 for noisy pairs until they take part."""
        weights = targets = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        if self.args.robust:
            targets = self.look_up("target", batch)
        if self.args.robust and self.progress() < self.constants.noisy_start:
            weights = self.look_up("is_clean", batch, self.judge_of(batch.peer))
        return weights * self.objective.robust(output, targets, batch.negatives)


def consistency(image: Tensor, text: Tensor, is_anchor: Tensor) -> Tensor:
    """How well the neighbourhoods of a pair agree, r in 0 to 1, (n_pairs,).

    Args:
        image: Unit vectors of the images, (n_pairs, size).
        text: Unit vectors of the texts, (n_pairs, size).
        is_anchor: Which pairs are anchors, bool (n_pairs,), at least one.
    """
    cosines = [side @ side[is_anchor].T for side in (image, text)]  # (n_pairs, n_anchors) each
    ratios = []
    for side in cosines:
        nearest = side.argmax(dim=1, keepdim=True)  # (n_pairs, 1)
        both = torch.cat([each.gather(1, nearest) for each in cosines], dim=1).clamp(min=0)
        ratios.append(both.amin(dim=1) / both.amax(dim=1).clamp(min=1e-12))
    return torch.stack(ratios).mean(dim=0)


def _is_lowest(losses: Tensor, share: float) -> Tensor:
    """Which pairs have the lowest losses, bool (n_pairs,), at least one."""
    lowest = losses.detach().topk(max(1, round(share * len(losses))), largest=False).indices
    return torch.zeros_like(losses, dtype=torch.bool).index_fill(0, lowest, True)

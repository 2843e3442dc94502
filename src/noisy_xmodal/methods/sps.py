"""SPS: a stable space of surely right pairs, in which a noisy image borrows a neighbour's caption.

Source: Xie, Cai, Tong, Hu and Zhu, "Seeking Proxy Point via Stable Feature Space for Noisy
Correspondence Learning", IJCAI 2025. Two networks divide the pairs for each other into strictly
clean, clean and noisy ones.

| symbol   | here                  | meaning                                                       |
|----------|-----------------------|---------------------------------------------------------------|
| S, tau   | output.scores,        | similarities (b, b), temperature                              |
|          | constants.temperature |                                                               |
| P, Q     |                       | softmax of S / tau over the texts of an image, and over the   |
|          |                       | images of a text                                              |
| CE       | contrast              | -log P_ii - log Q_ii                                          |
| p        | pair_state[           | (P_ii + Q_ii) / 2                                             |
|          | "prediction"]         |                                                               |
| w        | clean_probability     | posterior of the peer's Gaussian mixture over CE: strict from |
|          |                       | `strict_threshold`, clean from 1 / 2 on, else noisy           |
| y        | pair_state["target"]  | 1 for strict pairs, w + (1 - w) p for clean ones              |
| C_I, C_T |                       | cosines among the images and among the texts of a batch       |
| L_c      | stability             | mean over strict j of (S_ij - S_ji)^2 and (C_I - C_T)^2_ij,   |
|          |                       | times `stability_weight`, for strict pairs                    |
| proxy    | proxies               | strict pair of the batch whose image is nearest to that of a  |
|          |                       | noisy pair                                                    |
| y of it  |                       | cosine of the two images times p of image and borrowed text;  |
|          |                       | below `least_target` it is 0                                  |
| L        | loss                  | y CE, and L_c                                                 |

Decisions:

* y of clean pairs is made once an epoch, over the same fixed chunks as the division. The published
  code makes it at each training step.
* The parts share a mini-batch. The borrowed texts are columns of its scores, so nothing is encoded
  twice; noisy pairs are contrasted with each other alone, as published. p and the nearest image
  are those of the training step, with dropout.
* A text that several noisy images borrow, or that belongs to one of them, is no negative of them.
* Clean and noisy pairs have a loss of their own after a share of the epochs that follow the
  warm-up: `clean_start` and `noisy_start` are the published 10 and 15 of 40.
* Images are compared by their vectors (`vectors.py`), for any head.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..noise import bootstrap
from ..training import Constant, PairBatch, PairTask
from .peers import ContrastivePeers
from .vectors import pair_vectors


class Sps(ContrastivePeers):
    """Two networks; with `args.robust = False` they believe every pair."""

    title = "SPS"
    citation = """@inproceedings{xie2025seeking,
  title     = {Seeking Proxy Point via Stable Feature Space for Noisy Correspondence Learning},
  author    = {Xie, Yucheng and Cai, Songyue and Tong, Tao and Hu, Ping and Zhu, Xiaofeng},
  booktitle = {Proceedings of the Thirty-Fourth International Joint Conference on Artificial
               Intelligence},
  pages     = {2072--2080},
  year      = {2025}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.07, 1e-3, 10),
        "strict_threshold": Constant(0.6, 0, 1),
        "stability_weight": Constant(25.0, 0, 1e4),
        "least_target": Constant(0.5, 0, 1),
        "clean_start": Constant(0.25, 0, 1),
        "noisy_start": Constant(0.375, 0, 1),
    }

    def targets(self) -> np.ndarray:
        """y of both peers, (2, n_pairs), each by the peer's division; 0 for noisy pairs."""
        probability = self.of_judges("clean_probability")
        targets = bootstrap(1.0, self.engine.pair_state["prediction"], probability)
        targets[probability >= self.constants.strict_threshold] = 1.0
        return targets * self.of_judges("is_clean")

    # The loss

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """y CE of clean pairs and of noisy ones with borrowed texts, and L_c, (n_pairs,)."""
        contrast = self.warm_up_loss(output, batch)
        if not self.args.robust:
            return contrast
        judge, progress = self.judge_of(batch.peer), self.progress()
        is_clean = self.look_up("is_clean", batch, judge) > 0
        probability = self.look_up("clean_probability", batch, judge)
        is_strict = is_clean & (probability >= self.constants.strict_threshold)
        takes_part = is_clean if progress >= self.constants.clean_start else is_strict
        losses = takes_part * self.look_up("target", batch) * contrast
        losses = losses + self.stability(output, is_strict)
        noisy = (~is_clean).nonzero().flatten()
        if progress < self.constants.noisy_start or len(noisy) < 2 or not is_strict.any():
            return losses
        return losses.index_add(0, noisy, self.proxy_losses(output, batch, noisy, is_strict))

    def stability(self, output: Any, is_strict: Tensor) -> Tensor:
        """L_c, (n_pairs,); 0 for pairs that are not strictly clean."""
        scores, (image, text) = output.scores, pair_vectors(output)
        across = (scores - scores.T) ** 2  # (n_pairs, n_pairs)
        within = (image @ image.T - text @ text.T) ** 2  # (n_pairs, n_pairs)
        strict = is_strict.to(scores)
        means = ((across + within) @ strict) / strict.sum().clamp(min=1)  # (n_pairs,)
        return self.constants.stability_weight * strict * means

    def proxy_losses(
        self, output: Any, batch: PairBatch, noisy: Tensor, is_strict: Tensor
    ) -> Tensor:
        """y CE of noisy images with the texts of their proxies, (n_noisy,).

        Args:
            output: Output of the network for the batch.
            batch: The batch.
            noisy: Places of the noisy pairs, (n_noisy,).
            is_strict: Which pairs are strictly clean, bool (n_pairs,), at least one.
        """
        image, _ = pair_vectors(output)
        nearness, proxy = proxies(image.detach(), noisy, is_strict)  # (n_noisy,) each
        scores = output.scores[noisy][:, proxy]  # (n_noisy, n_noisy)
        negatives = batch.negatives[noisy][:, proxy] & batch.negatives[proxy][:, proxy]
        negatives &= proxy[:, None] != proxy[None, :]
        log_match = self.log_match(scores, negatives).diagonal(dim1=1, dim2=2)  # (2, n_noisy)
        targets = nearness * log_match.detach().exp().mean(dim=0)
        targets = targets.masked_fill(targets < self.constants.least_target, 0)
        return -targets * log_match.sum(dim=0)


def proxies(image: Tensor, noisy: Tensor, is_strict: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of the nearest strictly clean image, and its place, (n_noisy,) each.

    Args:
        image: Unit vectors of the images, (n_pairs, size).
        noisy: Places of the noisy pairs, (n_noisy,).
        is_strict: Which pairs are strictly clean, bool (n_pairs,), at least one.
    """
    cosines = (image[noisy] @ image.T).masked_fill(~is_strict, -torch.inf)
    nearness, proxy = cosines.max(dim=1)
    return nearness, proxy

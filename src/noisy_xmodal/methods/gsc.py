"""GSC: a right pair has the same neighbours among the images as among the texts.

Source: Zhao, Chen, Dai, Yao, Han, Zhang and Wang, "Mitigating Noisy Correspondence by Geometrical
Structure Consistency Learning", CVPR 2024. Two beliefs are kept of each pair, one by its similarity
and one by how alike the rows of its image and of its text are in the similarities inside their
modalities. The smaller one is its target.

| symbol | here                  | meaning                                                        |
|--------|-----------------------|----------------------------------------------------------------|
| S, tau | output.scores,        | similarities (b, b), temperature                               |
|        | constants.temperature |                                                                |
| CE     | info_nce_loss         | (-log P_ii - log Q_ii) / 2, softmax of S / tau over the texts  |
|        |                       | of an image (P) and over the images of a text (Q)              |
| G_I,   | structures            | sigmoid of the cosines among the images and among the texts of |
| G_T    |                       | a batch, times y in each column, (b, b) each                   |
| L_g    | structure_losses      | -log of the softmax of G_I G_T' over j, at (i, i)              |
| gamma  | constants.structure_  | weight of L_g                                                  |
|        | weight                |                                                                |
| L      | loss                  | y (CE + gamma L_g)                                             |
| y_CM   | match_belief          | (P_ii + Q_ii) / 2, averaged over the epochs                    |
| y_IM   | structure_belief      | posterior of a mixture over cos(G_I[i], G_T[i]), averaged      |
| beta   | constants.novelty     | weight of an epoch in these averages; both begin with 1        |
| y      | pair_state["target"]  | min(y_CM, y_IM)                                                |

Decisions:

* Beliefs are those of a pass over fixed chunks as an epoch begins, without dropout. The published
  code collects them while it trains. Its first epoch has y = 1, which is `warmup_epochs` 1 here.
* Images are compared by the cosine of their vectors (`vectors.py`), for any head. The published
  code lets SGR's head compare images with images.
* The posterior never falls as the cosine rises, and the mixture runs until it has converged.
* One network. The published ensemble averages two.
* The other captions of an image, and equal captions, are no negatives.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..losses import info_nce_loss, log_match_probabilities
from ..noise import divide
from ..training import Constant, Method, PairBatch, PairTask
from ..training.method import Fields
from .vectors import pair_vectors


class Gsc(Method):
    """One network; with `args.robust = False` it believes every pair."""

    title = "GSC"
    citation = """@inproceedings{zhao2024mitigating,
  title     = {Mitigating Noisy Correspondence by Geometrical Structure Consistency Learning},
  author    = {Zhao, Zihua and Chen, Mengxi and Dai, Tianjie and Yao, Jiangchao and Han, Bo and
               Zhang, Ya and Wang, Yanfeng},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024}
}"""
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "temperature": Constant(0.07, 1e-3, 10),
        "structure_weight": Constant(0.01, 0, 100),
        "novelty": Constant(0.7, 0, 1),
    }
    recipe: ClassVar[Fields] = {"warmup_epochs": 1}

    # Beliefs

    def passes_at(self, epoch: int) -> bool:
        """As soon as beliefs are refined."""
        return self.args.robust and epoch >= self.args.warmup_epochs

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """How alike the rows of image and text are, and the similarity of the pair."""
        logits = output.scores / self.constants.temperature
        match = log_match_probabilities(logits, batch.negatives).exp()  # (2, n_pairs, n_pairs)
        alike = torch.cosine_similarity(*self.structures(output, self.beliefs(output, batch)))
        return {"structure": alike, "prediction": match.diagonal(dim1=1, dim2=2).mean(dim=0)}

    def targets(self) -> np.ndarray:
        """The smaller belief in each pair, (1, n_pairs)."""
        state = self.engine.pair_state
        posterior = divide(1 - state["structure"][0], seed=self.args.seed).clean_probability
        latest = {"structure_belief": posterior[None], "match_belief": state["prediction"]}
        novelty = self.constants.novelty
        for name, values in latest.items():
            last = state[name] if name in state else np.ones(state.shape)
            state[name] = novelty * values + (1 - novelty) * last
        return np.minimum(*(state[name] for name in latest))

    def beliefs(self, output: Any, batch: PairBatch) -> Tensor:
        """y, (n_pairs,)."""
        ones = torch.ones_like(output.scores.diagonal())
        if not self.args.robust or "target" not in self.engine.pair_state:
            return ones
        return self.look_up("target", batch, 0).to(ones)

    # The loss

    def structures(self, output: Any, beliefs: Tensor) -> tuple[Tensor, Tensor]:
        """G_I and G_T, (n_pairs, n_pairs) each."""
        sides = (vectors.to(beliefs) for vectors in pair_vectors(output))
        image, text = (torch.sigmoid(side @ side.T) * beliefs for side in sides)
        return image, text

    def structure_losses(self, output: Any, batch: PairBatch, beliefs: Tensor) -> Tensor:
        """L_g, (n_pairs,)."""
        image, text = self.structures(output, beliefs)
        return -log_match_probabilities(image @ text.T, batch.negatives)[0].diagonal()

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """y (CE + gamma L_g), (n_pairs,)."""
        beliefs = self.beliefs(output, batch)
        losses = info_nce_loss(output.scores / self.constants.temperature, batch.negatives)
        weight = self.constants.structure_weight
        return beliefs * (losses + weight * self.structure_losses(output, batch, beliefs))

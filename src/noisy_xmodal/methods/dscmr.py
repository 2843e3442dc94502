"""DSCMR: deep supervised cross-modal retrieval (Zhen et al., CVPR 2019).

| symbol   | here                                                                    |
|----------|-------------------------------------------------------------------------|
| u, v     | image_outputs, text_outputs: both towers end in the same layer          |
| P        | the linear classifier of both modalities                                |
| J_1      | distance of the predictions from the one-hot labels                     |
| J_2      | likelihood of "same class", Theta = cos / 2, within and between         |
| J_3      | distance of an image from its text                                      |
| lambda   | discrimination_weight (J_2)                                             |
| eta      | invariance_weight (J_3)                                                 |

The paper's norms are of whole matrices; as in the published code they are taken row by row and
averaged. With labels of its own for each modality, a pair of samples is of the same class by the
label that each of them is given. The published code trains for 500 epochs in the order of the file;
here it has the epochs and the shuffled batches of every other method.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from ..options import Rule
from ..training import Constant, LabelBatch
from ..training.method import Fields
from .class_loss import ONE_PHASE, LabelMethod
from .sdml import distance


class Dscmr(LabelMethod):
    """Linear classes, pairwise likelihood and modality invariance."""

    title = "DSCMR"
    citation = "Zhen, Hu, Wang, Peng. Deep Supervised Cross-Modal Retrieval. CVPR 2019."
    shape: ClassVar[Fields] = {
        "hidden_sizes": [2048],
        "embedding_size": 1024,
        "share_last_layer": True,
        "normalize": False,
        "classifier": "linear",
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = ONE_PHASE
    options: ClassVar[Mapping[str, Constant]] = {
        "discrimination_weight": Constant(1e-3, 0, 1e4),
        "invariance_weight": Constant(1e-1, 0, 1e4),
    }

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """J_1 + lambda J_2 + eta J_3, (n_pairs,)."""
        image_labels, text_labels = batch.image_label, batch.text_label
        label_loss = output.image_outputs.new_zeros(len(batch.pair_id))
        for modality, labels in (("image", image_labels), ("text", text_labels)):
            logits = output[f"{modality}_class_logits"]
            label_loss = label_loss + distance(logits, F.one_hot(labels, logits.shape[1]))
        images, texts = output.image_embeds, output.text_embeds
        discrimination = (
            likelihood(images, images, image_labels, image_labels)
            + likelihood(images, texts, image_labels, text_labels)
            + likelihood(texts, texts, text_labels, text_labels)
        )
        return (
            label_loss
            + self.constants.discrimination_weight * discrimination
            + self.constants.invariance_weight * distance(output.image_outputs, output.text_outputs)
        )


def likelihood(a: Tensor, b: Tensor, a_labels: Tensor, b_labels: Tensor) -> Tensor:
    """Negative log-likelihood of which samples share a class, averaged over b, (n_a,)."""
    theta = a @ b.T / 2  # (n_a, n_b), of unit vectors
    same = (a_labels[:, None] == b_labels[None, :]).to(theta.dtype)  # (n_a, n_b)
    return (F.softplus(theta) - same * theta).mean(dim=1)

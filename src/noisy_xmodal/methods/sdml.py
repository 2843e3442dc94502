"""SDML: scalable deep multimodal learning (Hu et al., SIGIR 2019).

| symbol | here                                                          |
|--------|---------------------------------------------------------------|
| z      | image_outputs, text_outputs, on the unit sphere               |
| P      | fixed orthonormal directions of the classes; logits are z P   |
| alpha  | alpha, weight of the reconstruction                           |

Each modality learns for itself, so one optimizer for both is the same as two. The published code
gives the second modality twice the learning rate, trains for 200 epochs and keeps the features at
the lowest label loss on validation; here both train alike, as long as every other method, and are
chosen as every other method is. What is rebuilt is the scaled input on the unit sphere, where the
decoder's output lies too.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from ..options import Rule
from ..training import Constant, LabelBatch
from ..training.method import Fields
from .class_loss import ONE_PHASE, LabelMethod


class Sdml(LabelMethod):
    """Every embedding goes to its class's fixed direction and must still tell its input."""

    title = "SDML"
    citation = (
        "Hu, Zhen, Peng, Liu. Scalable Deep Multimodal Learning for Cross-Modal Retrieval. "
        "SIGIR 2019."
    )
    shape: ClassVar[Fields] = {
        "hidden_sizes": [1024, 1024],
        "classifier": "fixed",
        "reconstructs": True,
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = ONE_PHASE
    options: ClassVar[Mapping[str, Constant]] = {"alpha": Constant(0.5, 0, 1)}

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """Reconstruction and label loss of both modalities, (n_pairs,)."""
        model, alpha = self.engine.networks()[0], self.constants.alpha
        total = output.image_outputs.new_zeros(len(batch.pair_id))
        for modality, labels in (("image", batch.image_label), ("text", batch.text_label)):
            scaling = model.get_submodule(f"{modality}_scaling")
            inputs = F.normalize(scaling(output[f"{modality}_features"]), dim=-1)
            rebuilt = F.normalize(output[f"{modality}_reconstruction"], dim=-1)
            logits = output[f"{modality}_class_logits"]
            wanted = F.one_hot(labels, logits.shape[1])
            label_loss = distance(logits, wanted)
            total = total + alpha * distance(rebuilt, inputs) + (1 - alpha) * label_loss
        return total


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of the rows, (n,), with a gradient where they meet."""
    return ((a - b).square().sum(dim=-1) + 1e-12).sqrt()

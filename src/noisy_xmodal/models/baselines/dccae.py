"""DCCAE: deep canonically correlated autoencoders (Wang et al., ICML 2015).

DCCA whose towers must also let their inputs be rebuilt: correlation loss + lambda * error. lambda
is `reconstruction_weight`; the squared error is averaged over the numbers of a vector, so that its
size does not depend on theirs.
"""

from typing import Any, ClassVar

from torch import Tensor

from ...training import LabelBatch
from ...training.label_trainer import Fields, LabelTargets, Ranges
from .dcca import DccaTrainer


class DccaeTrainer(DccaTrainer):
    """Correlation and reconstruction."""

    title = "DCCAE"
    citation = (
        "Wang, Arora, Livescu, Bilmes. On Deep Multi-View Representation Learning. ICML 2015."
    )
    shape: ClassVar[Fields] = {**DccaTrainer.shape, "reconstructs": True}
    options: ClassVar[Fields] = {**DccaTrainer.options, "reconstruction_weight": 0.5}
    ranges: ClassVar[Ranges] = {**DccaTrainer.ranges, "reconstruction_weight": (0, 1e4)}

    def per_sample_loss(self, output: Any, batch: LabelBatch, targets: LabelTargets) -> Tensor:
        """The batch's correlation loss plus the pair's own reconstruction error, (n_pairs,)."""
        loss = super().per_sample_loss(output, batch, targets)
        model = self.networks()[0]
        for modality in ("image", "text"):
            inputs = model.get_submodule(f"{modality}_scaling")(output[f"{modality}_features"])
            error = (output[f"{modality}_reconstruction"] - inputs).square().mean(dim=1)
            loss = loss + self.constants["reconstruction_weight"] * error
        return loss

"""DCCAE: deep canonically correlated autoencoders (Wang et al., ICML 2015).

DCCA whose towers must also let their inputs be rebuilt: correlation loss + lambda * error. lambda
is `reconstruction_weight`; the squared error is averaged over the numbers of a vector, so that its
size does not depend on theirs.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..training import Constant, LabelBatch
from ..training.method import Fields
from .dcca import Dcca


class Dccae(Dcca):
    """Correlation and reconstruction."""

    title = "DCCAE"
    citation = (
        "Wang, Arora, Livescu, Bilmes. On Deep Multi-View Representation Learning. ICML 2015."
    )
    shape: ClassVar[Fields] = {**Dcca.shape, "reconstructs": True}
    options: ClassVar[Mapping[str, Constant]] = {
        **Dcca.options,
        "reconstruction_weight": Constant(0.5, 0, 1e4),
    }

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """The batch's correlation loss plus the pair's own reconstruction error, (n_pairs,)."""
        loss = super().loss(output, batch)
        model = self.engine.networks()[0]
        for modality in ("image", "text"):
            inputs = model.get_submodule(f"{modality}_scaling")(output[f"{modality}_features"])
            error = (output[f"{modality}_reconstruction"] - inputs).square().mean(dim=1)
            loss = loss + self.constants.reconstruction_weight * error
        return loss

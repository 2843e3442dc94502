"""VSRN: hardest negatives, and captions that the network writes from the regions of an image.

Li et al., "Visual Semantic Reasoning for Image-Text Matching", ICCV 2019, Eq. 8-11: L = L_M + L_G,
the triplet loss of the pair and the negative log-likelihood of its caption. The network is in
`modules/similarity/vsrn.py`, what writes the caption in `modules/captioner.py`.

The published code sums the triplet loss over a batch of 128 pairs and averages that of the captions
over it. `caption_weight` is therefore 1/128, so that both parts have its proportion.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..training import Constant, PairBatch
from ..training.method import Fields
from .plain import Plain


class Vsrn(Plain):
    """Every pair is taken for right, by the triplet loss and by the loss of its caption.

    The recipe `small` warms up on all negatives.
    """

    title = "VSRN"
    citation = (
        "Li, Zhang, Li, Li, Fu. Visual Semantic Reasoning for Image-Text Matching. ICCV 2019."
    )
    shape: ClassVar[Fields] = {"similarity": "vsrn", "captioner_size": 256}
    recipe: ClassVar[Fields] = {}
    options: ClassVar[Mapping[str, Constant]] = {
        **Plain.options,
        "caption_weight": Constant(1 / 128, 0, 1e6),
    }

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Refuse a model that cannot write captions."""
        super().attach(engine, model, args, processor)
        if not model.config.captioner_size:
            raise ValueError(
                f"{self.title} trains a captioner, and the model has none: set `captioner_size` in "
                "its config, or train it with the method vse++."
            )

    def model_options(self) -> dict[str, Any]:
        """The captioner's loss is computed in the forward pass."""
        return super().model_options() | {"captions": True}

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """L_M over all negatives, and L_G, (n_pairs,)."""
        return super().warm_up_loss(output, batch) + self._caption_loss(output)

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """L_M + L_G, Eq. 11, (n_pairs,)."""
        return super().loss(output, batch) + self._caption_loss(output)

    def _caption_loss(self, output: Any) -> Tensor:
        self.engine.track("caption_loss", output.caption_loss)
        return self.constants.caption_weight * output.caption_loss

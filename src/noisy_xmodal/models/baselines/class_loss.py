"""A class loss alone: cross-entropy, or any loss or sum of losses by name.

Robust losses by name: GCE (Zhang & Sabuncu, NeurIPS 2018), SCE (Wang et al., ICCV 2019), NCE and
NGCE (Ma et al., ICML 2020), and active-passive sums of them such as "nce+rce".
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ...losses import classification_loss
from ...options import Rule, never_read
from ...training import LabelBatch, LabelTrainer
from ...training.label_trainer import Fields, LabelTargets

#: For methods that train alike from the first step to the last.
ONE_PHASE: Mapping[str, Rule] = {
    "robust": never_read("the method divides nothing, so nothing can be left out. Leave it out."),
    "warmup_epochs": never_read("the method has no warm-up. Leave it out.", same=(-1,)),
}


class ClassLossTrainer(LabelTrainer):
    """Trains towers and prototypes with `classification_loss(class_loss)` of both modalities."""

    title = "CE"
    citation = "The classification losses: see `noisy_xmodal.losses`."
    argument_rules: ClassVar[Mapping[str, Rule]] = ONE_PHASE
    options: ClassVar[Fields] = {"class_loss": "ce", "class_loss_options": {}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.class_loss = classification_loss(
            self.constants["class_loss"], **(self.constants["class_loss_options"] or {})
        )

    def per_sample_loss(self, output: Any, batch: LabelBatch, targets: LabelTargets) -> Tensor:
        """The loss of the image plus that of the text, (n_pairs,)."""
        image_loss = self.class_loss(output.image_class_logits, targets[0])
        return image_loss + self.class_loss(output.text_class_logits, targets[1])

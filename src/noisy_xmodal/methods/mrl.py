"""MRL: multimodal robust learning (Hu et al., CVPR 2021), and the same with DMCM's warm-up.

| symbol | here                                                                       |
|--------|----------------------------------------------------------------------------|
| L_r    | robust clustering loss, log(1 - p_y), summed over the modalities (Eq. 7)   |
| L_c    | multimodal contrastive loss, without self-similarity (Eq. 10)              |
| beta   | beta; L = beta L_r + (1 - beta) L_c; .7 in the authors' recipe             |
| tau    | config.temperature and contrastive_temperature, both 1                     |
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..losses import multimodal_contrastive_loss
from ..options import Rule
from ..training import Constant, LabelBatch
from ..training.method import Fields
from .class_loss import ONE_PHASE, ClassLoss


class Mrl(ClassLoss):
    """Robust clustering by class, and contrast between pairs, from the first step on."""

    title = "MRL"
    citation = (
        "Hu, Peng, Zhu, Zhen, Lin. Learning Cross-Modal Retrieval with Noisy Labels. CVPR 2021."
    )
    options: ClassVar[Mapping[str, Constant]] = {
        "class_loss": Constant("robust_clustering"),
        "class_loss_options": Constant({}),
        "beta": Constant(0.7, 0, 1),
        "contrastive_temperature": Constant(
            1.0,
            1e-4,
            1e4,
            Rule(
                lambda options: options.beta < 1,
                "with `beta` 1 nothing is contrasted. Leave it out.",
            ),
        ),
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = {"robust": ONE_PHASE["robust"]}

    def warm_up_loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """L_r alone, (n_pairs,)."""
        return super().loss(output, batch)

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """beta L_r + (1 - beta) L_c, (n_pairs,)."""
        contrastive = multimodal_contrastive_loss(
            output.image_outputs, output.text_outputs, self.constants.contrastive_temperature
        )
        beta = self.constants.beta
        return beta * super().loss(output, batch) + (1 - beta) * contrastive


class MrlWarmup(Mrl):
    """MRL with DMCM's schedule: the class loss alone in the first epochs.

    Neither paper has it. It tells what of DMCM's gain over MRL comes from the schedule: nothing
    else differs from MRL, not even the class loss of the warm-up.
    """

    title = "MRL + warm-up"
    recipe: ClassVar[Fields] = {"warmup_epochs": 2}

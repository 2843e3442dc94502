"""Methods and a similarity head that are not part of the library, each as a user would add it.

As a script, `python new_methods.py train_ncr --method gce ...` trains one of them, and kills itself
as the step KILL_AT_STEP begins.
"""

import os
import signal
import sys
from itertools import count
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from example_scripts import script
from noisy_xmodal.losses import log_match_probabilities
from noisy_xmodal.methods import CAPTION_METHODS, LABEL_METHODS
from noisy_xmodal.methods.class_loss import LabelMethod
from noisy_xmodal.modules import Encoded
from noisy_xmodal.modules.similarity import SIMILARITY_HEADS
from noisy_xmodal.modules.similarity.base import SimilarityHead
from noisy_xmodal.training import (
    Constant,
    LabelBatch,
    Method,
    PairBatch,
    PairTask,
    RobustTrainer,
)


class Gce(Method):
    """Generalised cross-entropy: a pair that looks wrong has less influence."""

    title = "GCE"
    citation = "Zhang, Sabuncu. Generalized Cross Entropy Loss. NeurIPS 2018."
    task = PairTask
    options: ClassVar[dict[str, Constant]] = {"q": Constant(0.7, 1e-3, 1)}

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        log_match = log_match_probabilities(output.logits_per_image, batch.negatives)
        match = log_match.diagonal(dim1=1, dim2=2).exp()  # (2, n_pairs)
        return ((1 - match**self.constants.q) / self.constants.q).sum(dim=0)


class Believing(Gce):
    """Cross-entropy of pairs that count as much as a mixture of their losses believes them."""

    title = "Believing"
    citation = "@misc{believing, title = {Believing}}"
    is_dividing = True

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        labels = torch.arange(len(output.logits_per_image))
        return F.cross_entropy(output.logits_per_image, labels, reduction="none")

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        return {"loss": self.warm_up_loss(output, batch)}

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        return self.look_up("clean_probability", batch) * self.warm_up_loss(output, batch)


class Hinge(LabelMethod):
    """The class of each side must lead by a margin."""

    title = "Hinge"
    citation = "Crammer, Singer. Multiclass Kernel-based Vector Machines. JMLR 2001."
    options: ClassVar[dict[str, Constant]] = {"margin": Constant(0.5, 0, 10)}

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        margin = self.constants.margin
        sides = (
            (output.image_class_logits, batch.image_label),
            (output.text_class_logits, batch.text_label),
        )
        parts = [F.multi_margin_loss(*side, margin=margin, reduction="none") for side in sides]
        return torch.stack(parts).sum(dim=0)


class BestRegion(SimilarityHead):
    """The mean over words of the best region's similarity."""

    def forward(self, image: Encoded, text: Encoded) -> Tensor:
        regions, words = self.real_tokens(image), self.real_tokens(text)
        every = torch.einsum("ird,twd->itrw", regions, words)
        every = every.masked_fill(~image.mask[:, None, :, None], -2)
        best = every.amax(dim=2) * text.mask[None]  # (n_images, n_texts, n_words)
        return best.sum(dim=2) / text.mask.sum(dim=1)


#: What a user writes into the tables, one line each.
LINES = (
    (CAPTION_METHODS, "gce", Gce),
    (CAPTION_METHODS, "believing", Believing),
    (LABEL_METHODS, "hinge", Hinge),
    (SIMILARITY_HEADS, "best_region", BestRegion),
)

if __name__ == "__main__":
    for table, name, kind in LINES:
        table[name] = kind
    steps, training_step = count(1), RobustTrainer.training_step

    def killed_step(*args: Any) -> Any:
        if next(steps) == int(os.environ["KILL_AT_STEP"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return training_step(*args)

    RobustTrainer.training_step = killed_step
    script(sys.argv[1]).main(sys.argv[2:])

"""LCN, as re-implemented by the authors of DMCM.

Okamura, Harakawa, Iwahashi. LCN: Label Correction based on Network Prediction for Cross-modal
Retrieval with Noisy Labels. APSIPA ASC 2022. The paper was not at hand and has no public code; what
is here is what DMCM compares with: MRL's losses, and in epoch e of E a share (e + 1) / E of a
batch's labels, drawn anew from both modalities together, is replaced by the network's own
prediction.
"""

from typing import Any

import torch
from torch import Tensor

from ..training import LabelBatch
from .mrl import Mrl


class Lcn(Mrl):
    """MRL on labels that are replaced, more and more of them, by predictions."""

    title = "LCN (as re-implemented by DMCM's authors)"
    citation = (
        "Okamura, Harakawa, Iwahashi. LCN: Label Correction Based on Network Prediction for "
        "Cross-Modal Retrieval with Noisy Labels. APSIPA ASC 2022."
    )

    def labels(self, output: Any, batch: LabelBatch) -> tuple[Tensor, Tensor]:
        """The classes of the data, some of them replaced by the class of the largest logit."""
        labels = torch.cat([batch.image_label, batch.text_label])  # (2 n_pairs,)
        logits = torch.cat([output.image_class_logits, output.text_class_logits])
        share = (self.engine.epoch + 1) / self.engine.n_epochs
        n_replaced = int(min(1.0, share) * len(labels) + 1e-9)
        order = torch.randperm(len(labels), generator=self.engine.draws(batch.pair_id))
        replaced = order[:n_replaced].to(labels.device)
        corrected = labels.clone()
        corrected[replaced] = logits.detach().argmax(dim=1)[replaced]
        image_label, text_label = corrected.chunk(2)
        return image_label, text_label

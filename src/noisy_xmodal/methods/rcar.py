"""RCAR: matching beside masked words, and labels that a beta mixture refurbishes.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 2023. Read
in this order:

| equations | what                                      | where                         |
|-----------|-------------------------------------------|-------------------------------|
|           | [CLS], image tokens, text tokens          | `models.rcar.modeling_rcar`   |
|           | constructed negatives                     | `draw_negatives`              |
| 2         | image-text matching                       | `matching_losses`             |
| 3         | masked language modelling                 | `masked_words`, `word_losses` |
|           | both tasks, then matching alone           | `begin_epoch`                 |
|           | losses of the given pairs in eval mode    | `loss_pass`                   |
| 4-9       | beta mixture over normalised losses       | `divide`, `noise.BetaMixture` |
| 10        | posterior of the component of larger mean | `noise.clean_posterior`       |
| 11        | refurbished labels                        | `targets`                     |
| 12        | matching with them                        | `loss`                        |

| symbol | here                                         |
|--------|----------------------------------------------|
| p      | softmax(output.pair_logits)[:, 1]            |
| l_i    | pair_state["loss"], Eq. 2 of the given pairs |
| w_i    | 1 - pair_state["clean_probability"]          |
| z_i    | pair_state["prediction"] >= 1 / 2            |
| y-hat  | pair_state["target"]                         |
| m      | args.warmup_epochs                           |

Decisions, where the paper is silent:

* m counts epochs from the start, so with m = 7 and ten epochs of masked words the refurbisher
  begins while words are still masked, inside the window of the paper's Fig. 4.
* Masked words are read beside the images of their pairs, in a pass of their own, and never in
  a constructed negative; matching reads whole captions. Both losses count alike (`mask_weight`).
* Every mini-batch has as many negatives as given pairs. With more (`negatives_per_positive`)
  both sides still weigh alike in Eq. 2 and 12, so that p = 1 / 2 remains the line that z needs.
* z and w come from the pass in eval mode that the mixture is fitted to, so that the labels of an
  epoch are logged and saved. `prediction="batch"` takes z from the training step; what is
  logged are the labels of the pass all the same.
* Losses are normalised by their 5th and 95th percentile, as the paper draws 90 % of them: one large
  loss must not squeeze all others together. `loss_range=(0, 100)` is min-max.
* The posterior never falls as the loss rises. The mixture runs until it has converged.
* Labels of constructed negatives are never touched, as printed.
* With y = 1, Eq. 11 relabels a pair exactly if the model takes it for not aligned and w > 1 / 2.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn import functional
from transformers import TrainerCallback
from transformers.utils import logging

from ..data.digests import Digests
from ..models.rcar.configuration_rcar import RcarConfig
from ..models.rcar.processing_rcar import RcarProcessor
from ..modules.constructed_negatives import draw_negatives
from ..modules.gathering import gather_batch, n_processes, own_in_batch
from ..modules.masked_words import mask_words
from ..noise import BetaMixture, Division, divide, refurbish_alignment
from ..training import (
    LossCourseCallback,
    Method,
    PairBatch,
    PairTask,
    RcarTrainingArguments,
)
from .similar_pairs import SimilarPairs

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class RcarBatch(PairBatch):
    """The pairs of a mini-batch, constructed negatives and masked words.

    Attributes:
        anchor: The given pair that each constructed negative was made for, (n_negatives,).
        is_masked: Where words are masked, bool (n_pairs, length), or None.
        n_masked: How many they are, on average over the processes that share a batch; None for a
            batch that is not shared. See `_own_share`.
        share: Weight of the losses of pairs, so that the average over the processes is that of the
            whole batch.
    """

    anchor: Tensor
    is_masked: Tensor | None
    n_masked: float | None = None
    share: float = 1.0


class Rcar(Method):
    """RCAR; with `args.robust = False`, without refurbished labels.

    Args:
        similar: Similarities of the training pairs by a two-tower model. Half of the constructed
            negatives are then hard ones; without it all are random, as in the paper.
    """

    title = "RCAR"
    citation = """@article{guo2023robust,
  title   = {Robust cross-modal retrieval with alignment refurbishment},
  author  = {Guo, Jinyi and Ding, Jieyu},
  journal = {Frontiers of Information Technology \\& Electronic Engineering},
  volume  = {24},
  number  = {10},
  pages   = {1403--1415},
  year    = {2023},
  doi     = {10.1631/FITEE.2200514}
}"""
    task = PairTask
    arguments_class = RcarTrainingArguments
    config_class = RcarConfig
    constants_in_config = True
    row_kind = "model"
    row_names = ("rcar",)
    is_dividing = True

    def __init__(self, similar: SimilarPairs | None = None) -> None:
        self.similar = similar

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Check that the tokenizer suits the model and masks words where the phases ask for it."""
        if not isinstance(processor, RcarProcessor):
            raise ValueError(f"RCAR needs an RcarProcessor, found a {type(processor).__name__}.")
        super().attach(engine, model, args, processor)
        self.tokenizer = processor.tokenizer
        self.learns_words = args.mlm_epochs > 0
        n_words = model.word_embeddings.num_embeddings
        if len(self.tokenizer) > n_words:
            raise ValueError(
                f"the tokenizer knows {len(self.tokenizer)} words and the model {n_words}: use the "
                "tokenizer that the text encoder was made for, or give `text_config` a "
                f"`vocab_size` of {len(self.tokenizer)}."
            )
        if self.learns_words and self.tokenizer.mask_token_id is None:
            raise ValueError(
                "the tokenizer has no mask token, which masked language modelling needs: make it "
                "by train_word_tokenizer(captions, mask=True), or set `mlm_epochs` to 0."
            )

    def run_title(self) -> str:
        """RCAR, or the parts of it that train: ITM, MLM, refurbisher."""
        parts = ["MLM"] if self.args.mlm_epochs else []
        parts += ["refurbisher"] if self.args.robust else []
        return self.title if len(parts) == 2 else " + ".join(["ITM", *parts])

    def callbacks(self) -> list[TrainerCallback]:
        """The course of the losses, Fig. 4."""
        return [LossCourseCallback(self.engine)] if self.args.track_losses else []

    def identity(self) -> dict[str, Digests]:
        """The similarities."""
        return {} if self.similar is None else {"pair: similarities": self.similar.digests()}

    def begin_epoch(self, epoch: int, resumed: bool) -> None:
        """Mask words in the first `mlm_epochs` epochs, and no longer."""
        self.learns_words = epoch < self.args.mlm_epochs

    # Eq. 2 and 3

    def prepare(self, batch: PairBatch, is_training: bool) -> tuple[PairBatch, dict[str, Any]]:
        """Given pairs first, then negatives, and masked words in their phase."""
        own = torch.arange(len(batch.pair_id), device=batch.pair_id.device)
        given = torch.stack([own, own], dim=1)  # (n_pairs, 2)
        if not is_training:
            return batch, {"pairs": given}
        draws = self.engine.draws(batch.pair_id)
        negatives, anchor = draw_negatives(
            batch.negatives,
            self.constants.negatives_per_positive,
            self.constants.negative_side,
            draws,
            None if self.similar is None else self.similar.logits(batch.pair_id),
        )
        masked = self.masked_words(batch, draws) if self.learns_words else {}
        prepared = RcarBatch(**vars(batch), anchor=anchor, is_masked=masked.get("is_masked"))
        if self.args.gather_negatives:
            is_sum = self.args.sum_losses
            prepared, given, negatives, masked = _own_share(
                prepared, given, negatives, masked, is_sum
            )
        return prepared, {**masked, "pairs": torch.cat([given, negatives])}

    def masked_words(self, batch: PairBatch, draws: torch.Generator | None) -> dict[str, Tensor]:
        """Texts with masked words, and where they are masked, of the whole batch."""
        ids = batch.inputs["input_ids"]
        masked_ids, is_masked = mask_words(
            gather_batch(ids) if self.args.gather_negatives else ids,
            self.tokenizer.all_special_ids,
            self.tokenizer.mask_token_id,
            len(self.tokenizer),
            self.constants.mask_probability,
            self.constants.masking,
            draws,
        )
        return {"masked_input_ids": masked_ids, "is_masked": is_masked}

    def matching_losses(self, output: Any, batch: RcarBatch, targets: Tensor) -> Tensor:
        """Eq. 2 and 12: each given pair, averaged with the mean of its negatives, (n_pairs,)."""
        log_p = output.pair_logits.log_softmax(dim=-1)  # (n_pairs + n_negatives, 2)
        given, negative = log_p.split([len(targets), len(batch.anchor)])
        losses = -(targets * given[:, 1] + (1 - targets) * given[:, 0])  # (n_pairs,)
        weight = 1 / self.constants.negatives_per_positive
        return losses.index_add(0, batch.anchor, -negative[:, 0], alpha=weight) / 2

    def word_losses(self, output: Any, batch: RcarBatch, is_masked: Tensor) -> Tensor:
        """Eq. 3: each pair's share of the mean over the batch's masked words, (n_pairs,)."""
        words = batch.inputs["input_ids"][is_masked]  # (n_masked,)
        losses = functional.cross_entropy(output.word_logits, words, reduction="none")
        text = is_masked.nonzero()[:, 0]  # (n_masked,)
        sums = losses.new_zeros(len(batch.pair_id)).index_add(0, text, losses)
        return sums * len(sums) / max(1, batch.n_masked or len(words))

    def both_losses(self, output: Any, batch: RcarBatch, targets: Tensor) -> Tensor:
        """Eq. 12, and Eq. 3 in its phase, (n_pairs,)."""
        losses = self.matching_losses(output, batch, targets) * batch.share
        self.engine.track("matching_loss", losses)
        if batch.is_masked is None:
            return losses
        words = self.word_losses(output, batch, batch.is_masked)
        self.engine.track("word_loss", words)
        return losses + self.constants.mask_weight * words

    def warm_up_loss(self, output: Any, batch: RcarBatch) -> Tensor:
        """Eq. 2, and Eq. 3 in its phase, (n_pairs,)."""
        ones = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        return self.both_losses(output, batch, ones)

    # Eq. 4-10

    def passes_at(self, epoch: int) -> bool:
        """Every epoch, for the course of the losses; else as soon as labels are refurbished."""
        return self.args.track_losses or self.divides_at(epoch)

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        """Loss (Eq. 2) and p of the given pairs, (n_pairs,) each."""
        logits = output.pair_logits.cpu().double()  # (n_pairs, 2); not every device has float64
        log_p = logits.log_softmax(dim=-1)[:, 1]  # (n_pairs,)
        return {"loss": -log_p, "prediction": log_p.exp()}

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division of the losses (1, n_pairs) by the mixture of the config."""
        low, high = np.percentile(losses, self.constants.loss_range)
        mixture = (
            BetaMixture()
            if self.constants.mixture == "beta"
            else GaussianMixture(2, reg_covar=5e-4, random_state=self.args.seed)
        )
        return [divide(row, mixture=mixture, bounds=(low, high)) for row in losses]

    # Eq. 11 and 12

    def targets(self) -> np.ndarray:
        """Eq. 11 for all given pairs, (1, n_pairs)."""
        state = self.engine.pair_state
        labels = refurbish_alignment(
            1.0, state["prediction"], 1 - state["clean_probability"], hard=self.is_hard
        )
        share = float((labels < 0.5).mean())
        if share > 0.6:
            logger.warning(
                f"{share:.0%} of the pairs are relabelled as not aligned: the model may not have "
                "learnt enough yet to tell. Raise `warmup_epochs`, or the learning rate."
            )
        return labels

    @property
    def is_hard(self) -> bool:
        """Whether labels are 0 or 1."""
        return self.constants.refurbishment == "hard"

    def loss(self, output: Any, batch: RcarBatch) -> Tensor:
        """Eq. 12 with labels that are refurbished where `args.robust`, and Eq. 3, (n_pairs,)."""
        if not self.args.robust:
            return self.warm_up_loss(output, batch)
        if self.constants.prediction == "epoch":
            labels = self.look_up("target", batch)
        else:
            logits = output.pair_logits[: len(batch.pair_id)].detach()
            wrong = 1 - self.look_up("clean_probability", batch)
            labels = refurbish_alignment(1.0, logits.softmax(dim=-1)[:, 1], wrong, self.is_hard)
        return self.both_losses(output, batch, labels)


def _own_share(
    batch: RcarBatch, given: Tensor, negatives: Tensor, masked: dict[str, Tensor], is_sum: bool
) -> tuple[RcarBatch, Tensor, Tensor, dict[str, Tensor]]:
    """Of a batch that processes share: the own pairs, the negatives and words that are theirs.

    Positions in `given` and `negatives` stay those of the whole batch. Gradients are averaged over
    the processes: the weights make the average of their losses that of the whole batch, or its sum.
    """
    own = own_in_batch(len(given), given.device)  # (n_whole,)
    is_own = own[batch.anchor]  # (n_negatives,)
    length = batch.inputs["input_ids"].shape[1]
    own_masked = {name: values[own, :length] for name, values in masked.items()}
    part, n = int(own.sum()) / len(given), n_processes()
    share = replace(
        batch,
        pair_id=batch.pair_id[own],
        anchor=(own.cumsum(dim=0) - 1)[batch.anchor[is_own]],
        is_masked=own_masked.get("is_masked"),
        n_masked=float(masked["is_masked"].sum()) / n * (part if is_sum else 1) if masked else None,
        share=n * (1 if is_sum else part),
    )
    return share, given[own], negatives[is_own], own_masked

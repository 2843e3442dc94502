"""RCAR's training: matching beside masked words, and labels that a beta mixture refurbishes.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 2023. Read
in this order:

| equations | what                                       | where                              |
|-----------|--------------------------------------------|------------------------------------|
|           | [CLS], image tokens, text tokens           | `modeling_rcar`                    |
|           | constructed negatives                      | `negatives_rcar`                   |
| 2         | image-text matching                        | `matching_losses`, here            |
| 3         | masked language modelling                  | `masking_rcar`, `word_losses` here |
|           | both tasks, then matching alone            | `PhaseCallback`, here              |
|           | losses of the given pairs in eval mode     | `assess_batch`, here               |
| 4-9       | beta mixture over normalised losses        | `noise.BetaMixture`                |
| 10        | posterior of the component of larger mean  | `noise.clean_posterior`            |
| 11        | refurbished labels                         | `noise.refurbish_alignment`        |
| 12        | matching with them                         | `per_sample_loss`, here            |

| symbol | here                                            |
|--------|-------------------------------------------------|
| p      | softmax(output.pair_logits)[:, 1]               |
| l_i    | pair_state["loss"], Eq. 2 of the given pairs    |
| w_i    | 1 - pair_state["clean_probability"]             |
| z_i    | pair_state["prediction"] >= 1 / 2               |
| y-hat  | pair_state["target"]                            |
| m      | args.warmup_epochs                              |

Decisions, where the paper is silent:

* m counts epochs from the start, so with m = 7 and ten epochs of masked words the refurbisher
  begins while words are still masked, inside the window of the paper's Fig. 4.
* Masked words are read beside the images that they were given, in a pass of their own, and never in
  a constructed negative; matching reads whole captions. Both losses count alike (`mask_weight`).
* Every mini-batch has as many negatives as given pairs. With more (`negatives_per_positive`)
  both sides still weigh alike in Eq. 2 and 12, so that p = 1 / 2 remains the line that z needs.
* z and w come from the pass in eval mode that the mixture is fitted to, so that the labels of an
  epoch are known, logged and saved. `prediction="batch"` takes z from the training step; what is
  logged are the labels of the pass all the same.
* Losses are normalised by their 5th and 95th percentile, as the paper draws 90 % of them: one large
  loss must not squeeze all others together. `loss_range=(0, 100)` is min-max.
* The posterior never falls as the loss rises. The mixture runs until it has converged.
* Labels of constructed negatives are never touched, as printed.
* With y = 1, Eq. 11 relabels a pair exactly if the model takes it for not aligned and w > 1 / 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.utils import logging

from ...modules.gathering import gather_batch, n_processes, own_in_batch
from ...noise import BetaMixture, Division, divide, refurbish_alignment
from ...training import LossCourseCallback, PairBatch, PairTrainer
from ...training.callbacks import RobustCallback, epoch_of
from .arguments_rcar import RcarTrainingArguments
from .masking_rcar import mask_words
from .modeling_rcar import RcarModel
from .negatives_rcar import draw_negatives
from .processing_rcar import RcarProcessor

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class RcarBatch(PairBatch):
    """The pairs of a mini-batch and what was made of them.

    Attributes:
        anchor: The given pair that each constructed negative was made for, (n_negatives,).
        is_masked: Where words are masked, bool (n_pairs, length), or None.
        n_masked: How many they are, on average over the processes that share a batch.
        share: The pairs of this process, as a multiple of that average.
    """

    anchor: Tensor
    is_masked: Tensor | None
    n_masked: float | None = None
    share: float = 1.0


class RcarTrainer(PairTrainer):
    """Trains an `RcarModel`; with `args.robust = False`, without refurbishing labels.

    Args:
        model: The model; its config holds the method's constants.
        args: Phases, `warmup_epochs` and everything that transformers' arguments have.
        train_dataset: Rows by the column contract, or a `PairDataset`.
        callbacks: Further callbacks.
        kwargs: See `PairTrainer`.

    Raises:
        DatasetError: If a dataset breaks the column contract, or all captions are of one image.
        ValueError: If model, processor and arguments do not fit together.
    """

    arguments_class = RcarTrainingArguments
    row_kind = "model"
    row_names = ("rcar",)

    def __init__(
        self,
        model: RcarModel,
        args: RcarTrainingArguments,
        train_dataset: Any,
        *,
        processing_class: Any,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        if not isinstance(processing_class, RcarProcessor):
            raise ValueError(
                f"RCAR needs an RcarProcessor, found a {type(processing_class).__name__}."
            )
        self.check_call(args, kwargs)
        self.method = model.config
        self.learns_words = args.mlm_epochs > 0
        self._means: dict[str, list[Tensor]] = {}
        _check_vocabulary(model, processing_class.tokenizer, self.learns_words)
        super().__init__(
            model, args, train_dataset, processing_class=processing_class, callbacks=(), **kwargs
        )
        self.add_callback(PhaseCallback(self))
        if args.track_losses:
            self.add_callback(LossCourseCallback(self))
        for callback in callbacks:
            self.add_callback(callback)

    # Eq. 2 and 3

    def run_networks(
        self, model: nn.Module, inputs: dict[str, Tensor]
    ) -> tuple[list, list[RcarBatch]]:
        """One forward pass: given pairs first, then negatives, and masked words in their phase."""
        inputs.pop("peer", None)
        gather = self.args.gather_negatives
        batch = self.make_batch(0, inputs, gather)
        draws = self.shared_draws(batch.pair_id)
        negatives, anchor = draw_negatives(
            batch.negatives, self.method.negatives_per_positive, self.method.negative_side, draws
        )
        given = self._given(batch)
        masked: dict[str, Tensor] = {}
        if self.learns_words:
            ids = batch.inputs["input_ids"]
            masked = self._mask(gather_batch(ids) if gather else ids, draws)
        made = RcarBatch(**vars(batch), anchor=anchor, is_masked=masked.get("is_masked"))
        if gather:
            made, given, negatives, masked = self._own_share(made, given, negatives, masked)
        pairs = torch.cat([given, negatives])
        return [model(**batch.inputs, **masked, pairs=pairs, **self.forward_options)], [made]

    def _mask(self, input_ids: Tensor, draws: torch.Generator | None) -> dict[str, Tensor]:
        """Texts with masked words, and where they are masked."""
        tokenizer = self.processing_class.tokenizer
        ids, is_masked = mask_words(
            input_ids,
            tokenizer.all_special_ids,
            tokenizer.mask_token_id,
            len(tokenizer),
            self.method.mask_probability,
            self.method.masking,
            draws,
        )
        return {"masked_input_ids": ids, "is_masked": is_masked}

    @staticmethod
    def _own_share(
        batch: RcarBatch, given: Tensor, negatives: Tensor, masked: dict[str, Tensor]
    ) -> tuple[RcarBatch, Tensor, Tensor, dict[str, Tensor]]:
        """Of a batch that processes share: the own pairs, the negatives and words that are theirs.

        Positions in `given` and `negatives` stay those of the whole batch.
        """
        own = own_in_batch(len(given), given.device)  # (n_whole,)
        is_own = own[batch.anchor]  # (n_negatives,)
        length = batch.inputs["input_ids"].shape[1]
        shown = {name: values[own, :length] for name, values in masked.items()}
        average = 1 / n_processes()
        made = replace(
            batch,
            pair_id=batch.pair_id[own],
            anchor=(own.cumsum(dim=0) - 1)[batch.anchor[is_own]],
            is_masked=shown.get("is_masked"),
            n_masked=float(masked["is_masked"].sum()) * average if masked else None,
            share=int(own.sum()) / (len(given) * average),
        )
        return made, given[own], negatives[is_own], shown

    @staticmethod
    def _given(batch: PairBatch) -> Tensor:
        """Positions of the given pairs, (n_pairs, 2)."""
        own = torch.arange(len(batch.pair_id), device=batch.pair_id.device)
        return torch.stack([own, own], dim=1)

    def matching_losses(self, output: Any, batch: RcarBatch, targets: Tensor) -> Tensor:
        """Eq. 2 and 12: each given pair, averaged with the mean of its negatives, (n_pairs,)."""
        log_p = output.pair_logits.log_softmax(dim=-1)  # (n_pairs + n_negatives, 2)
        given, negative = log_p.split([len(targets), len(batch.anchor)])
        losses = -(targets * given[:, 1] + (1 - targets) * given[:, 0])  # (n_pairs,)
        weight = 1 / self.method.negatives_per_positive
        return losses.index_add(0, batch.anchor, -negative[:, 0], alpha=weight) / 2

    def word_losses(self, output: Any, batch: RcarBatch, is_masked: Tensor) -> Tensor:
        """Eq. 3: each pair's share of the mean over the batch's masked words, (n_pairs,)."""
        words = batch.inputs["input_ids"][is_masked]  # (n_masked,)
        losses = functional.cross_entropy(output.word_logits, words, reduction="none")
        text = is_masked.nonzero()[:, 0]  # (n_masked,)
        sums = losses.new_zeros(len(batch.pair_id)).index_add(0, text, losses)
        return sums * len(sums) / max(1, batch.n_masked or len(words))

    def per_sample_loss(self, output: Any, batch: RcarBatch, targets: Tensor | None) -> Tensor:
        """Eq. 12, or Eq. 2 during the warm-up, and Eq. 3 in its phase, (n_pairs,)."""
        if targets is None:
            targets = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        losses = self.matching_losses(output, batch, targets) * batch.share
        self._remember("matching_loss", losses)
        if batch.is_masked is None:
            return losses
        words = self.word_losses(output, batch, batch.is_masked)
        self._remember("word_loss", words)
        return losses + self.method.mask_weight * words

    # Eq. 4-11

    def assesses_at(self, epoch: int) -> bool:
        """Every epoch, for the course of the losses; else as soon as labels are refurbished."""
        return self.args.track_losses or super().assesses_at(epoch)

    def assess_batch(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss (Eq. 2) and p of the given pairs, (1, n_pairs) each."""
        batch = self.make_batch(0, inputs)
        with self.accelerator.autocast():
            output = self.networks()[0](**batch.inputs, pairs=self._given(batch))
        logits = output.pair_logits.cpu().double()  # (n_pairs, 2); not every device has float64
        log_p = logits.log_softmax(dim=-1)[None, :, 1]  # (1, n_pairs)
        return {"loss": -log_p, "prediction": log_p.exp()}

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division of the losses (1, n_pairs) by the mixture of the config."""
        low, high = np.percentile(losses, self.method.loss_range)
        mixture = (
            BetaMixture()
            if self.method.mixture == "beta"
            else GaussianMixture(2, reg_covar=5e-4, random_state=self.args.seed)
        )
        return [divide(row, mixture=mixture, bounds=(low, high)) for row in losses]

    def refurbish(self) -> np.ndarray:
        """Eq. 11 for all given pairs, (1, n_pairs)."""
        labels = refurbish_alignment(
            1.0,
            self.pair_state["prediction"],
            1 - self.pair_state["clean_probability"],
            hard=self.method.refurbishment == "hard",
        )
        share = float((labels < 0.5).mean())
        if share > 0.6:
            logger.warning(
                f"{share:.0%} of the pairs are relabelled as not aligned: the model may not have "
                "learnt enough yet to tell. Raise `warmup_epochs`, or the learning rate."
            )
        return labels

    def training_targets(self, output: Any, batch: RcarBatch) -> Tensor:
        """The labels of the given pairs, refurbished where `args.robust`, (n_pairs,)."""
        if not self.args.robust:
            return torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        if self.method.prediction == "epoch":
            return self.look_up("target", batch)
        predicted = output.pair_logits[: len(batch.pair_id)].detach().softmax(dim=-1)[:, 1]
        noise_probability = 1 - self.look_up("clean_probability", batch)
        return refurbish_alignment(
            1.0, predicted, noise_probability, hard=self.method.refurbishment == "hard"
        )

    # What is logged

    def _remember(self, name: str, losses: Tensor) -> None:
        self._means.setdefault(name, []).append(losses.detach().mean())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means of both tasks since the last time to the training loss."""
        if "loss" in logs:
            logs |= {name: float(torch.stack(means).mean()) for name, means in self._means.items()}
            self._means.clear()
        super().log(logs, *args, **kwargs)


class PhaseCallback(RobustCallback):
    """Masks words in the first `mlm_epochs` epochs, and no longer."""

    trainer: RcarTrainer

    def on_epoch_begin(
        self, args: RcarTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Choose the phase of the epoch."""
        self.trainer.learns_words = epoch_of(state) < args.mlm_epochs


def _check_vocabulary(model: RcarModel, tokenizer: Any, needs_mask: bool) -> None:
    n_words = model.word_embeddings.num_embeddings
    if len(tokenizer) > n_words:
        raise ValueError(
            f"the tokenizer knows {len(tokenizer)} words and the model {n_words}: use the "
            "tokenizer that the text encoder was made for, or give `text_config` a `vocab_size` of "
            f"{len(tokenizer)}."
        )
    if needs_mask and tokenizer.mask_token_id is None:
        raise ValueError(
            "the tokenizer has no mask token, which masked language modelling needs: make it by "
            "train_word_tokenizer(captions, mask=True), or set `mlm_epochs` to 0."
        )

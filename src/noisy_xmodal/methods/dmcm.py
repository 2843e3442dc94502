"""DMCM: robust class losses, a beta mixture, and noisy samples mixed with clean ones.

Source: Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels". Read in this order:

| equations | what                                  | where                                |
|-----------|---------------------------------------|--------------------------------------|
| 1, 2      | towers and prototypes                 | `models.dmcm.modeling_dmcm`          |
| 3         | NGCE + MAE, one value a sample        | `class_losses`                       |
| 4, 5      | beta mixture, clean and noisy samples | `divide`                             |
| 6         | noisy samples mixed with clean ones   | `mix`                                |
| 7         | multimodal contrastive loss           | `losses.multimodal_contrastive_loss` |
| 8         | their sum; L_m alone in the warm-up   | `loss`, `warm_up_loss`               |

| symbol | here                                |
|--------|-------------------------------------|
| l      | losses, (2, n): image row, text row |
| w      | pair_state["clean_probability"]     |
| r      | config.noise_rate                   |
| lambda | config.mixing_weight                |
| q      | targets, one-hot                    |
| beta   | config.beta                         |

Decisions, where the paper is silent or says two things:

* L_m is summed over the two modalities, L_c is Eq. 7 without an embedding's similarity to itself;
  each is averaged over the pairs of the batch.
* The losses of both modalities are scaled to [0, 1] together, then each modality gets a mixture of
  its own. The published code judges texts by the images' mixture.
* "All training data" and "at each training epoch" are read literally: one division an epoch, in
  eval mode, kept with the run. `mixture_scope="batch"` divides every mini-batch.
* The posterior never rises with the loss. With a known rate the mixture then has no effect: the
  smallest losses are the clean ones. `monotone=False` ranks by the raw posterior.
* A noisy sample is mixed, in the vectors that the towers read, with a clean sample of its modality
  and mini-batch; where the batch has none it stays as it is. Image and text of a pair are mixed
  apart. Clean samples are not passed through the towers twice: nothing there is random.
* Every number of a feature vector is centred and scaled by the training split first, unless
  `feature_scaling` is "none"; the published code takes CLIP's vectors as they are. The learning
  rate decays by a cosine, as there.
* The published warm-up counts two epochs for the paper's three and four for its five; here it is
  `warmup_epochs`.
"""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState

from ..losses import classification_loss, multimodal_contrastive_loss
from ..models.dmcm.configuration_dmcm import DmcmConfig
from ..noise import BetaMixture, Division, divide
from ..training import LabelBatch, LabelTrainingArguments, RobustCallback
from ..training.epochs import ended_epoch, epoch_of, is_between_epochs
from ..training.method import Fields
from .class_loss import LabelMethod


class Dmcm(LabelMethod):
    """DMCM; with `args.robust = False`, without division and mixing."""

    title = "DMCM"
    citation = """@inproceedings{ding2024dualmix,
  title     = {Dual-Mix for Cross-Modal Retrieval with Noisy Labels},
  author    = {Ding, Feng and Liu, Xiu and Wang, Xinyi and Zhong, Fangming},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},
  year      = {2024}
}"""
    config_class = DmcmConfig
    constants_in_config = True
    is_dividing = True
    recipe: ClassVar[Fields] = {"warmup_epochs": 2}

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Make the class loss by its name.

        Raises:
            ValueError: If batch normalisation would see a single mixed sample.
        """
        super().attach(engine, model, args, processor)
        constants = self.constants
        self.class_loss = classification_loss(
            constants.class_loss, **(constants.class_loss_options or {})
        )
        self.is_mixing = args.robust and constants.mixing_weight < 1
        if self.is_mixing and constants.batch_norm:
            raise ValueError(
                "`batch_norm` is True: the mixed samples of a mini-batch pass the towers by "
                "themselves, and there may be one. Leave it out, or give `mixing_weight` 1."
            )

    def run_title(self) -> str:
        """DMCM, with its class loss where that is another one, and what is left out."""
        name, own = self.constants.class_loss, DmcmConfig.class_loss
        title = self.title if name == own else f"{self.title} ({name})"
        return title if self.args.robust else f"{title} without division"

    def callbacks(self) -> list[TrainerCallback]:
        """A report of the divisions of mini-batches, where they are divided."""
        reports = self.is_mixing and self.constants.mixture_scope == "batch"
        return [BatchDivisionCallback(self.engine)] if reports else []

    # Eq. 3

    def class_losses(self, output: Any, batch: LabelBatch) -> Tensor:
        """Eq. 3 for every sample, (2, n_pairs): images in the first row, texts in the second."""
        return torch.stack(
            [
                self.class_loss(output.image_class_logits, batch.image_label),
                self.class_loss(output.text_class_logits, batch.text_label),
            ]
        )

    def loss_pass(self, output: Any, batch: LabelBatch) -> dict[str, Tensor]:
        """The class losses of both modalities, (2, n_pairs)."""
        return {"loss": self.class_losses(output, batch)}

    # Eq. 4-5

    def divides_at(self, epoch: int) -> bool:
        """After the warm-up, unless every mini-batch is divided by itself."""
        return self.constants.mixture_scope == "epoch" and super().divides_at(epoch)

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division for each modality's losses (2, n), scaled together."""
        rate: Any = {"rate": self.constants.noise_rate, "estimated": "estimated", "threshold": None}
        bounds = (float(losses.min()), float(losses.max()))
        return [
            divide(
                row,
                mixture=self._mixture(),
                bounds=bounds,
                monotone=self.constants.monotone,
                threshold=self.constants.clean_threshold,
                noise_rate=rate[self.constants.selection],
            )
            for row in losses
        ]

    def _mixture(self) -> Any:
        if self.constants.mixture == "gaussian":
            return GaussianMixture(2, reg_covar=5e-4, random_state=self.args.seed)
        return BetaMixture()

    def clean_samples(self, losses: Tensor, batch: LabelBatch) -> Tensor:
        """Which samples of a batch count as clean, bool (2, n_pairs)."""
        state, ids = self.engine.pair_state, batch.pair_id.cpu().numpy()
        if self.constants.mixture_scope == "batch":
            values = losses.detach().cpu().double().numpy()
            state["loss"][:, ids] = values
            for row, division in enumerate(self.divide(values)):
                state["clean_probability"][row, ids] = division.clean_probability
                state["is_clean"][row, ids] = division.is_clean
        return torch.from_numpy(state["is_clean"][:, ids].astype(bool))

    # Eq. 6

    def mix(
        self,
        features: Tensor,
        targets: Tensor,
        is_clean: Tensor,
        draws: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix the noisy samples of one modality with clean ones.

        Args:
            features: What the tower read, (n_pairs, size).
            targets: Labels, (n_pairs,).
            is_clean: Bool (n_pairs,).
            draws: Chooses the partners; torch's own generator by default.

        Returns:
            Places of the noisy samples (n_noisy,), their mixed features (n_noisy, size) and soft
            labels (n_noisy, n_classes); all empty where no sample is clean.
        """
        clean, noisy = is_clean.nonzero().flatten(), (~is_clean).nonzero().flatten()
        if not len(clean):
            noisy = noisy[:0]
        shuffled = clean[torch.randperm(len(clean), generator=draws)]
        partners = shuffled[torch.arange(len(noisy)) % max(1, len(clean))]  # (n_noisy,)
        noisy, partners = noisy.to(features.device), partners.to(features.device)
        one_hot = F.one_hot(targets, self.constants.n_classes).to(features.dtype)
        weight = self.constants.mixing_weight
        mixed = weight * features[noisy] + (1 - weight) * features[partners]
        labels = weight * one_hot[noisy] + (1 - weight) * one_hot[partners]
        return noisy, mixed, labels

    def mixed_losses(self, output: Any, batch: LabelBatch, losses: Tensor) -> Tensor:
        """Eq. 3 where clean samples stay and noisy ones are replaced by Eq. 6, (2, n_pairs)."""
        is_clean = self.clean_samples(losses, batch)
        draws = self.engine.draws(batch.pair_id)
        sides = (output.image_features, output.text_features)
        labels = (batch.image_label, batch.text_label)
        parts = [self.mix(*side, draws) for side in zip(sides, labels, is_clean, strict=True)]
        (image_at, images, image_labels), (text_at, texts, text_labels) = parts
        mixed = self.engine.forward(image_features=images, text_features=texts)
        replaced = losses.clone()
        replaced[0, image_at] = self.class_loss(mixed.image_class_logits, image_labels)
        replaced[1, text_at] = self.class_loss(mixed.text_class_logits, text_labels)
        return replaced

    # Eq. 8

    def warm_up_loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """L_m, (n_pairs,)."""
        return self.class_losses(output, batch).sum(dim=0)

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """beta L_m + (1 - beta) L_c, (n_pairs,)."""
        losses = self.class_losses(output, batch)  # (2, n_pairs)
        if self.is_mixing:
            losses = self.mixed_losses(output, batch, losses)
        contrastive = multimodal_contrastive_loss(
            output.image_outputs,
            output.text_outputs,
            self.constants.contrastive_temperature,
            self.constants.self_similarity,
        )
        beta = self.constants.beta
        return beta * losses.sum(dim=0) + (1 - beta) * contrastive


class BatchDivisionCallback(RobustCallback):
    """Collects the divisions of the mini-batches and reports them as an epoch ends."""

    def on_epoch_begin(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget those of the last epoch."""
        pairs = self.trainer.pair_state
        if epoch_of(state) >= args.warmup_epochs and is_between_epochs(state):
            for name in ("loss", "clean_probability", "is_clean"):
                pairs[name] = np.zeros(pairs.shape)

    def on_epoch_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report; there is no picture, as every mini-batch had mixtures of its own."""
        pairs, epoch = self.trainer.pair_state, ended_epoch(state)
        if epoch < args.warmup_epochs:
            return
        if not args.gather_negatives:  # else all processes have judged all pairs
            for name in ("loss", "clean_probability", "is_clean"):
                pairs[name] = self.trainer.over_processes(pairs[name])
        # A pair that no batch had room for has zeros.
        seen = (pairs["loss"] != 0).any(axis=0) | pairs["is_clean"].any(axis=0)  # (n_pairs,)
        rows = zip(pairs["clean_probability"], pairs["is_clean"], strict=True)
        divisions = [
            Division(probability[seen], mask[seen].astype(bool)) for probability, mask in rows
        ]
        # `log` resets `should_log`, which every process must have alike: restore it.
        logs_loss = control.should_log
        losses = pairs["loss"][:, seen]
        self.trainer.report_division(losses, divisions, epoch, plot=False, pairs=seen)
        control.should_log = logs_loss

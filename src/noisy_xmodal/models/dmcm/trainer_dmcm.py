"""DMCM's training: robust class losses, a beta mixture, and noisy samples mixed with clean ones.

Source: Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels". Read in this order:

| equations | what                                       | where                               |
|-----------|--------------------------------------------|-------------------------------------|
| 1, 2      | towers and prototypes                      | `modeling_common_space`             |
| 3         | NGCE + MAE, one value a sample             | `losses.classification_loss`        |
| 4, 5      | beta mixture, clean and noisy samples      | `noise.divide`, `divide` here       |
| 6         | noisy samples mixed with clean ones        | `mix`, here                         |
| 7         | multimodal contrastive loss                | `losses.multimodal_contrastive_loss` |
| 8         | their sum; L_m alone in the warm-up        | `per_sample_loss`, here             |

| symbol  | here                              |
|---------|-----------------------------------|
| l       | losses, (2, n): image row, text row |
| w       | pair_state["clean_probability"]   |
| r       | config.noise_rate                 |
| lambda  | config.mixing_weight              |
| q       | targets, one-hot                  |
| beta    | config.beta                       |

Decisions, where the paper is silent or says two things:

* L_m is summed over the two modalities, L_c is Eq. 7 without an embedding's similarity to itself;
  each is averaged over the pairs of the batch.
* The losses of both modalities are scaled to [0, 1] together, then each modality gets a mixture of
  its own. The published code judges texts by the images' mixture.
* "All training data" and "at each training epoch" are taken by the word: one division an epoch, in
  eval mode, kept with the run. `mixture_scope="batch"` divides every mini-batch.
* The posterior never rises with the loss. With a known rate the mixture then has no say: the
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
from transformers import TrainerControl, TrainerState

from ...losses import classification_loss, multimodal_contrastive_loss
from ...noise import BetaMixture, Division, divide
from ...training import LabelBatch, LabelTrainer, LabelTrainingArguments
from ...training.callbacks import RobustCallback, begins_whole, epoch_of
from ...training.label_trainer import Fields, LabelTargets
from .modeling_dmcm import DmcmModel


class DmcmTrainer(LabelTrainer):
    """Trains a `DmcmModel`; with `args.robust = False`, without division and mixing.

    Args:
        model: The model; its config holds the method's constants.
        args: `warmup_epochs` and everything that transformers' arguments have.
        train_dataset: Rows by the column contract, or `LabelDataset`.
        kwargs: See `LabelTrainer`.
    """

    title = "DMCM"
    citation = (
        "Ding, Liu, Wang, Zhong. Dual-Mix for Cross-Modal Retrieval with Noisy Labels. ICASSP 2024."
    )
    recipe: ClassVar[Fields] = {"warmup_epochs": 2}

    def __init__(
        self, model: DmcmModel, args: LabelTrainingArguments, train_dataset: Any, **kwargs: Any
    ) -> None:
        if not isinstance(model, DmcmModel):
            raise ValueError(f"DMCM trains a DmcmModel, found a {type(model).__name__}.")
        self.method = model.config
        self.class_loss = classification_loss(
            self.method.class_loss, **(self.method.class_loss_options or {})
        )
        super().__init__(model, args, train_dataset, **kwargs)
        mixes = args.robust and self.method.mixing_weight < 1
        if mixes and self.method.mixture_scope == "batch":
            self.add_callback(BatchDivisionCallback(self))

    # Eq. 3

    def assess_batch(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The class losses of both modalities, (2, n_pairs)."""
        batch = self.make_batch(inputs)
        with self.accelerator.autocast():
            output = self.networks()[0](**batch.inputs)
        return {"loss": self.class_losses(output, self.training_targets(output, batch))}

    def class_losses(self, output: Any, targets: LabelTargets) -> Tensor:
        """Eq. 3 for every sample, (2, n_pairs): images in the first row, texts in the second."""
        return torch.stack(
            [
                self.class_loss(output.image_class_logits, targets[0]),
                self.class_loss(output.text_class_logits, targets[1]),
            ]
        )

    # Eq. 4-5

    def divides_at(self, epoch: int) -> bool:
        """After the warm-up, once an epoch."""
        return self.method.mixture_scope == "epoch" and epoch >= self.args.warmup_epochs

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division for each modality's losses (2, n), scaled together."""
        rate: Any = {"rate": self.method.noise_rate, "estimated": "estimated", "threshold": None}
        bounds = (float(losses.min()), float(losses.max()))
        return [
            divide(
                row,
                mixture=self._mixture(),
                bounds=bounds,
                monotone=self.method.monotone,
                threshold=self.method.clean_threshold,
                noise_rate=rate[self.method.selection],
            )
            for row in losses
        ]

    def _mixture(self) -> Any:
        if self.method.mixture == "gaussian":
            return GaussianMixture(2, reg_covar=5e-4, random_state=self.args.seed)
        return BetaMixture()

    def clean_samples(self, losses: Tensor, batch: LabelBatch) -> Tensor:
        """Which samples of a batch count as clean, bool (2, n_pairs)."""
        ids = batch.pair_id.cpu().numpy()
        if self.method.mixture_scope == "batch":
            values = losses.detach().cpu().double().numpy()
            divisions = self.divide(values)
            self.pair_state["loss"][:, ids] = values
            for row, division in enumerate(divisions):
                self.pair_state["clean_probability"][row, ids] = division.clean_probability
                self.pair_state["is_clean"][row, ids] = division.is_clean
        return torch.from_numpy(self.pair_state["is_clean"][:, ids].astype(bool))

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
        one_hot = F.one_hot(targets, self.method.n_classes).to(features.dtype)
        weight = self.method.mixing_weight
        mixed = weight * features[noisy] + (1 - weight) * features[partners]
        labels = weight * one_hot[noisy] + (1 - weight) * one_hot[partners]
        return noisy, mixed, labels

    def mixed_losses(
        self, output: Any, batch: LabelBatch, targets: LabelTargets, losses: Tensor
    ) -> Tensor:
        """Eq. 3 where clean samples stay and noisy ones are replaced by Eq. 6, (2, n_pairs)."""
        is_clean = self.clean_samples(losses, batch)
        sides = (output.image_features, output.text_features)
        draws = self.shared_draws(batch.pair_id)
        parts = [self.mix(*side, draws) for side in zip(sides, targets, is_clean, strict=True)]
        (image_at, images, image_labels), (text_at, texts, text_labels) = parts
        mixed = self.model_wrapped(image_features=images, text_features=texts)
        replaced = losses.clone()
        replaced[0, image_at] = self.class_loss(mixed.image_class_logits, image_labels)
        replaced[1, text_at] = self.class_loss(mixed.text_class_logits, text_labels)
        return replaced

    # Eq. 8

    def per_sample_loss(self, output: Any, batch: LabelBatch, targets: LabelTargets) -> Tensor:
        """L_m in the warm-up, then Eq. 8, (n_pairs,)."""
        losses = self.class_losses(output, targets)  # (2, n_pairs)
        if self.in_warm_up:
            return losses.sum(dim=0)
        if self.args.robust and self.method.mixing_weight < 1:
            losses = self.mixed_losses(output, batch, targets, losses)
        contrastive = multimodal_contrastive_loss(
            output.image_outputs,
            output.text_outputs,
            self.method.contrastive_temperature,
            self.method.self_similarity,
        )
        return self.method.beta * losses.sum(dim=0) + (1 - self.method.beta) * contrastive


class BatchDivisionCallback(RobustCallback):
    """Collects the divisions of the mini-batches and reports them as an epoch ends."""

    trainer: DmcmTrainer

    def on_epoch_begin(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget those of the last epoch."""
        if epoch_of(state) >= args.warmup_epochs and begins_whole(state):
            for name in ("loss", "clean_probability", "is_clean"):
                self.trainer.pair_state[name] = np.zeros(self.trainer.pair_state.shape)

    def on_epoch_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report; there is no picture, as every mini-batch had mixtures of its own."""
        known = self.trainer.pair_state
        epoch = epoch_of(state) - 1
        if epoch < args.warmup_epochs:
            return
        judged_once = not args.gather_negatives
        for name in ("loss", "clean_probability", "is_clean") if judged_once else ():
            known[name] = self.trainer.over_processes(known[name])
        divisions = [
            Division(probability, is_clean.astype(bool))
            for probability, is_clean in zip(
                known["clean_probability"], known["is_clean"], strict=True
            )
        ]
        # To log takes back the wish to log the loss, which every process must have alike.
        logs_loss = control.should_log
        self.trainer.report_division(epoch, known["loss"], divisions, plot=False)
        control.should_log = logs_loss

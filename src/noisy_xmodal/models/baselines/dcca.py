"""DCCA: deep canonical correlation analysis (Andrew et al., ICML 2013).

| symbol          | here                                                            |
|-----------------|-----------------------------------------------------------------|
| f(X_1), f(X_2)  | image_outputs, text_outputs                                     |
| T               | whitened cross-covariance; the loss is minus its trace norm     |
| r_1, r_2        | ridge                                                           |

It knows no labels. The loss is a property of a batch, which must be much larger than the common
space; every pair of the batch gets the same value. Behind the towers a linear projection is fitted
to all training pairs before each evaluation and checkpoint and kept in the model; retrieval is by
cosine there. All correlations count. The optimiser is the one of every other method (RMSprop in the
code that is commonly used).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState

from ...losses import correlation_loss, fit_linear_cca
from ...options import Rule
from ...training import LabelBatch, LabelTrainer, LabelTrainingArguments
from ...training.callbacks import RobustCallback
from ...training.label_trainer import Fields, LabelTargets, Ranges
from .class_loss import ONE_PHASE


class DccaTrainer(LabelTrainer):
    """Towers whose outputs are as correlated as can be, then linear CCA."""

    title = "DCCA"
    citation = "Andrew, Arora, Bilmes, Livescu. Deep Canonical Correlation Analysis. ICML 2013."
    shape: ClassVar[Fields] = {
        "hidden_sizes": [1024, 1024, 1024],
        "embedding_size": 10,
        "canonical_size": 10,
        "activation": "sigmoid",
        "batch_norm": True,
        "normalize": False,
        "classifier": "none",
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = ONE_PHASE
    options: ClassVar[Fields] = {"ridge": 1e-3}
    ranges: ClassVar[Ranges] = {"ridge": (0, 1e4)}
    recipe: ClassVar[Fields] = {
        "per_device_train_batch_size": 800,
        "learning_rate": 1e-3,
        "adam_beta1": 0.9,
        "weight_decay": 1e-5,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        n_steps, size = len(self.batch_sampler), self.model.config.embedding_size
        smallest = len(self.train_dataset) // n_steps // self.args.world_size
        if smallest <= size:
            raise ValueError(
                f"{self.title} needs batches of more pairs than the {size} dimensions of its space "
                f"(`embedding_size`), and they have {smallest}: raise "
                "`per_device_train_batch_size`, the more the better."
            )
        self.add_callback(CanonicalCallback(self))

    def per_sample_loss(self, output: Any, batch: LabelBatch, targets: LabelTargets) -> Tensor:
        """Minus the sum of the batch's canonical correlations, the same for every pair."""
        loss = correlation_loss(
            output.image_outputs, output.text_outputs, ridge=self.constants["ridge"]
        )
        return loss.float().expand(len(batch.pair_id))

    @torch.no_grad()
    def fit_projection(self) -> None:
        """Fit linear CCA to the outputs of all training pairs."""
        model: Any = self.networks()[0]
        was_training = model.training
        model.eval()
        blocks = []
        for start in range(0, len(self.train_dataset), 512):
            rows = range(len(self.train_dataset))[start : start + 512]
            inputs = self._prepare_inputs(self.data_collator(self.train_dataset.__getitems__(rows)))
            output = model(**self.make_batch(inputs).inputs)
            blocks.append((output.image_outputs, output.text_outputs))
        images, texts = (torch.cat(side) for side in zip(*blocks, strict=True))
        fit = fit_linear_cca(
            images, texts, model.config.canonical_size, ridge=self.constants["ridge"]
        )
        for projection, mean, weights in (
            (model.image_projection, fit.x_mean, fit.x_weights),
            (model.text_projection, fit.y_mean, fit.y_weights),
        ):
            projection.mean.copy_(mean.float())
            projection.weight.copy_(weights.float())
        model.train(was_training)


class CanonicalCallback(RobustCallback):
    """Fits the projection before an evaluation or a checkpoint."""

    trainer: DccaTrainer

    def on_train_begin(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it where training begins with an evaluation."""
        if args.eval_on_start:
            self.trainer.fit_projection()

    def on_step_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it where this step is evaluated or saved."""
        if control.should_evaluate or control.should_save:
            self.trainer.fit_projection()

    def on_epoch_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it."""
        self.trainer.fit_projection()

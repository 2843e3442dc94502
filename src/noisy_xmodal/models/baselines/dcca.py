"""DCCA: deep canonical correlation analysis (Andrew et al., ICML 2013).

| symbol          | here                                                            |
|-----------------|-----------------------------------------------------------------|
| f(X_1), f(X_2)  | image_outputs, text_outputs                                     |
| T               | whitened cross-covariance; the loss is minus its trace norm     |
| r_1, r_2        | ridge                                                           |

It knows no labels. The loss is a property of a batch, which must be much larger than the common
space; every pair of the batch gets the same value. Behind the towers a linear projection is fitted
to all training pairs at the end of each epoch and kept in the model; retrieval is by cosine there.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState

from ...losses import correlation_loss, fit_linear_cca
from ...training import LabelBatch, LabelTrainer, LabelTrainingArguments
from ...training.callbacks import RobustCallback
from ...training.label_trainer import Fields, LabelTargets


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
    options: ClassVar[Fields] = {"ridge": 1e-3}
    recipe: ClassVar[Fields] = {
        "per_device_train_batch_size": 800,
        "learning_rate": 1e-3,
        "adam_beta1": 0.9,
        "weight_decay": 1e-5,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
            projection.mean.copy_(mean)
            projection.weight.copy_(weights)
        model.train(was_training)


class CanonicalCallback(RobustCallback):
    """Fits the projection before an epoch's evaluation and checkpoint."""

    trainer: DccaTrainer

    def on_epoch_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it."""
        self.trainer.fit_projection()

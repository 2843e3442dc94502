"""DCCA: deep canonical correlation analysis (Andrew et al., ICML 2013).

| symbol          | here                                                            |
|-----------------|-----------------------------------------------------------------|
| f(X_1), f(X_2)  | image_outputs, text_outputs                                     |
| T               | whitened cross-covariance; the loss is minus its trace norm     |
| r_1, r_2        | ridge                                                           |

It knows no labels. The loss is a property of a batch, which must be much larger than the common
space; every pair of the batch gets the same value. Behind the towers a linear projection is fitted
to all training pairs before each evaluation and checkpoint and kept in the model; retrieval is by
cosine there. All correlations count. The optimizer is the one of every other method (RMSprop in the
code that is commonly used).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState

from ..losses import correlation_loss, fit_linear_cca
from ..options import Rule
from ..training import Constant, LabelBatch, LabelTrainingArguments
from ..training.method import Fields
from .class_loss import ONE_PHASE, LabelMethod


class Dcca(LabelMethod):
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
    options: ClassVar[Mapping[str, Constant]] = {"ridge": Constant(1e-3, 0, 1e4)}
    recipe: ClassVar[Fields] = {
        "per_device_train_batch_size": 800,
        "learning_rate": 1e-3,
        "adam_beta1": 0.9,
        "weight_decay": 1e-5,
    }

    def check_data(self, smallest: int) -> None:
        """Refuse batches that are too small for the space."""
        size = self.config.embedding_size
        if smallest <= size:
            raise ValueError(
                f"{self.title} needs batches of more pairs than the {size} dimensions of its space "
                f"(`embedding_size`), and they have {smallest}: raise "
                "`per_device_train_batch_size`, the more the better."
            )

    def callbacks(self) -> list[TrainerCallback]:
        """The callback that fits the projection before an evaluation or a checkpoint."""
        return [CanonicalCallback(self)]

    def loss(self, output: Any, batch: LabelBatch) -> Tensor:
        """Minus the sum of the batch's canonical correlations, the same for every pair."""
        loss = correlation_loss(
            output.image_outputs, output.text_outputs, ridge=self.constants.ridge
        )
        return loss.float().expand(len(batch.pair_id))

    @torch.no_grad()
    def fit_projection(self) -> None:
        """Fit linear CCA to the outputs of all training pairs."""
        model: Any = self.engine.networks()[0]
        outputs = [(part.image_outputs, part.text_outputs) for part in self.engine.outputs(512)]
        images, texts = (torch.cat(side) for side in zip(*outputs, strict=True))
        size = self.config.canonical_size
        fit = fit_linear_cca(images, texts, size, ridge=self.constants.ridge)
        for projection, mean, weights in (
            (model.image_projection, fit.x_mean, fit.x_weights),
            (model.text_projection, fit.y_mean, fit.y_weights),
        ):
            projection.mean.copy_(mean.float())
            projection.weight.copy_(weights.float())


class CanonicalCallback(TrainerCallback):
    """Fits the projection before an evaluation or a checkpoint.

    A checkpoint that a signal asks for in the middle of an epoch has the projection of the epoch
    before. The resumed run fits it anew.

    Args:
        method: The method.
    """

    def __init__(self, method: Dcca) -> None:
        self.method = method

    def on_train_begin(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it where training begins with an evaluation."""
        if args.eval_on_start:
            self.method.fit_projection()

    def on_step_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it where this step is evaluated or saved."""
        if control.should_evaluate or control.should_save:
            self.method.fit_projection()

    def on_epoch_end(
        self, args: LabelTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit it."""
        self.method.fit_projection()

"""Training arguments: transformers' own, with the field's defaults, and what robustness adds."""

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy


@dataclass
class RobustTrainingArguments(TrainingArguments):
    """Arguments of `RobustTrainer` and its subclasses.

    The defaults are NCR's recipe for Flickr30K: Adam at 2e-4, batches of 128, gradients clipped at
    2.0, 5 epochs of warm-up, 40 of robust training, the best checkpoint by rSum on validation.
    """

    robust: bool = field(
        default=True,
        metadata={
            "help": "Divide the pairs and refurbish their targets after the warm-up. False is "
            "plain training of the same model with the same losses: every pair counts as right."
        },
    )
    warmup_epochs: int = field(
        default=5,
        metadata={
            "help": "Epochs on all pairs with the warm-up loss (for the triplet objectives: all "
            "negatives instead of the hardest) before the first division."
        },
    )
    score_block_size: int = field(
        default=64,
        metadata={
            "help": "Images and texts that are scored at once when evaluating; bounds memory."
        },
    )
    plot_divisions: bool = field(
        default=True,
        metadata={"help": "Draw the losses and the fitted mixture of every division as PNG."},
    )
    image_cache_mb: int = field(
        default=1024,
        metadata={
            "help": "Memory, in MiB, for training pictures that are decoded and scaled already. "
            "0 reads every picture anew each time."
        },
    )
    per_device_train_batch_size: int = field(
        default=128, metadata={"help": "Pairs in a mini-batch of each network, per device."}
    )
    num_train_epochs: float = field(
        default=45.0, metadata={"help": "Epochs in all, warm-up included."}
    )
    learning_rate: float = field(default=2e-4, metadata={"help": "Initial learning rate of Adam."})
    max_grad_norm: float = field(
        default=2.0, metadata={"help": "Gradient norm to clip at, for each network by itself."}
    )
    eval_strategy: str = field(
        default="epoch", metadata={"help": "When to evaluate: no, steps, epoch."}
    )
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to save: no, steps, epoch."}
    )
    logging_strategy: str = field(
        default="epoch", metadata={"help": "When to log: no, steps, epoch."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints to keep: the last ones and the best."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Load the best checkpoint on validation after training."}
    )
    metric_for_best_model: str | None = field(
        default="rsum",
        metadata={"help": "Metric of the evaluator that chooses the best checkpoint."},
    )
    greater_is_better: bool | None = field(
        default=True, metadata={"help": "Whether a larger metric is better."}
    )
    hub_strategy: str = field(
        default="end",
        metadata={"help": "When to push to the Hub: end, once, with everything that was measured."},
    )
    remove_unused_columns: bool | None = field(
        default=False, metadata={"help": "Keep False: pair ids must reach the trainer."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_epochs()
        if self.remove_unused_columns:
            raise ValueError("`remove_unused_columns` must be False: it would drop the pair ids.")
        strategy = HubStrategy(self.hub_strategy)
        if strategy != HubStrategy.END:
            raise ValueError(
                f"`hub_strategy` is {strategy.value!r}: only 'end' is there, for a "
                "model is published with its card, and that says what was measured at the end."
            )

    def check_epochs(self) -> None:
        """Refuse a warm-up that leaves no epoch for the rest."""
        if self.warmup_epochs < 0:
            raise ValueError(f"`warmup_epochs` must not be negative, found {self.warmup_epochs}.")
        if self.robust and self.warmup_epochs >= self.num_train_epochs:
            raise ValueError(
                f"`warmup_epochs` is {self.warmup_epochs} and `num_train_epochs` "
                f"{self.num_train_epochs:g}: no epoch is left for robust training. Lower the one, "
                "raise the other, or set `robust` to False."
            )


@dataclass
class LabelTrainingArguments(RobustTrainingArguments):
    """Arguments of `LabelTrainer` and its subclasses.

    The defaults are the recipe that MRL and DMCM share: Adam at 1e-4 with betas .5 and .999, cosine
    decay, batches of 100, no clipping, the best checkpoint by mAP on validation.
    """

    feature_scaling: str = field(
        default="standard",
        metadata={
            "help": "What to do with feature vectors first: standard (centre and scale each number "
            "by the training split; kept in the model) or none."
        },
    )
    warmup_epochs: int = field(
        default=-1,
        metadata={"help": "Epochs of the warm-up; -1 for as many as the method has."},
    )
    per_device_train_batch_size: int = field(
        default=100, metadata={"help": "Pairs in a mini-batch, per device."}
    )
    num_train_epochs: float = field(
        default=100.0, metadata={"help": "Epochs in all, warm-up included."}
    )
    learning_rate: float = field(default=1e-4, metadata={"help": "Initial learning rate of Adam."})
    adam_beta1: float = field(default=0.5, metadata={"help": "First beta of Adam."})
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Course of the learning rate."}
    )
    max_grad_norm: float = field(
        default=0.0, metadata={"help": "Gradient norm to clip at; 0 for none."}
    )
    metric_for_best_model: str | None = field(
        default="map",
        metadata={"help": "Metric of the evaluator that chooses the best checkpoint."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature_scaling not in ("standard", "none"):
            raise ValueError(
                f"`feature_scaling` must be standard or none, found {self.feature_scaling!r}."
            )

    def check_epochs(self) -> None:
        """As for all methods, once the trainer has put a number in the place of -1."""
        if self.warmup_epochs != -1:
            super().check_epochs()

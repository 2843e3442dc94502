"""Training options that this library adds to transformers' TrainingArguments, and its defaults.

`training.arguments` checks them.
"""

from dataclasses import dataclass, field


@dataclass
class RobustOptions:
    """Options of all methods; the defaults are NCR's recipe for Flickr30K."""

    robust: bool = field(
        default=True,
        metadata={
            "help": "Divide the pairs and refurbish their targets after the warm-up. False is "
            "plain training of the same model with the same losses: all pairs count as clean."
        },
    )
    warmup_epochs: int = field(
        default=5,
        metadata={
            "help": "Epochs on all pairs with the warm-up loss (for the triplet objectives: all "
            "negatives instead of the hardest) before the first division."
        },
    )
    audit_table: str | None = field(
        default=None,
        metadata={
            "help": "Table that `noisy-xmodal audit` wrote for these pairs, such as "
            "audit.parquet. Its clean probabilities weight the losses; where the method divides "
            "the pairs, after its warm-up, they are averaged with those of the division instead."
        },
    )
    score_block_size: int = field(
        default=64,
        metadata={"help": "Images and texts that the evaluation scores at once; limits memory."},
    )
    gather_negatives: bool = field(
        default=False,
        metadata={
            "help": "With several processes, take negatives from the batches of all processes, as "
            "one process with the whole batch would. By default, as in the papers, they come "
            "from the batch of the own process."
        },
    )
    ema_decay: float = field(
        default=0.0,
        metadata={
            "help": "Decay of an exponential moving average of the weights, such as 0.998, which "
            "judges the pairs, is evaluated and is saved; 0 for the weights as they are."
        },
    )
    plot_divisions: bool = field(
        default=True,
        metadata={"help": "Draw the losses and the fitted mixture of every division as PNG."},
    )
    image_cache_mb: int = field(
        default=1024,
        metadata={
            "help": "Memory in MiB for decoded and scaled training pictures. 0 reads every picture "
            "again in each epoch; so do data-loader workers that are not persistent."
        },
    )
    keep_freed_memory: bool = field(
        default=True,
        metadata={
            "help": "On a CPU under Linux, keep freed memory in the process for the next step, "
            "which saves up to half of its time. False returns it to the system at once."
        },
    )
    per_device_train_batch_size: int = field(
        default=128, metadata={"help": "Pairs in a mini-batch of each network, per device."}
    )
    num_train_epochs: float = field(
        default=45.0, metadata={"help": "Epochs in total, with the warm-up."}
    )
    learning_rate: float = field(default=2e-4, metadata={"help": "Initial learning rate of Adam."})
    lr_decay_epoch: int = field(
        default=0,
        metadata={
            "help": "Number of epochs, with the warm-up, after which the learning rate is a tenth "
            "of the initial one; 0 for never. It needs --lr_scheduler_type constant."
        },
    )
    sum_losses: bool = field(
        default=False,
        metadata={
            "help": "Sum the losses of a mini-batch, as published code often does, in place of "
            "their mean. Only --max_grad_norm tells the difference."
        },
    )
    encoder_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Initial learning rate of pretrained encoders that are trained; that of the "
            "other parts by default."
        },
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor of the learning rate from a layer of a pretrained encoder to the next "
            "lower one, such as 0.8; embeddings have the lowest rate."
        },
    )
    max_grad_norm: float = field(
        default=2.0, metadata={"help": "Gradient norm to clip at, for each network separately."}
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
        metadata={"help": "Metric of the evaluator that selects the best checkpoint."},
    )
    greater_is_better: bool | None = field(
        default=None,
        metadata={
            "help": "Whether a larger metric is better; by default the trainer asks the evaluator."
        },
    )
    hub_strategy: str = field(
        default="end",
        metadata={"help": "When to push to the Hub: end, once, with all results."},
    )
    remove_unused_columns: bool | None = field(
        default=False, metadata={"help": "Keep False: pair ids must reach the trainer."}
    )


@dataclass
class LabelOptions(RobustOptions):
    """Options of methods for class labels; the defaults are the recipe of MRL and DMCM."""

    score_block_size: int = field(
        default=512, metadata={"help": "Rows that the evaluation embeds at once."}
    )
    feature_scaling: str = field(
        default="standard",
        metadata={
            "help": "Scaling of feature vectors: standard (zero mean and unit variance on the "
            "training split; stored in the model) or none."
        },
    )
    warmup_epochs: int = field(
        default=-1,
        metadata={"help": "Epochs of the warm-up; -1 for the number of the method."},
    )
    per_device_train_batch_size: int = field(
        default=100, metadata={"help": "Pairs in a mini-batch, per device."}
    )
    num_train_epochs: float = field(
        default=100.0, metadata={"help": "Epochs in total, with the warm-up."}
    )
    learning_rate: float = field(default=1e-4, metadata={"help": "Initial learning rate of Adam."})
    adam_beta1: float = field(default=0.5, metadata={"help": "First beta of Adam."})
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Schedule of the learning rate."}
    )
    max_grad_norm: float = field(
        default=0.0, metadata={"help": "Gradient norm to clip at; 0 for none."}
    )
    metric_for_best_model: str | None = field(
        default="map",
        metadata={"help": "Metric of the evaluator that selects the best checkpoint."},
    )


@dataclass
class RcarOptions(RobustOptions):
    """Options of RCAR; the defaults are the paper's recipe."""

    mlm_epochs: int = field(
        default=10,
        metadata={
            "help": "Number of first epochs with masked language modelling; 0 for matching alone."
        },
    )
    warmup_epochs: int = field(
        default=7, metadata={"help": "Epochs before labels are refurbished, the paper's m."}
    )
    track_losses: bool = field(
        default=True,
        metadata={
            "help": "Compute the losses of all pairs at the start of every epoch, also in the "
            "warm-up and in plain training, and plot those of right and wrong pairs."
        },
    )
    per_device_train_batch_size: int = field(
        default=64, metadata={"help": "Pairs of the data in a mini-batch, per device."}
    )
    num_train_epochs: float = field(
        default=30.0, metadata={"help": "Epochs in total, with those of masked words."}
    )
    learning_rate: float = field(default=3e-5, metadata={"help": "Initial learning rate of Adam."})
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Schedule of the learning rate."}
    )

    ddp_find_unused_parameters: bool | None = field(
        default=True,
        metadata={"help": "Keep True: without masked words, the word head is unused."},
    )

"""RCAR's training arguments: the paper's recipe."""

from dataclasses import dataclass, field

from ...training import RobustTrainingArguments


@dataclass
class RcarTrainingArguments(RobustTrainingArguments):
    """Arguments of `RcarTrainer`.

    The defaults are the paper's recipe: Adam at 3e-5 with cosine decay, batches of 64, 30 epochs,
    the first 10 of them with masked words, labels refurbished after the first 7.
    """

    mlm_epochs: int = field(
        default=10,
        metadata={
            "help": "Epochs, from the first, of masked language modelling beside matching; 0 for "
            "matching alone."
        },
    )
    warmup_epochs: int = field(
        default=7, metadata={"help": "Epochs before labels are refurbished, the paper's m."}
    )
    track_losses: bool = field(
        default=True,
        metadata={
            "help": "Pass over the pairs at the beginning of every epoch, warm-up and plain "
            "training included, and draw how the losses of right and wrong pairs part."
        },
    )
    per_device_train_batch_size: int = field(
        default=64, metadata={"help": "Given pairs in a mini-batch, per device."}
    )
    num_train_epochs: float = field(
        default=30.0, metadata={"help": "Epochs in all, those with masked words included."}
    )
    learning_rate: float = field(default=3e-5, metadata={"help": "Initial learning rate of Adam."})
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "Course of the learning rate."}
    )

    ddp_find_unused_parameters: bool | None = field(
        default=True,
        metadata={"help": "Keep True: without masked words, the word head is not used."},
    )

    @property
    def course_options(self) -> tuple[str, ...]:
        """As for all methods, and the phase of masked words."""
        return (*super().course_options, "mlm_epochs")

    def check_epochs(self, trained: float | None = None) -> None:
        """Refuse phases that are longer than the training."""
        super().check_epochs(trained)
        epochs, asked = self.asked_epochs(trained)
        if not 0 <= self.mlm_epochs <= epochs:
            raise ValueError(
                f"`mlm_epochs` is {self.mlm_epochs} and {asked}: give 0 to {epochs:.3g}, the "
                "epochs that begin with masked words."
            )

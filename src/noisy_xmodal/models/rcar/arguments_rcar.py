"""RCAR's training arguments: the paper's recipe."""

from dataclasses import dataclass

from ...arguments.training import RcarOptions
from ...training import RobustTrainingArguments


@dataclass
class RcarTrainingArguments(RcarOptions, RobustTrainingArguments):
    """Arguments of `RcarTrainer`.

    The defaults are the paper's recipe: Adam at 3e-5 with cosine decay, batches of 64, 30 epochs,
    the first 10 of them with masked words, labels refurbished after the first 7.
    """

    @property
    def course_options(self) -> tuple[str, ...]:
        """Those of all methods, and the phase of masked words."""
        return (*super().course_options, "mlm_epochs")

    def check_epochs(self, trained: float | None = None) -> None:
        """Check as for all methods, and that the phase of masked words is not too long."""
        super().check_epochs(trained)
        epochs, asked = self.asked_epochs(trained)
        if not 0 <= self.mlm_epochs <= epochs:
            raise ValueError(
                f"`mlm_epochs` is {self.mlm_epochs} and {asked}: give 0 to {epochs:.3g}, the "
                "number of first epochs with masked words."
            )

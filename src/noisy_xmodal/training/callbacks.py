"""What happens as an epoch begins: its order, the loss pass, the division, the targets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import TrainerCallback, TrainerControl, TrainerState

from .arguments import RobustTrainingArguments
from .reports import report_refurbishment

if TYPE_CHECKING:
    from .trainer import RobustTrainer


def epoch_of(state: TrainerState) -> int:
    """The epoch, from 0, that begins or runs; robust to rounding in the trainer's own fraction."""
    return int((state.epoch or 0) + 1e-6)


def begins_whole(state: TrainerState) -> bool:
    """Whether an epoch begins at its first step, not in the middle as after some resumptions."""
    return abs((state.epoch or 0) - round(state.epoch or 0)) < 1e-6


class RobustCallback(TrainerCallback):
    """A callback that knows its trainer.

    Args:
        trainer: The trainer that it is added to.
    """

    def __init__(self, trainer: "RobustTrainer") -> None:
        self.trainer = trainer


class EpochCallback(RobustCallback):
    """Tells the batch sampler which epoch begins."""

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Set the sampler's epoch."""
        self.trainer.batch_sampler.set_epoch(epoch_of(state))


class LossPassCallback(RobustCallback):
    """Passes over the pairs at the beginning of the epochs that the trainer names."""

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Store what `assess_pairs` gives. A resumed half epoch keeps what its pass gave."""
        if self.trainer.assesses_at(epoch_of(state)) and begins_whole(state):
            for name, values in self.trainer.assess_pairs().items():
                self.trainer.pair_state[name] = values


class DivisionCallback(RobustCallback):
    """After the warm-up, divides the pairs anew at the beginning of every epoch ("co-divide").

    Each network's or modality's per-pair losses get a mixture, and its division is stored in the
    same row of the pair state. What is known of it goes to `divisions.json` and a plot in the
    output folder. The oracle, if the data has one, is read for these reports alone.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Fit, divide, report. A resumed half epoch keeps its division."""
        epoch = epoch_of(state)
        if not self.trainer.divides_at(epoch) or not begins_whole(state):
            return
        losses = self.trainer.pair_state["loss"]
        divisions = self.trainer.divide(losses)
        self.trainer.keep_division(divisions)
        self.trainer.report_division(epoch, losses, divisions)


class RefurbishmentCallback(RobustCallback):
    """Turns the fresh division into the targets of the epoch ("co-rectify").

    What is known of them goes to `refurbishments.json` beside the divisions.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Store what `refurbish` gives, report. A resumed half epoch keeps its targets."""
        epoch = epoch_of(state)
        if epoch < args.warmup_epochs or not begins_whole(state):
            return
        targets = self.trainer.refurbish()
        if targets is None:
            return
        self.trainer.pair_state["target"] = targets
        if args.should_save:
            folder = Path(args.output_dir) / "divisions"
            oracle, first_epoch = self.trainer.oracle(), args.warmup_epochs
            self.trainer.log(report_refurbishment(folder, epoch, targets, oracle, first_epoch))


class ReportCallback(TrainerCallback):
    """Prints a short line for what a person follows, where progress bars are off."""

    FORMATS: ClassVar[dict[str, str]] = {
        "loss": "loss {:.3f}",
        "word_loss": "word loss {:.3f}",
        "eval_rsum": "validation rSum {:.1f}",
        "eval_map": "validation mAP {:.3f}",
        "division_share_noisy": "judged noisy {:.1%}",
        "division_true_share_noisy": "truly {:.1%}",
        "division_auroc": "AUROC {:.3f}",
        "division_precision": "precision {:.3f}",
        "division_recall": "recall {:.3f}",
        "target_mean_clean": "mean target of right pairs {:.2f}",
        "target_mean_noisy": "of wrong pairs {:.2f}",
        "refurbished_share": "relabelled {:.1%}",
        "refurbished_precision": "really wrong {:.1%} of them",
        "refurbished_recall": "which are {:.1%} of the wrong ones",
    }

    def on_log(
        self,
        args: RobustTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Print the known entries of a log."""
        found = dict(logs or {})
        parts = [form.format(found[key]) for key, form in self.FORMATS.items() if key in found]
        if parts and state.is_world_process_zero:
            print(f"epoch {state.epoch or 0:4.1f}  " + ", ".join(parts), flush=True)

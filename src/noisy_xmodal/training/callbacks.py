"""What happens as an epoch begins: order, loss pass, division, targets, and a new stage."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState

from ..noise import with_prior
from .arguments import RobustTrainingArguments
from .epochs import epoch_of, is_between_epochs
from .reports import report_refurbishment, report_targets


class RobustCallback(TrainerCallback):
    """A callback that knows its trainer.

    Args:
        trainer: The trainer that it is added to.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer


class EpochCallback(RobustCallback):
    """Tells the task that training begins, and batch sampler and method which epoch begins."""

    def on_train_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let the task compute what is computed once."""
        with self.trainer.whole_weights():
            self.trainer.task.begin(self.trainer.accelerator.unwrap_model(self.trainer.model))

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Set the sampler's epoch, and let the method prepare it."""
        epoch = epoch_of(state)
        self.trainer.batch_sampler.set_epoch(epoch)
        self.trainer.method.begin_epoch(epoch, resumed=not is_between_epochs(state))


class DivisionCallback(RobustCallback):
    """The EM of an epoch: a pass over the pairs, then a mixture and a division ("co-divide").

    Each network's or modality's per-pair losses get a mixture, and its division is stored in the
    same row of the pair state, together with the clean probabilities of an audit where there is
    one. A report goes to `divisions.json` and a plot in the output folder.
    The oracle, if the data has one, is read for these reports alone.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Pass, fit, divide, report. An epoch that is resumed keeps its pass and its division."""
        trainer, epoch = self.trainer, epoch_of(state)
        if not is_between_epochs(state):
            return
        if trainer.method.passes_at(epoch):
            for name, values in trainer.loss_pass().items():
                trainer.pair_state[name] = values
        if trainer.method.divides_at(epoch):
            losses = trainer.pair_state["loss"]
            divisions = trainer.method.divide(losses)
            if trainer.audit is not None:
                divisions = [with_prior(division, trainer.audit) for division in divisions]
            trainer.pair_state.keep_division(divisions)
            trainer.report_division(losses, divisions, epoch, plot=True)


class RefurbishmentCallback(RobustCallback):
    """Turns the division into the targets of the epoch ("co-rectify").

    A report goes to `refurbishments.json` beside the divisions.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Store the targets, report. An epoch that is resumed keeps its targets."""
        epoch = epoch_of(state)
        if not args.robust or epoch < args.warmup_epochs or not is_between_epochs(state):
            return
        with self.trainer.whole_weights():
            targets = self.trainer.method.targets()
        if targets is None:
            return
        self.trainer.pair_state["target"] = targets
        if args.should_save:
            folder = Path(args.output_dir) / "divisions"
            oracle, first_epoch = self.trainer.oracle(), args.warmup_epochs
            self.trainer.log(report_refurbishment(folder, epoch, targets, oracle, first_epoch))

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the predictions and the targets of the last epoch."""
        trainer, pair_state = self.trainer, self.trainer.pair_state
        if not (args.should_save and args.plot_divisions and "target" in pair_state):
            return
        masks = [trainer.method.batch_mask(n) for n in range(trainer.method.n_networks)]
        judged_noisy = np.stack(
            [np.ones(pair_state.shape[1], bool) if mask is None else ~mask for mask in masks]
        )
        names = [name for name in ("prediction", "target") if name in pair_state]
        values = {name: np.asarray(pair_state[name])[judged_noisy] for name in names}
        oracle = trainer.oracle()
        is_noisy = None if oracle is None else oracle[judged_noisy]
        report_targets(Path(args.output_dir) / "divisions", values, is_noisy)


class StageCallback(RobustCallback):
    """Begins a stage with the first weights, after the pass and the division."""

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Restart where a further stage begins, unless the epoch is resumed in the middle."""
        if is_between_epochs(state) and epoch_of(state) in self.trainer.method.stages()[1:]:
            self.trainer.restart()


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
        """Print the entries of a log that have a format."""
        values = dict(logs or {})
        parts = [form.format(values[key]) for key, form in self.FORMATS.items() if key in values]
        if parts and state.is_world_process_zero:
            print(f"epoch {state.epoch or 0:4.1f}  " + ", ".join(parts), flush=True)

"""What happens at the beginning of an epoch: its order, the division, the refurbished targets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.utils import logging

from ..metrics import detection_metrics
from ..noise import Division, divide
from .arguments import RobustTrainingArguments
from .files import read_json, write_json
from .plots import plot_division

if TYPE_CHECKING:
    from .trainer import RobustTrainer

logger = logging.get_logger(__name__)

DIVISIONS_NAME = "divisions.json"


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


class DivisionCallback(RobustCallback):
    """After the warm-up, divides the pairs anew at the beginning of every epoch ("co-divide").

    Each network's per-pair losses get a mixture; its division is stored under the network that made
    it. What is known of it goes to `divisions.json` and a plot in the output folder. The oracle, if
    the data has one, is read for these reports alone.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Pass over the pairs, fit, divide, report. A resumed half epoch keeps its division."""
        epoch = epoch_of(state)
        if epoch < args.warmup_epochs or not begins_whole(state):
            return
        for name, values in self.trainer.assess_pairs().items():
            self.trainer.pair_state[name] = values
        losses = self.trainer.pair_state["loss"]
        divisions = [
            divide(peer_losses, threshold=self.trainer.clean_threshold, seed=args.seed)
            for peer_losses in losses
        ]
        self.trainer.pair_state["clean_probability"] = np.stack(
            [division.clean_probability for division in divisions]
        )
        self.trainer.pair_state["is_clean"] = np.stack(
            [division.is_clean.astype(np.uint8) for division in divisions]
        )
        if args.should_save:
            self._report(args, epoch, losses, divisions)

    def _report(
        self,
        args: RobustTrainingArguments,
        epoch: int,
        losses: np.ndarray,
        divisions: list[Division],
    ) -> None:
        folder = Path(args.output_dir) / "divisions"
        is_noisy = self.trainer.train_dataset.is_noisy
        rows = []
        for peer, (peer_losses, division) in enumerate(zip(losses, divisions, strict=True)):
            row = {"epoch": epoch, "peer": "ab"[peer], "share_noisy": division.share_noisy}
            if is_noisy is not None:
                row |= detection_metrics(division.clean_probability, is_noisy, division.is_clean)
            rows.append(row)
            if args.plot_divisions:
                path = folder / f"epoch_{epoch:03d}_peer_{'ab'[peer]}.png"
                plot_division(path, peer_losses, division, is_noisy, f"epoch {epoch}")
        path = folder / DIVISIONS_NAME
        known = read_json(path) if path.is_file() and epoch > args.warmup_epochs else []
        write_json(path, [row for row in known if row["epoch"] < epoch] + rows)
        # A precision or an AUROC can be undefined for one of the networks.
        measured = [name for name in rows[0] if all(isinstance(row[name], float) for row in rows)]
        self.trainer.log(
            {f"division_{name}": float(np.mean([row[name] for row in rows])) for name in measured}
        )


class RefurbishmentCallback(RobustCallback):
    """Turns the fresh division into the targets of the epoch ("co-rectify")."""

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Store what `refurbish` gives. A resumed half epoch keeps its targets."""
        if epoch_of(state) < args.warmup_epochs or not begins_whole(state):
            return
        targets = self.trainer.refurbish()
        if targets is None:
            return
        self.trainer.pair_state["target"] = targets
        is_noisy = self.trainer.train_dataset.is_noisy
        report = {"target_mean": float(targets.mean())}
        if is_noisy is not None and is_noisy.any() and not is_noisy.all():
            report["target_mean_clean"] = float(targets[:, ~is_noisy].mean())
            report["target_mean_noisy"] = float(targets[:, is_noisy].mean())
        self.trainer.log(report)


class ReportCallback(TrainerCallback):
    """Prints a short line for what a person follows, where progress bars are off."""

    FORMATS: ClassVar[dict[str, str]] = {
        "loss": "loss {:.3f}",
        "eval_rsum": "validation rSum {:.1f}",
        "division_share_noisy": "judged noisy {:.1%}",
        "division_true_share_noisy": "truly {:.1%}",
        "division_auroc": "AUROC {:.3f}",
        "division_precision": "precision {:.3f}",
        "division_recall": "recall {:.3f}",
        "target_mean_clean": "mean target of right pairs {:.2f}",
        "target_mean_noisy": "of wrong pairs {:.2f}",
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

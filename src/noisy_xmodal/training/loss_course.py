"""Losses of the pairs over the epochs, as a JSON file and a figure.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 24(10),
2023, Fig. 4.
"""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerControl, TrainerState

from ..files import read_json
from ..metrics import detection_metrics
from .arguments import RobustTrainingArguments
from .callbacks import RobustCallback
from .epochs import epoch_of, is_between_epochs
from .plots import plot_loss_course
from .reports import write_rows

LOSSES_NAME = "losses.json"

PERCENTILES = (5, 25, 50, 75, 95)


class LossCourseCallback(RobustCallback):
    """Records the percentiles of the losses of right and wrong pairs at the start of each epoch.

    The losses are those of the epoch's loss pass in the pair state. The oracle, if the data has
    one, is only used for this report.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Add a row; rows written after the checkpoint that a run resumed from are replaced."""
        trainer, epoch = self.trainer, epoch_of(state)
        if not (args.should_save and trainer.method.passes_at(epoch) and is_between_epochs(state)):
            return
        losses, is_noisy = trainer.pair_state["loss"], trainer.oracle()
        row: dict[str, Any] = {"epoch": epoch}
        for i, name in enumerate(trainer.method.row_names):
            row[name] = summarize_losses(losses[i], None if is_noisy is None else is_noisy[i])
        first_epoch = min(past for past in range(epoch + 1) if trainer.method.passes_at(past))
        write_rows(Path(args.output_dir) / LOSSES_NAME, epoch, [row], first_epoch)

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the box plots."""
        path = Path(args.output_dir) / LOSSES_NAME
        if args.should_save and path.is_file():
            plot_loss_course(path.with_suffix(".png"), read_json(path))


def summarize_losses(losses: np.ndarray, is_noisy: np.ndarray | None = None) -> dict[str, Any]:
    """Summarise the losses of a row of the pair state.

    Args:
        losses: (n_pairs,).
        is_noisy: The oracle, bool (n_pairs,), or None.

    Returns:
        `right` and `wrong` if they have pairs, or `all` without the oracle, each with `count`,
        `mean` and the percentiles `p5` to `p95`; and `auroc` of the loss as a detector of wrong
        pairs, None without the oracle or if all or none are wrong.
    """
    groups, auroc = {"all": losses}, None
    if is_noisy is not None:
        groups = {"right": losses[~is_noisy], "wrong": losses[is_noisy]}
        auroc = detection_metrics(-losses, is_noisy, ~is_noisy)["auroc"]
    summary: dict[str, Any] = {}
    for name, values in groups.items():
        if len(values):
            percentiles = zip(PERCENTILES, np.percentile(values, PERCENTILES).tolist(), strict=True)
            summary[name] = {"count": len(values), "mean": float(values.mean())}
            summary[name] |= {f"p{q}": value for q, value in percentiles}
    return summary | {"auroc": auroc}

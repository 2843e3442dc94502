"""The course of the pairs' losses over the epochs, as a JSON file and a picture.

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 24(10),
2023, Fig. 4.
"""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerControl, TrainerState

from ..metrics import detection_metrics
from .arguments import RobustTrainingArguments
from .callbacks import RobustCallback, begins_whole, epoch_of
from .files import read_json
from .plots import plot_loss_course
from .reports import write_rows

LOSSES_NAME = "losses.json"

PERCENTILES = (5, 25, 50, 75, 95)


class LossCourseCallback(RobustCallback):
    """Keeps how the losses of right and of wrong pairs are spread as each epoch begins.

    It reads what the loss pass of the epoch has left in the pair state. The oracle, if the data
    has one, is read for this report alone.
    """

    def on_epoch_begin(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Add a row; rows that a resumed run had written beyond its checkpoint are replaced."""
        trainer, epoch = self.trainer, epoch_of(state)
        if not (args.should_save and trainer.assesses_at(epoch) and begins_whole(state)):
            return
        losses, is_noisy = trainer.pair_state["loss"], trainer.oracle()
        row: dict[str, Any] = {"epoch": epoch}
        for i, name in enumerate(trainer.row_names):
            row[name] = summarize_losses(losses[i], None if is_noisy is None else is_noisy[i])
        first_epoch = min(past for past in range(epoch + 1) if trainer.assesses_at(past))
        write_rows(Path(args.output_dir) / LOSSES_NAME, epoch, [row], first_epoch)

    def on_train_end(
        self, args: RobustTrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the boxes."""
        path = Path(args.output_dir) / LOSSES_NAME
        if args.should_save and path.is_file():
            plot_loss_course(path.with_suffix(".png"), read_json(path))


def summarize_losses(losses: np.ndarray, is_noisy: np.ndarray | None = None) -> dict[str, Any]:
    """How the losses of a row of the pair state are spread.

    Args:
        losses: (n_pairs,).
        is_noisy: The oracle, bool (n_pairs,), or None.

    Returns:
        `right` and `wrong`, those of them that have pairs, or without the oracle `all`: `count`,
        `mean` and the percentiles `p5` to `p95`. `auroc`: how well a high loss alone tells wrong
        pairs, None without the oracle or where all or none are wrong.
    """
    groups, auroc = {"all": losses}, None
    if is_noisy is not None:
        groups = {"right": losses[~is_noisy], "wrong": losses[is_noisy]}
        auroc = detection_metrics(-losses, is_noisy, ~is_noisy)["auroc"]
    found: dict[str, Any] = {}
    for name, values in groups.items():
        if len(values):
            spread = np.percentile(values, PERCENTILES).tolist()
            found[name] = {"count": len(values), "mean": float(values.mean())}
            found[name] |= {f"p{q}": value for q, value in zip(PERCENTILES, spread, strict=True)}
    return found | {"auroc": auroc}

"""Ctrl-C and a scheduler's SIGTERM: training stops after a step, with a checkpoint to go on from.

    with stop_on_signals(trainer):
        trainer.train()

A stop must not change what a resumed run comes to, so training is left by an exception as soon as
the checkpoint is there. To end the epoch early instead would evaluate the model in the middle of
it, and that could become the best one.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from ..entry.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds within which a second signal is the first one again: a launcher passes on to its
#: processes what the terminal has sent them too.
ECHO = 1.0


class TrainingInterrupted(Stopped):
    """Training was stopped by a signal.

    Args:
        number: The signal's number.
        output_dir: Folder of the run.
    """

    def __init__(self, number: int, output_dir: str) -> None:
        name = signal.Signals(number).name
        super().__init__(number, f"Stopped by {name}. {how_to_go_on(output_dir)}")


def how_to_go_on(output_dir: str) -> str:
    """What there is of a run that ended early, and what to type.

    Args:
        output_dir: Folder of the run.
    """
    last = get_last_checkpoint(output_dir) if os.path.isdir(output_dir) else None
    if last is None:
        return "No checkpoint was saved yet: the same command begins anew."
    return (
        f"Everything up to {last} is kept: go on with the same command and "
        "--resume_from_checkpoint True."
    )


@contextmanager
def stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM stop the trainer after its step; a second one stops at once.

    Of several processes one that gets the signal is enough: they agree after every step. The
    handlers of before are restored at the end. Outside of the main thread, where Python sets no
    handlers, nothing is done; a signal that is ignored, as under nohup, stays so.

    Args:
        trainer: The trainer whose `train` is called within.

    Raises:
        TrainingInterrupted: After a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    callback = StopCallback(trainer.args.output_dir, speaks=trainer.args.process_index == 0)
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, callback.receive) for number in heard}
    trainer.add_callback(callback)
    try:
        yield
    except RuntimeError as error:
        if not callback.received:
            raise
        # A signal to all processes of a job ends the workers of a data loader too.
        raise TrainingInterrupted(callback.received, trainer.args.output_dir) from error
    finally:
        trainer.remove_callback(callback)
        for number, handler in before.items():
            signal.signal(number, handler)


class StopCallback(TrainerCallback):
    """Saves and stops once a signal has come, at a moment that all processes agree on.

    Args:
        output_dir: Folder of the run.
        speaks: Whether this process tells of the first signal.
    """

    def __init__(self, output_dir: str, speaks: bool = True) -> None:
        self.output_dir = output_dir
        self.speaks = speaks
        self.received = 0
        self.agreed = 0
        self._received_at = 0.0
        self._process = os.getpid()
        self._epoch_is_over = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:
            # A forked worker of a data loader: Ctrl-C is for the training process to handle.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if not self.received:
            self.received, self._received_at = number, time.monotonic()
            if self.speaks:
                # Not by print, which may be what the signal has interrupted.
                os.write(2, b"\nStopping after this step; once more to stop at once.\n")
        elif time.monotonic() - self._received_at > ECHO:
            raise TrainingInterrupted(number, self.output_dir)

    def on_step_begin(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """Know that the next save may be in the middle of an epoch."""
        self._epoch_is_over = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint, but let an epoch that is complete end with its evaluation."""
        if self._agree(args) and not _is_whole(state):
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint."""
        self._epoch_is_over = True
        if self._agree(args):
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave training, for the checkpoint is there."""
        if self._agree(args) and (self._epoch_is_over or not _is_whole(state)):
            raise TrainingInterrupted(self.agreed, self.output_dir)

    def _agree(self, args: TrainingArguments) -> bool:
        """Whether any process has received a signal."""
        self.agreed = self.received
        if args.world_size > 1:
            found = torch.tensor(self.received, device=args.device)  # ()
            dist.all_reduce(found, dist.ReduceOp.MAX)
            self.agreed = int(found)
        return self.agreed > 0


def _is_whole(state: TrainerState) -> bool:
    """Whether the steps so far are whole epochs."""
    return abs((state.epoch or 0) - round(state.epoch or 0)) < 1e-6

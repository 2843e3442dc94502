"""Ctrl-C and SIGTERM: training stops after the current step and saves a checkpoint.

    with stop_on_signals(trainer):
        trainer.train()

An interruption must not change the result of the resumed run, so training ends with an exception
right after the checkpoint. Ending the epoch early would evaluate the model in the middle of the
epoch, and that model could become the best one.
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
from .epochs import is_between_epochs

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds within which a second signal is a duplicate of the first: the terminal and a launcher
#: may both send it to the processes.
ECHO = 1.0


class TrainingInterrupted(Stopped):
    """Training was stopped by a signal.

    Args:
        number: The signal's number.
        output_dir: Folder of the run.
    """

    def __init__(self, number: int, output_dir: str) -> None:
        name = signal.Signals(number).name
        super().__init__(number, f"Stopped by {name}. {resume_hint(output_dir)}")


def resume_hint(output_dir: str) -> str:
    """The last checkpoint of a run that ended early, and how to resume.

    Args:
        output_dir: Folder of the run.
    """
    last = get_last_checkpoint(output_dir) if os.path.isdir(output_dir) else None
    if last is None:
        return "No checkpoint was saved yet: run the same command to start again."
    return (
        f"The last checkpoint is {last}: resume by the same command with "
        "--resume_from_checkpoint True."
    )


@contextmanager
def stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop the trainer after its step; a second signal stops immediately.

    It is enough that one of several processes gets the signal: they synchronise after every step.
    The previous handlers are restored at the end. Outside the main thread, where Python does not
    allow handlers, nothing changes. Ignored signals, as under nohup, stay ignored.

    Args:
        trainer: The trainer whose `train` is called in the context.

    Raises:
        TrainingInterrupted: After a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    callback = StopCallback(trainer.args.output_dir, speaks=trainer.args.process_index == 0)
    active = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, callback.receive) for number in active}
    trainer.add_callback(callback)
    try:
        yield
    except RuntimeError as error:
        if not callback.received:
            raise
        # A signal to all processes of a job also ends the workers of a data loader.
        raise TrainingInterrupted(callback.received, trainer.args.output_dir) from error
    finally:
        trainer.remove_callback(callback)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class StopCallback(TrainerCallback):
    """Saves a checkpoint and stops after a signal, at the same step in all processes.

    Args:
        output_dir: Folder of the run.
        speaks: Whether this process prints a message at the first signal.
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
            # A forked worker of a data loader: the training process handles Ctrl-C.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if not self.received:
            self.received, self._received_at = number, time.monotonic()
            if self.speaks:
                # The signal may have interrupted print, which is not reentrant.
                os.write(2, b"\nStopping after this step; repeat to stop immediately.\n")
        elif time.monotonic() - self._received_at > ECHO:
            raise TrainingInterrupted(number, self.output_dir)

    def on_step_begin(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """Record that the next save may be in the middle of an epoch."""
        self._epoch_is_over = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Request a checkpoint, unless the epoch is complete and its evaluation follows."""
        if self._agree(args) and not is_between_epochs(state):
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Request a checkpoint."""
        self._epoch_is_over = True
        if self._agree(args):
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """End training after the checkpoint."""
        if self._agree(args) and (self._epoch_is_over or not is_between_epochs(state)):
            raise TrainingInterrupted(self.agreed, self.output_dir)

    def _agree(self, args: TrainingArguments) -> bool:
        """Whether any process has received a signal."""
        self.agreed = self.received
        if args.world_size > 1:
            number = torch.tensor(self.received, device=args.device)  # ()
            dist.all_reduce(number, dist.ReduceOp.MAX)
            self.agreed = int(number)
        return self.agreed > 0

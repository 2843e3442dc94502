"""Signals during training: a checkpoint, a line that says how to go on, and the same end."""

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from ncr_trainers import make_ncr
from noisy_xmodal import NcrModel, RobustTrainer
from noisy_xmodal.training import checkpoint, interruption, train_and_evaluate
from noisy_xmodal.training.failures import RunError
from noisy_xmodal.training.interruption import (
    StopCallback,
    TrainingInterrupted,
    resume_hint,
    stop_on_signals,
)
from noisy_xmodal.training.stored_states import OPTIMIZER_NAME

STEPS = 4  # of an epoch: 120 pairs in batches of 32


class Send(TrainerCallback):
    """Sends signals to this process at an event of a step."""

    def __init__(self, event: str, step: int, *numbers: int) -> None:
        self.step = step
        self.numbers = numbers
        setattr(self, event, self._send)

    def _send(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def make_trainer(out: Path, callbacks: Any = (), **options: Any) -> RobustTrainer:
    return make_ncr(out, fields={"normalize_tokens": False}, callbacks=callbacks, **options)


def train(trainer: RobustTrainer, **options: Any) -> RobustTrainer:
    with stop_on_signals(trainer):
        trainer.train(**options)
    return trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any) -> RobustTrainer:
    """A run that nothing stops."""
    return train(make_trainer(tmp_path_factory.mktemp("whole")))


def ends_as(found: RobustTrainer, expected: RobustTrainer) -> None:
    assert found.state.global_step == expected.state.global_step
    assert found.state.best_global_step == expected.state.best_global_step
    assert found.state.best_metric == expected.state.best_metric
    evaluations = [
        [(row["step"], row["eval_rsum"]) for row in t.state.log_history if "eval_rsum" in row]
        for t in (found, expected)
    ]
    assert evaluations[0] == evaluations[1]
    for name in ("loss", "clean_probability", "is_clean", "target"):
        np.testing.assert_array_equal(found.pair_state[name], expected.pair_state[name])
    last = [NcrModel.from_pretrained(t.last_checkpoint()).state_dict() for t in (found, expected)]
    assert all(torch.equal(value, last[1][name]) for name, value in last[0].items())


@pytest.mark.parametrize(
    ("event", "step", "stops_at"),
    [
        ("on_step_begin", 6, 7),  # in the middle of an epoch
        ("on_step_end", 2 * STEPS, 2 * STEPS),  # the last step of one: its evaluation is made
        ("on_evaluate", 2 * STEPS, 2 * STEPS),  # while that goes on
        ("on_epoch_begin", 2 * STEPS, 2 * STEPS + 1),  # between two
        ("on_step_begin", 4 * STEPS - 1, 4 * STEPS),  # the very last step
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, whole, capfd, event, step, stops_at):
    assert whole.state.max_steps == 4 * STEPS
    number = signal.SIGTERM if step == 6 else signal.SIGINT
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    stopped = make_trainer(tmp_path, [Send(event, step, number)])
    with pytest.raises(TrainingInterrupted) as caught:
        train(stopped)
    assert caught.value.exit_code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert (
        f"Stopped by {number.name}. The last checkpoint is {tmp_path}/checkpoint-{stops_at}:"
        in str(caught.value)
    )
    assert "--resume_from_checkpoint True" in str(caught.value)
    assert capfd.readouterr().err.count("Stopping after this step; repeat") == 1
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before
    assert not any(isinstance(c, StopCallback) for c in stopped.callback_handler.callbacks)
    ends_as(train(make_trainer(tmp_path), resume_from_checkpoint=True), whole)


def test_a_full_disk_loses_no_checkpoint_and_a_resumed_run_ends_the_same(
    tmp_path, whole, monkeypatch
):
    write = checkpoint.save_optimizer

    def fill(optimizer: Any, folder: Path, **options: Any) -> None:
        if f"checkpoint-{2 * STEPS}" in str(folder):
            (folder / OPTIMIZER_NAME).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(optimizer, folder, **options)

    monkeypatch.setattr(checkpoint, "save_optimizer", fill)
    with pytest.raises(RunError, match=f"{tmp_path} cannot be written.*checkpoint-{STEPS}:"):
        train_and_evaluate(make_trainer(tmp_path), {}, "train")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{STEPS}", "divisions"]
    monkeypatch.undo()
    resumed = make_trainer(tmp_path, resume_from_checkpoint="True")
    train_and_evaluate(resumed, {}, "train")
    ends_as(resumed, whole)


def test_no_model_from_the_middle_of_an_epoch_is_evaluated(tmp_path):
    stopped = make_trainer(tmp_path, [Send("on_step_begin", 6, signal.SIGINT)])
    with pytest.raises(TrainingInterrupted):
        train(stopped)
    assert [row["step"] for row in stopped.state.log_history if "eval_rsum" in row] == [STEPS]


def test_without_saving_an_epochs_end_one_checkpoint_is_written(tmp_path):
    options = {"save_strategy": "no", "load_best_model_at_end": False}
    stopped = make_trainer(tmp_path, [Send("on_step_end", STEPS, signal.SIGINT)], **options)
    with pytest.raises(TrainingInterrupted):
        train(stopped)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "ECHO", -1.0)
    twice = Send("on_step_begin", 6, signal.SIGINT, signal.SIGINT)
    with pytest.raises(
        TrainingInterrupted, match=f"last checkpoint is {tmp_path}/checkpoint-{STEPS}:"
    ):
        train(make_trainer(tmp_path, [twice]))
    assert not (tmp_path / "checkpoint-7").exists()


def test_the_echo_of_a_launcher_is_no_second_signal(tmp_path):
    twice = Send("on_step_begin", 6, signal.SIGINT, signal.SIGTERM)
    with pytest.raises(TrainingInterrupted, match=f"last checkpoint is {tmp_path}/checkpoint-7:"):
        train(make_trainer(tmp_path, [twice]))


def test_a_stop_before_any_checkpoint_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "ECHO", -1.0)
    twice = Send("on_step_begin", 1, signal.SIGINT, signal.SIGINT)
    with pytest.raises(
        TrainingInterrupted, match="No checkpoint was saved yet: run the same command"
    ):
        train(make_trainer(tmp_path, [twice]))


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals(make_trainer(tmp_path)):
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_sets_no_handler(tmp_path):
    trainer, found = make_trainer(tmp_path), []

    def run() -> None:
        with stop_on_signals(trainer):
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_forked_worker_leaves_ctrl_c_to_the_training_process(capfd):
    callback = StopCallback("out")
    child = os.fork()
    if child == 0:
        callback.receive(signal.SIGINT, None)
        os._exit(9 if callback.received else 0)
    assert os.waitpid(child, 0)[1] == 0
    child = os.fork()
    if child == 0:
        callback.receive(signal.SIGTERM, None)
        os._exit(9)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    assert not callback.received
    assert "Stopping" not in capfd.readouterr().err


def test_it_says_what_there_is(tmp_path):
    assert resume_hint(str(tmp_path / "none")).startswith("No checkpoint")
    (tmp_path / ".checkpoint-9.partial").mkdir()
    assert resume_hint(str(tmp_path)).startswith("No checkpoint")
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-20").mkdir()
    assert "checkpoint-20:" in resume_hint(str(tmp_path))

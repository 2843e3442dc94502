"""A run that a full disk or a lost process ends says so, keeps what was saved, and can go on."""

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from noisy_xmodal.data import DatasetError
from noisy_xmodal.training.failures import RunError, explain_failures
from noisy_xmodal.training.interruption import TrainingInterrupted
from noisy_xmodal.training.run import run_script


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run's folder with a checkpoint, results, and what was being written when it ended."""
    for name in ("checkpoint-8", ".checkpoint-16.partial", "checkpoint-8/.partial", "divisions"):
        (tmp_path / "run" / name).mkdir(parents=True)
    for name in ("checkpoint-8/model.safetensors", "results.json", "divisions/a.json"):
        (tmp_path / "run" / name).write_text("{}")
    (tmp_path / "run" / ".checkpoint-16.partial" / "optimizer.safetensors").write_text("half")
    return tmp_path / "run"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


KEPT = ["checkpoint-8/model.safetensors", "divisions/a.json", "results.json"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is exceeded"),
        (OSError(errno.EROFS, "Read-only file system"), "it is read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission is denied"),
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            "the disk is full: free some space",
        ),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(out, error, reason):
    with pytest.raises(RunError) as caught, explain_failures(str(out)):
        raise error
    assert str(caught.value).startswith(f"{out} cannot be written: {reason}")
    assert f"last checkpoint is {out}/checkpoint-8:" in str(caught.value)
    assert "--resume_from_checkpoint True" in str(caught.value)
    assert files(out) == KEPT


def test_a_file_of_the_folder_is_its_own_and_another_is_not(out):
    inside = OSError(errno.EACCES, "Permission denied", str(out / "results.json"))
    with pytest.raises(RunError, match="permission is denied"), explain_failures(str(out)):
        raise inside
    outside = OSError(errno.EACCES, "Permission denied", "/data/images.npy")
    with pytest.raises(PermissionError) as caught, explain_failures(str(out)):
        raise outside
    assert caught.value is outside


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "DataLoader worker (pid 71) is killed by signal: Killed. \nmore",
            r"process died: DataLoader worker \(pid 71\) is killed by signal: Killed\. Memory .*"
            "fewer --dataloader_num_workers",
        ),
        ("DataLoader worker (pid(s) 71, 72) exited unexpectedly", r"\(pid\(s\) 71, 72\) exited"),
        (
            "[../gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:4155",
            "Another process of this run has ended",
        ),
        ("recv(sync): Connection reset by peer", "Another process of this run has ended"),
    ],
)
def test_a_process_that_died_is_named(out, text, said):
    explained = pytest.raises(RunError, match=rf"{said}.*checkpoint-8:")
    with explained, explain_failures(str(out)):
        raise RuntimeError(text)
    assert files(out) == KEPT


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        FileNotFoundError(errno.ENOENT, "No such file", "x"),
        SafetensorError("Error while deserializing header"),
        ValueError("DataLoader worker (pid 71) is killed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_other_error_passes_as_it_is(out, error):
    with pytest.raises(type(error)) as caught, explain_failures(str(out)):
        raise error
    assert caught.value is error


def test_a_stop_leaves_nothing_half_written(out):
    with pytest.raises(TrainingInterrupted), explain_failures(str(out)):
        raise TrainingInterrupted(2, str(out))
    assert files(out) == KEPT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrainingInterrupted(2, "out"), 130),
        (TrainingInterrupted(15, "out"), 143),
        (KeyboardInterrupt(), 130),
        (RunError("out cannot be written"), 1),
        (DatasetError("no rows"), 1),
        (OSError("gone"), 1),
    ],
)
def test_a_script_ends_by_a_line(capsys, error, code):
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == code
    is_stop = isinstance(error, KeyboardInterrupt)
    printed = capsys.readouterr().err
    assert printed.startswith("Stopped by SIG" if is_stop else f"error: {error}")
    assert printed.count("\n") == 1


def test_a_bug_keeps_its_traceback(capsys):
    with pytest.raises(SystemExit):
        run_script(lambda: 1 / 0)
    printed = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in printed
    path = Path(printed.split(" with ")[-1].strip().rstrip("."))
    assert "ZeroDivisionError: division by zero" in path.read_text()
    path.unlink()

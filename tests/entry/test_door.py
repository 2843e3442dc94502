"""How commands and scripts end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noisy_xmodal.entry.door import DEBUG, enter
from noisy_xmodal.entry.errors import Stopped


def ending(error: BaseException, **options: Any) -> int:
    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        enter(work, **options)
    return caught.value.code


def test_work_that_ends_well_gives_its_result() -> None:
    assert enter(lambda: {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            FileNotFoundError(2, "No such file", "x.csv"),
            1,
            "error: [Errno 2] No such file: 'x.csv'",
        ),
        (OSError("two\nlines \x1b[31m of it"), 1, "error: two lines  of it"),
        (KeyboardInterrupt(), 130, "Stopped by SIGINT. All is kept."),
        (Stopped(15), 143, "Stopped by SIGTERM. All is kept."),
        (Stopped(2, "Half of it is kept."), 130, "Half of it is kept."),
    ],
)
def test_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error, after_stop="All is kept.") == code
    printed = capsys.readouterr()
    assert printed.err == f"{line}\n"
    assert printed.out == ""


def test_a_fault_of_the_program_leaves_a_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ending(KeyError("x"), as_json=True) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert "unexpected KeyError in test_door.py, line" in answer["error"]
    assert "KeyError: 'x'" in Path(answer["traceback"]).read_text()
    assert printed.err.count("\n") == 1
    assert answer["traceback"] in printed.err


def test_debugging_shows_the_traceback_of_any_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEBUG, "1")
    assert ending(OSError("gone")) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), Stopped(15), KeyError(1)])
def test_json_is_answered_whatever_happens(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(error, as_json=True, spell=str.upper)
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"].isupper()


_SCRIPT = """
import signal, sys, time
sys.path.insert(0, {folder!r})
import importlib.util
from noisy_xmodal.entry.door import enter
def main():
    {body}
enter(main)
"""


def run(body: str, **options: Any) -> subprocess.Popen:
    script = _SCRIPT.format(folder=str(Path(__file__).parents[2] / "src"), body=body)
    # The package imports its models; the door alone needs none of them.
    stub = "import sys, types; p = types.ModuleType('noisy_xmodal'); "
    stub += f"p.__path__ = [{str(Path(__file__).parents[2] / 'src/noisy_xmodal')!r}]; "
    stub += "sys.modules['noisy_xmodal'] = p\n"
    return subprocess.Popen(
        [sys.executable, "-c", stub + script], stdout=-1, stderr=-1, text=True, **options
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = run("print('x\\n' * 200_000)")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 128 + 13


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_work_by_a_line(number: signal.Signals) -> None:
    process = run("print('ready', flush=True); time.sleep(60)")
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    assert process.communicate()[1] == f"Stopped by {number.name}.\n"
    assert process.returncode == 128 + number


def test_a_terminal_that_lacks_a_letter_shows_another() -> None:
    process = run("print('caf\\u00e9')", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert process.communicate()[0] == "caf?\n"
    assert process.returncode == 0

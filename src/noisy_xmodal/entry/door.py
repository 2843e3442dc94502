"""Run a command or script, and end it with one line and an exit code if it fails.

    enter(main)

Exit codes: 1 after an error, 128 + the signal number after a signal. With `NOISY_XMODAL_DEBUG=1` in
the environment the traceback of any error is printed as well.
"""

import json
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import Stopped, in_words, is_mistake, place_of
from .terminal import plain

DEBUG = "NOISY_XMODAL_DEBUG"
_SIGPIPE = 13  # the signal module lacks it on some systems


@dataclass(frozen=True)
class Ending:
    """How work ended before it was complete.

    Attributes:
        line: The line to print.
        exit_code: Exit code of the process.
        traceback: File with the traceback if the program is at fault, else None.
    """

    line: str
    exit_code: int = 1
    traceback: Path | None = None


def enter(
    work: Callable[[], Any],
    as_json: bool = False,
    after_stop: str = "",
    spell: Callable[[str], str] = str,
) -> Any:
    """Do the work of a command or script; an error or a signal ends it with one line.

    Args:
        work: The work.
        as_json: Also print an error to standard output, as a JSON object with the key `error`, and
            `traceback` for the file with a traceback.
        after_stop: What to say after a signal if the work itself says nothing.
        spell: Replaces the option names in a message by those of this interface.

    Returns:
        The result of the work.

    Raises:
        SystemExit: After an error or a signal.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # for terminals that lack a letter
    # The readers of `datasets` log what they raise; the line repeats it.
    logging.getLogger("datasets.packaged_modules").setLevel(logging.CRITICAL)
    try:
        with _stop_by_sigterm():
            result = work()
            sys.stdout.flush()
            return result
    except (Exception, KeyboardInterrupt) as error:
        if _is_unread(error):
            raise SystemExit(128 + _SIGPIPE) from None
        ending = ending_of(error, after_stop)
    tell(ending, as_json, spell)
    raise SystemExit(ending.exit_code)


def ending_of(error: BaseException, after_stop: str = "") -> Ending:
    """The line and the exit code for an error.

    Args:
        error: The error that ended the work.
        after_stop: As for `enter`.
    """
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        number = getattr(error, "number", signal.SIGINT)
        line = str(error) or f"Stopped by {signal.Signals(number).name}. {after_stop}".strip()
        return Ending(line, 128 + number)
    if is_mistake(error):
        return Ending(f"error: {in_words(error)}")
    path = _write_traceback(error)
    how = f"with {path}" if path else f"with the output of {DEBUG}=1"
    line = (
        f"error: unexpected {type(error).__name__} in {place_of(error)}: {in_words(error)}. This "
        f"is probably a bug of noisy-xmodal: please report it, {how}."
    )
    return Ending(line, traceback=path)


def tell(ending: Ending, as_json: bool = False, spell: Callable[[str], str] = str) -> None:
    """Print how work ended: as a line, and as JSON if requested.

    Args:
        ending: How it ended.
        as_json: See `enter`.
        spell: See `enter`.
    """
    line = spell(ending.line)
    if as_json:
        answer = {"error": line.removeprefix("error: ")}
        if ending.traceback is not None:
            answer["traceback"] = str(ending.traceback)
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        sys.stdout.flush()
    print(plain(line), file=sys.stderr)


def _write_traceback(error: BaseException) -> Path | None:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="noisy-xmodal-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return None
    return Path(file.name)


def _is_unread(error: BaseException) -> bool:
    """Whether the reader of standard output has exited, as `| head` does."""
    if not isinstance(error, BrokenPipeError) or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not poll.poll(0):
        return False  # it was another pipe
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # else Python reports the pipe again at exit
    return True


@contextmanager
def _stop_by_sigterm() -> Iterator[None]:
    """Within this context SIGTERM raises `Stopped`, like Ctrl-C raises KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (None, signal.SIG_IGN):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked worker of a data loader
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Stopped(number)

    process = os.getpid()
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

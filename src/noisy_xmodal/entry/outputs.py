"""Checks of output files, and a lock against a second process that writes to them."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

Check = Callable[[Path], bool]


def check_output(path: str | Path, option: str, suffix: str, is_own: Check | None = None) -> Path:
    """Check that a file can be written, before any long work. Nothing is left behind.

    Args:
        path: The file.
        option: The option that names it, such as "--output".
        suffix: The suffix that it must have.
        is_own: Whether an existing file was written by such a command before; None if any file may
            be replaced.

    Returns:
        The path.

    Raises:
        ValueError: It is a folder, has another suffix, cannot be written, or is another kind of
            file.
    """
    path = Path(path)
    if os.path.isdir(path):  # accepts names that pathlib refuses
        raise ValueError(f"{option} is {path}, a folder: give a file that ends in {suffix}")
    if path.suffix.lower() != suffix:
        raise ValueError(f"{option} is {path}: give a file that ends in {suffix}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{option} is {path}, which is not a regular file: give another {option}")
    check_writable(path, option)
    if is_own is not None and path.exists() and not is_own(path):
        raise ValueError(
            f"{option} {path} was not written by this command, and would be lost: give another "
            f"{option}, or remove the file"
        )
    return path


def check_writable(path: Path, option: str, folder: bool = False) -> None:
    """Check that a file or folder can be written, without leaving a trace.

    Args:
        path: The file or folder.
        option: The option that names it.
        folder: Whether it is a folder.

    Raises:
        ValueError: It cannot be written.
    """
    try:
        places = (path, *path.absolute().parents) if folder else path.absolute().parents
        place = next(place for place in places if place.exists())
        path.exists()  # raises an error for impossible names
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{option} {path} cannot be written: {reason}. Give another {option}"
        ) from error


def is_summary(path: Path) -> bool:
    """Whether a file is the JSON summary of an audit or a search."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and (
        "wrong_share" in content or {"query", "results"} <= set(content)
    )


@contextmanager
def only_one(*paths: str | Path | None) -> Iterator[None]:
    """Lock output files or folders, so that no other process writes to them.

    The system releases the locks when the process ends, even if it is killed.

    Args:
        paths: The files and folders; None is skipped.

    Raises:
        ValueError: Another process holds one of the locks.
    """
    with ExitStack() as stack:
        for path in (Path(one).absolute() for one in paths if one is not None):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
            try:
                lock.acquire()
            except Timeout as error:
                raise ValueError(
                    f"another process writes to {path} now: wait until it ends, or give another "
                    "place"
                ) from error
            stack.callback(_release, lock)
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Lock an output file, after the process that holds its lock.

    Args:
        path: The file.
    """
    lock = FileLock(path.absolute().with_name(f".{path.name}.lock"))
    with lock:
        yield
        Path(lock.lock_file).unlink(missing_ok=True)


def _release(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)  # while it is held, so that no other is removed
    lock.release()

"""Files that a command is to write: seen to be writable, and kept from a second command."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

Check = Callable[[Path], bool]


def check_output(path: str | Path, option: str, suffix: str, is_own: Check | None = None) -> Path:
    """See that a file can be written, before any long work. Nothing is left behind.

    Args:
        path: The file.
        option: What it is called at the interface, such as "--output".
        suffix: The ending that it must have.
        is_own: Tells whether a file that is there was written by such a command before; None where
            any file of that name may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: It is a folder, ends otherwise, cannot be written, or is a file of something
            else.
    """
    path = Path(path)
    if os.path.isdir(path):  # which takes names that no system does, as pathlib does not
        raise ValueError(f"{option} is {path}, a folder: give a file that ends in {suffix}")
    if path.suffix.lower() != suffix:
        raise ValueError(f"{option} is {path}: give a file that ends in {suffix}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{option} is {path}, which is no plain file: give another {option}")
    check_writable(path, option)
    if is_own is not None and path.exists() and not is_own(path):
        raise ValueError(
            f"{option} {path} is a file that this command has not written, and would be lost: give "
            f"another {option}, or remove it"
        )
    return path


def check_writable(path: Path, option: str) -> None:
    """See that something can be written beside a file or folder; nothing is left behind.

    Args:
        path: The file or folder.
        option: What it is called at the interface.

    Raises:
        ValueError: Nothing can be written there.
    """
    folder = path.absolute().parent
    made = [one for one in (folder, *folder.parents) if not os.path.exists(one)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{path.name}.{os.getpid()}.probe"
        probe.write_bytes(b"")
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{option} {path} cannot be written: {reason}. Give another {option}"
        ) from error
    finally:
        for one in made:
            if os.path.isdir(one) and not any(one.iterdir()):
                one.rmdir()


def is_summary(path: Path) -> bool:
    """Whether a file is the JSON that an audit or a search writes beside its output."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (
        "wrong_share" in found or {"query", "results"} <= set(found)
    )


@contextmanager
def only_one(*paths: str | Path | None) -> Iterator[None]:
    """Within it, no other process writes to these files or folders.

    The lock is the system's: it ends with the process, however that ends.

    Args:
        paths: What is to be written; None is left out.

    Raises:
        ValueError: Another process writes to one of them now.
    """
    with ExitStack() as stack:
        for path in (Path(given).absolute() for given in paths if given is not None):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
            try:
                lock.acquire()
            except Timeout as error:
                raise ValueError(
                    f"another process writes to {path} now: wait for its end, or give another place"
                ) from error
            stack.callback(_give_back, lock)
        yield


def _give_back(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)  # while it is held, so that no other is removed
    lock.release()

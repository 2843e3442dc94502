"""Tasks that processes share by files: a task is done once its result exists.

A process locks a task before it works on it. The system releases the locks of a process that ends,
even if it is killed, so that another process takes its tasks. Processes may be added at any time,
on any machine that sees the same folder and honours locks there (`flock`).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

#: Seconds between two looks for tasks that other processes left.
_PAUSE = 0.2


def claim_tasks(
    names: Iterable[str],
    is_done: Callable[[str], bool],
    locks: Path,
) -> Iterator[str]:
    """Yield tasks that are not done, each to one process at a time, until all are done.

    Args:
        names: Names of the tasks, as names of files.
        is_done: Whether a task is done.
        locks: Folder of the locks.

    Yields:
        Names of tasks for this process. Its results must exist when the next one is taken.
    """
    locks.mkdir(parents=True, exist_ok=True)
    missing = list(names)
    while missing := [name for name in missing if not is_done(name)]:
        is_idle = True
        for name in missing:
            if is_done(name):
                continue
            lock = FileLock(locks / f"{name}.lock", blocking=False)
            try:
                lock.acquire()
            except Timeout:
                continue
            try:
                if not is_done(name):
                    is_idle = False
                    yield name
            finally:
                lock.release()
        if is_idle:
            time.sleep(_PAUSE)

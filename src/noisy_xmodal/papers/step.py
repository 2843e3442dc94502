"""Run a script of `examples/` while its output folder is claimed.

    python -m noisy_xmodal.papers.step FOLDER RESULT COMMAND SCRIPT OPTIONS...

The process that does the work holds the lock, so a claim ends with it, however it ends, and one
whose starter was killed keeps it. A training run that was begun goes on. Lock and record (COMMAND
and the seconds that it took) are beside the folder.
"""

import os
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ..files import read_json, remove_folder, write_json

#: Exit code where another process has the claim.
BUSY = os.EX_TEMPFAIL if hasattr(os, "EX_TEMPFAIL") else 75


def beside(folder: Path, ending: str) -> Path:
    """A file beside an output folder: its lock, its log or its record."""
    return folder.with_name(f"{folder.name}{ending}")


def main(argv: Sequence[str]) -> int:
    """Run the script, unless its result is there.

    Args:
        argv: Output folder, result file, what identifies the run, the script, and its options.

    Returns:
        0, or `BUSY` if another process has the claim. The script may also end the process.
    """
    folder, result = map(Path, argv[:2])
    try:
        with FileLock(beside(folder, ".lock"), timeout=0):
            if not result.is_file():
                _run(folder, result, *argv[2:])
    except Timeout:
        return BUSY
    return 0


def _run(folder: Path, result: Path, command: str, script: str, *options: str) -> None:
    """Run the script, record its seconds, and remove the checkpoints of a finished training."""
    checkpoints = list(folder.glob("checkpoint-*"))
    resume = ["--resume_from_checkpoint", "True"] if checkpoints and not _evaluates(options) else []
    path = beside(folder, ".json")
    record = read_json(path) if path.is_file() else {}
    own = record.setdefault(result.name, {"command": command, "seconds": 0.0})
    write_json(path, record)
    started = time.perf_counter()
    sys.argv = [script, *options, *resume]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        own["seconds"] = round(own["seconds"] + time.perf_counter() - started, 1)
        write_json(path, record)
    if result.is_file():
        for checkpoint in folder.glob("checkpoint-*"):
            remove_folder(checkpoint)


def _evaluates(options: Sequence[str]) -> bool:
    return "--output_dir" not in options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

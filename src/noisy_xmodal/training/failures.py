"""Failures of the environment: a full disk, a read-only folder, processes that died.

Each becomes a one-line message that says what was saved and how to resume.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from safetensors import SafetensorError

from .integrity import remove_leftovers
from .interruption import resume_hint

CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is exceeded: free some space",
    errno.EROFS: "it is read-only: mount it for writing",
    errno.EACCES: "permission is denied: change its mode or owner",
    errno.EPERM: "permission is denied: change its mode or owner",
    errno.EIO: "the device fails: check it",
}


class RunError(RuntimeError):
    """The environment ended a run early; the message says how to resume."""


@contextmanager
def explain_failures(output_dir: str) -> Iterator[None]:
    """Convert failures of the disk or of other processes to a `RunError`.

    Incomplete files are removed; complete ones are kept.

    Args:
        output_dir: Folder of the run.

    Raises:
        RunError: After such a failure; other errors are not converted.
    """
    try:
        yield
    except (KeyboardInterrupt, OSError, SafetensorError, RuntimeError) as error:
        if PartialState().is_main_process:
            remove_leftovers(output_dir)
        reason = _write_failure(error, output_dir) or _process_failure(error)
        if reason is None:
            raise
        raise RunError(f"{reason} {resume_hint(output_dir)}") from error


def _write_failure(error: BaseException, output_dir: str) -> str | None:
    """Why a file in the folder could not be written; None for another file or failure."""
    number = None
    if isinstance(error, OSError):
        name = error.filename
        inside = name is None or Path(os.fsdecode(name)).resolve().is_relative_to(
            Path(output_dir).resolve()
        )
        number = error.errno if inside else None
    elif isinstance(error, SafetensorError):
        match = re.search(r"os error (\d+)", str(error))
        number = int(match[1]) if match else None
    reason = CANNOT_WRITE.get(number or 0)
    return f"{output_dir} cannot be written: {reason}." if reason else None


def _process_failure(error: BaseException) -> str | None:
    """What happened to another process; None for another failure."""
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if re.match(r"DataLoader worker \(pid", text):
        return (
            f"A data loader process died: {text.splitlines()[0].rstrip('. ')}. Memory has often "
            "run out: use fewer --dataloader_num_workers."
        )
    if re.search(r"[Cc]onnection (was )?(closed|reset)( by)?( remote)? ?peer", text):
        return "Another process of this run has ended; see its own message for the reason."
    return None

"""Failures of the environment: a full disk, a read-only folder, processes that died.

Each becomes a one-line message that says what was saved and how to resume.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from safetensors import SafetensorError
from transformers import TrainingArguments

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


def check_output_folder(args: TrainingArguments) -> None:
    """Check before any long work that the output folder is writable.

    Args:
        args: Options of the run.

    Raises:
        RunError: If it is not a folder or not writable.
    """
    if not args.should_save:
        return
    folder = Path(args.output_dir)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise RunError(
            f"--output_dir {folder} is not a folder: {existing} is a file. Give another "
            "--output_dir."
        )
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        reason = CANNOT_WRITE.get(error.errno or 0, error.strerror)
        raise RunError(
            f"--output_dir {folder} cannot be written: {reason}, or give another --output_dir."
        ) from error


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
    except KeyboardInterrupt:
        remove_partial(output_dir)
        raise
    except (OSError, SafetensorError) as error:
        reason = _write_failure(error, output_dir)
        if reason is None:
            raise
        remove_partial(output_dir)
        raise RunError(
            f"{output_dir} cannot be written: {reason}. {resume_hint(output_dir)}"
        ) from error
    except RuntimeError as error:
        reason = _process_failure(error)
        if reason is None:
            raise
        remove_partial(output_dir)
        raise RunError(f"{reason} {resume_hint(output_dir)}") from error


def remove_partial(output_dir: str) -> None:
    """Remove incomplete files and folders, which are named `.*.partial`, in the main process.

    Args:
        output_dir: Folder of the run.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_rank() > 0:
        return
    for pattern in (".partial", ".*.partial"):
        for path in list(Path(output_dir).rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _write_failure(error: Exception, output_dir: str) -> str | None:
    """Why a file in the folder could not be written; None for another file or failure."""
    if isinstance(error, OSError):
        name = error.filename
        inside = name is None or Path(os.fsdecode(name)).resolve().is_relative_to(
            Path(output_dir).resolve()
        )
        return CANNOT_WRITE.get(error.errno or 0) if inside else None
    match = re.search(r"os error (\d+)", str(error))  # the message of safetensors
    return CANNOT_WRITE.get(int(match[1])) if match else None


def _process_failure(error: RuntimeError) -> str | None:
    """What happened to another process; None for another failure."""
    text = str(error)
    if re.match(r"DataLoader worker \(pid", text):
        return (
            f"A data loader process died: {text.splitlines()[0].rstrip('. ')}. Memory has often "
            "run out: use fewer --dataloader_num_workers."
        )
    if re.search(r"[Cc]onnection (was )?(closed|reset)( by)?( remote)? ?peer", text):
        return "Another process of this run has ended; see its own message for the reason."
    return None

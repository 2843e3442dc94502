"""What ends a run that is not the method's fault: a full disk, a read-only folder, lost processes.

Each is told in a line that says what was kept and how to go on.
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

from .interruption import how_to_go_on

CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "it is read-only: mount it for writing",
    errno.EACCES: "permission is denied: change its mode or owner",
    errno.EPERM: "permission is denied: change its mode or owner",
    errno.EIO: "the device fails: check it",
}


class RunError(RuntimeError):
    """A run ended early by something outside of it; the message says how to go on."""


def check_output_folder(args: TrainingArguments) -> None:
    """See that the output folder can be written, before any long work. Nothing is left in it.

    Args:
        args: Options of the run.

    Raises:
        RunError: If it is no folder, or nothing can be written to it.
    """
    if not args.should_save:
        return
    folder = Path(args.output_dir)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise RunError(
            f"--output_dir {folder} is no folder: {there} is a file. Give another --output_dir."
        )
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        reason = CANNOT_WRITE.get(error.errno or 0, error.strerror)
        raise RunError(
            f"--output_dir {folder} cannot be written: {reason}, or give another --output_dir."
        ) from error


@contextmanager
def failures_explained(output_dir: str) -> Iterator[None]:
    """Turn failures of the disk or of other processes within into a `RunError` that says so.

    What was half-written is removed; what was there before is kept.

    Args:
        output_dir: Folder of the run.

    Raises:
        RunError: After such a failure; every other error passes.
    """
    try:
        yield
    except KeyboardInterrupt:
        remove_partial(output_dir)
        raise
    except (OSError, SafetensorError) as error:
        reason = _why_not_written(error, output_dir)
        if reason is None:
            raise
        remove_partial(output_dir)
        raise RunError(
            f"{output_dir} cannot be written: {reason}. {how_to_go_on(output_dir)}"
        ) from error
    except RuntimeError as error:
        reason = _which_process_died(error)
        if reason is None:
            raise
        remove_partial(output_dir)
        raise RunError(f"{reason} {how_to_go_on(output_dir)}") from error


def remove_partial(output_dir: str) -> None:
    """Remove what was being written; nothing complete has such a name. The main process does.

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


def _why_not_written(error: Exception, output_dir: str) -> str | None:
    """The reason in words, None where it was another file or another failure."""
    if isinstance(error, OSError):
        name = error.filename
        inside = name is None or Path(os.fsdecode(name)).resolve().is_relative_to(
            Path(output_dir).resolve()
        )
        return CANNOT_WRITE.get(error.errno or 0) if inside else None
    found = re.search(r"os error (\d+)", str(error))  # safetensors has its own errors
    return CANNOT_WRITE.get(int(found[1])) if found else None


def _which_process_died(error: RuntimeError) -> str | None:
    """What happened to another process, None where it was another failure."""
    text = str(error)
    if re.match(r"DataLoader worker \(pid", text):
        return (
            f"A process that loads data died: {text.splitlines()[0].rstrip('. ')}. Often memory "
            "has run out: ask for fewer --dataloader_num_workers."
        )
    if re.search(r"[Cc]onnection (was )?(closed|reset)( by)?( remote)? ?peer", text):
        return "Another process of this run has ended; what it says itself is the reason."
    return None

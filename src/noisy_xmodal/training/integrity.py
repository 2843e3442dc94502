"""Detection of incomplete and damaged checkpoints, and their removal.

A checkpoint has a manifest, written last, with the size and the CRC-32 of each of its files. A
CRC-32 runs at 3 GB per second, faster than a disk, so all files are checked when a run resumes. The
manifest protects against accidents, not against an adversary.
"""

import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..files import read_json, remove_folder, write_json

MANIFEST_NAME = "manifest.json"

_BLOCK = 1 << 22


class CheckpointError(ValueError):
    """No checkpoint can be resumed from; the message names the file, the problem and a remedy."""


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """All checkpoints in an output folder, complete or not, sorted by step."""
    form = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")
    paths = (path for path in Path(output_dir).glob("*") if form.fullmatch(path.name))
    return sorted((path for path in paths if path.is_dir()), key=step_of)


def check_beginning(output_dir: str | Path, resume_from: str | bool | None) -> None:
    """Refuse an output folder that does not suit how a run begins, before any data are read.

    Args:
        output_dir: The output folder.
        resume_from: A checkpoint, True (or "True") for the newest one in the folder, or None.

    Raises:
        FileExistsError: If a new run would mix its checkpoints with those of another one.
        CheckpointError: If there is no checkpoint to resume from.
    """
    folders = checkpoint_folders(output_dir)
    if folders and not resume_from:
        raise FileExistsError(
            f"{output_dir} holds checkpoints of an earlier run ({folders[-1].name}). Resume it by "
            "--resume_from_checkpoint True, or give another --output_dir."
        )
    if not folders and resume_from in (True, "True"):
        raise CheckpointError(
            f"{output_dir} has no checkpoint to resume from. Check --output_dir, restore a "
            "checkpoint from a copy, or leave out --resume_from_checkpoint to begin anew."
        )


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(folder.name.rsplit("-", 1)[1])


def write_manifest(folder: str | Path) -> None:
    """Write the manifest of a checkpoint, its last file."""
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "crc32": _crc32(path)}
        for path in _files(folder)
        if path.name != MANIFEST_NAME
    }
    write_json(folder / MANIFEST_NAME, {"files": files})


def find_damage(folder: str | Path) -> str | None:
    """The first problem of a checkpoint, with the name of the file; None if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    if not any(_files(folder)):
        return "the folder is empty"
    if not (folder / MANIFEST_NAME).is_file():
        return f"{MANIFEST_NAME} is missing"
    try:
        listed = {
            name: (int(facts["size"]), str(facts["crc32"]))
            for name, facts in read_json(folder / MANIFEST_NAME)["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{MANIFEST_NAME} is not a manifest"
    for name, (size, crc32) in listed.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes, but {size:,} were written"
        if _crc32(path) != crc32:
            return f"{name} has changed since it was written"
    return None


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def _crc32(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def remove_leftovers(output_dir: str | Path) -> None:
    """Remove checkpoints and models that an earlier run was writing or removing as it ended."""
    folder = Path(output_dir)
    for path in [*folder.glob(f".{PREFIX_CHECKPOINT_DIR}-*.partial"), folder / ".partial"]:
        shutil.rmtree(path, ignore_errors=True)


def rotate(output_dir: str | Path, limit: int | None, kept: Sequence[Path]) -> None:
    """Remove the oldest checkpoints above a limit.

    Args:
        output_dir: Folder of the checkpoints.
        limit: Number of checkpoints to keep; all if None or 0.
        kept: Checkpoints that are never removed: the latest and the best.
    """
    if not limit or limit < 0:
        return
    folders = checkpoint_folders(output_dir)
    names = {path.name for path in kept}
    removable = [path for path in folders if path.name not in names]
    n_surplus = len(folders) - max(limit, len(folders) - len(removable))
    for path in removable[: max(n_surplus, 0)]:
        remove_folder(path)

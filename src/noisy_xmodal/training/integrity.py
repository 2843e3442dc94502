"""Detection of incomplete and damaged checkpoints, and their removal.

A checkpoint has a manifest, written last, with the size and the CRC-32 of each of its files. Sizes
reveal missing, truncated and foreign files, but not a flipped bit in the weights. A CRC-32 runs at
3 GB per second, faster than a disk, so all files are checked when a run resumes. Only sizes are
checked to decide what to delete first. The manifest protects against accidents, not against an
adversary.

A checkpoint without a manifest is complete if no required file is missing, all JSON parses, and
every safetensors file has the size in its header.
"""

import json
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..files import read_json, remove_folder, write_json

MANIFEST_NAME = "manifest.json"
MODEL_NAME, MODEL_INDEX_NAME = "model.safetensors", "model.safetensors.index.json"

_BLOCK = 1 << 22


class CheckpointError(ValueError):
    """No checkpoint can be resumed from; the message names the file, the problem and a remedy."""


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """All checkpoints in an output folder, complete or not, sorted by step."""
    form = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")
    paths = (path for path in Path(output_dir).glob("*") if form.fullmatch(path.name))
    return sorted((path for path in paths if path.is_dir()), key=step_of)


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


def find_damage(
    folder: str | Path, needed: Sequence[str] = (), contents: bool = True
) -> str | None:
    """Check a checkpoint.

    Args:
        folder: The checkpoint.
        needed: Files that it must have besides a model.
        contents: Whether to check the CRC-32 of all files; False checks only names, sizes and
            headers.

    Returns:
        The first problem, with the name of the file; None if there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    if not any(_files(folder)):
        return "the folder is empty"
    problem = _check_manifest(folder, contents)
    if problem is not None:
        return problem
    for name in needed:
        if not (folder / name).is_file():
            return f"{name} is missing"
    if not (folder / MODEL_INDEX_NAME).is_file() and not (folder / MODEL_NAME).is_file():
        return f"{MODEL_NAME} is missing"
    return next(filter(None, map(_check_format, _files(folder))), None) or _check_shards(folder)


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def _crc32(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _check_manifest(folder: Path, contents: bool) -> str | None:
    if not (folder / MANIFEST_NAME).is_file():
        return None  # of an older version
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
        if contents and _crc32(path) != crc32:
            return f"{name} has changed since it was written"
    return None


def _check_format(path: Path) -> str | None:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(str(path), framework="np"):
                pass
    except ValueError as error:  # invalid JSON or encoding
        return f"{path.name} is not valid JSON: {error}"
    except (SafetensorError, OSError) as error:
        return f"{path.name} is not a complete safetensors file: {error}"
    return None


def _check_shards(folder: Path) -> str | None:
    path = folder / MODEL_INDEX_NAME
    names = set(read_json(path)["weight_map"].values()) if path.is_file() else set()
    missing = sorted(name for name in names if not (folder / name).is_file())
    return f"{missing[0]} is missing" if missing else None


def find_misfit(folder: str | Path, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Check that the weights of a checkpoint fit a model.

    Args:
        folder: A complete checkpoint.
        shapes: Shapes of the model's parameters.

    Returns:
        The first difference, or None.
    """
    path = Path(folder) / MODEL_NAME
    if not path.is_file():
        return None
    with safe_open(str(path), framework="np") as file:
        for name in sorted(set(file.keys()) & set(shapes)):
            shape = tuple(file.get_slice(name).get_shape())
            if shape != shapes[name]:
                return (
                    f"{MODEL_NAME}: {name!r} has the shape {shape}, this run needs {shapes[name]}; "
                    "resume with the model that wrote the checkpoint"
                )
    return None


def remove_leftovers(output_dir: str | Path) -> list[str]:
    """Remove folders that a killed run was writing or deleting; returns their names."""
    folder, names = Path(output_dir), []
    for path in [*folder.glob(f".{PREFIX_CHECKPOINT_DIR}-*.partial"), folder / ".partial"]:
        if path.is_dir():
            shutil.rmtree(path)
            names.append(path.name)
    return names


def rotate(output_dir: str | Path, limit: int | None, kept: Sequence[Path], **check: Any) -> None:
    """Remove checkpoints above a limit: damaged ones first, then the oldest.

    Args:
        output_dir: Folder of the checkpoints.
        limit: Number of checkpoints to keep; all if None or 0.
        kept: Checkpoints that are never removed: the latest and the best.
        check: Options of `find_damage`.
    """
    if not limit or limit < 0:
        return
    folders = checkpoint_folders(output_dir)
    names = {path.name for path in kept}
    removable = [path for path in folders if path.name not in names]
    n_surplus = len(folders) - max(limit, len(folders) - len(removable))
    if n_surplus > 0:
        removable.sort(key=lambda path: find_damage(path, contents=False, **check) is None)
        for path in removable[:n_surplus]:
            remove_folder(path)

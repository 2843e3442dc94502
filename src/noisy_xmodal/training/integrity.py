"""Which checkpoints of a run are whole, and what is wrong with the others.

A checkpoint carries a manifest of the size and the CRC-32 of each of its files, which is written
last. Sizes alone would find files that are missing, cut short or another run's, but a flipped bit
in the weights would train on unseen. A CRC-32 runs at 3 GB a second, faster than a disk writes the
files or reads them to be loaded, so all of them are read when a checkpoint is resumed from; what is
deleted first is decided by sizes. The guard is against accidents, not against an adversary.

Checkpoints without a manifest count as whole if no file that training needs is missing, all JSON
parses, and every safetensors file has the size that its header says.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .files import read_json, sync, write_json

MANIFEST_NAME = "manifest.json"
MODEL_NAME, MODEL_INDEX_NAME = "model.safetensors", "model.safetensors.index.json"

_BLOCK = 1 << 22


class CheckpointError(ValueError):
    """There is nothing to resume from; says what is wrong with which file, and what to do."""


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """All checkpoints in an output folder, by their step, whole or not."""
    form = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")
    found = [path for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    return sorted((path for path in found if form.fullmatch(path.name)), key=step_of)


def step_of(folder: Path) -> int:
    """The step that a checkpoint is of, by its name."""
    return int(folder.name.rsplit("-", 1)[1])


def write_manifest(folder: str | Path) -> None:
    """List the files that a checkpoint has, as the last of them."""
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
    """What is wrong with a checkpoint.

    Args:
        folder: The checkpoint.
        needed: Files that it must have besides a model.
        contents: Whether to read all files, to see that no bit has changed; False looks at names,
            sizes and headers.

    Returns:
        The first damage found, with the name of the file, or None.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    if not any(_files(folder)):
        return "the folder is empty"
    found = _check_manifest(folder, contents)
    if found is not None:
        return found
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
        return None  # written before there were any
    try:
        listed = {
            name: (int(facts["size"]), str(facts["crc32"]))
            for name, facts in read_json(folder / MANIFEST_NAME)["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{MANIFEST_NAME} is no manifest"
    for name, (size, crc32) in listed.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes, {size:,} were written"
        if contents and _crc32(path) != crc32:
            return f"{name} has other content than was written"
    return None


def _check_format(path: Path) -> str | None:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(str(path), framework="np"):
                pass
    except ValueError as error:  # of JSON and of its encoding
        return f"{path.name} is not valid JSON: {error}"
    except (SafetensorError, OSError) as error:
        return f"{path.name} is no whole safetensors file: {error}"
    return None


def _check_shards(folder: Path) -> str | None:
    path = folder / MODEL_INDEX_NAME
    names = set(read_json(path)["weight_map"].values()) if path.is_file() else set()
    missing = sorted(name for name in names if not (folder / name).is_file())
    return f"{missing[0]} is missing" if missing else None


def find_misfit(folder: str | Path, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Whether a checkpoint's weights are another model's.

    Args:
        folder: A whole checkpoint.
        shapes: The shapes of the parameters that it is for.
    """
    path = Path(folder) / MODEL_NAME
    if not path.is_file():
        return None
    with safe_open(str(path), framework="np") as file:
        for name in sorted(set(file.keys()) & set(shapes)):
            found = tuple(file.get_slice(name).get_shape())
            if found != shapes[name]:
                return (
                    f"{MODEL_NAME}: {name!r} has the shape {found}, this run needs {shapes[name]}; "
                    "resume with the model that wrote the checkpoint"
                )
    return None


def remove_leftovers(output_dir: str | Path) -> list[str]:
    """Remove what a killed run was writing or deleting; its names."""
    folder, found = Path(output_dir), []
    for path in [*folder.glob(f".{PREFIX_CHECKPOINT_DIR}-*.partial"), folder / ".partial"]:
        if path.is_dir():
            shutil.rmtree(path)
            found.append(path.name)
    return found


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; one that is half removed does not look like one."""
    aside = folder.with_name(f".{folder.name}.old.partial")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def put_in_place(aside: Path, final: Path) -> None:
    """Turn a folder whose files are on the disk into a checkpoint."""
    if final.is_dir():
        remove_checkpoint(final)
    os.replace(aside, final)
    sync(final.parent)


def rotate(output_dir: str | Path, limit: int | None, kept: Sequence[Path], **check: Any) -> None:
    """Remove checkpoints above a limit: damaged ones first, then the oldest.

    Args:
        output_dir: Where they are.
        limit: Checkpoints to leave, all if None or 0.
        kept: Those that are never removed: the one just written, and the best.
        check: What `find_damage` is told.
    """
    if not limit or limit < 0:
        return
    folders = checkpoint_folders(output_dir)
    names = {path.name for path in kept}
    free = [path for path in folders if path.name not in names]
    n_surplus = len(folders) - max(limit, len(folders) - len(free))
    if n_surplus > 0:
        free.sort(key=lambda path: find_damage(path, contents=False, **check) is None)
        for path in free[:n_surplus]:
            remove_checkpoint(path)

"""What is wrong with a checkpoint is found and named, and what is removed leaves good ones."""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from noisy_xmodal import files
from noisy_xmodal.training import integrity


def write(folder: Path, size: int = 40) -> Path:
    """A checkpoint of the smallest kind."""
    folder.mkdir(parents=True)
    for name, seed in (("model", 0), ("optimizer", 1)):
        values = np.random.default_rng(seed).random((size, 3)).astype(np.float32)
        save_file({"values": values}, str(folder / f"{name}.safetensors"))
    files.write_json(folder / "trainer_state.json", {"global_step": 4})
    integrity.write_manifest(folder)
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def other_run(path: Path) -> None:
    folder = write(path.parent.with_name("other"), size=41)
    shutil.copy(folder / path.name, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("model.safetensors", Path.unlink, "model.safetensors is missing"),
        ("optimizer.safetensors", Path.unlink, "optimizer.safetensors is missing"),
        ("manifest.json", Path.unlink, "manifest.json is missing"),
        ("model.safetensors", cut, "model.safetensors has"),
        ("optimizer.safetensors", empty, "optimizer.safetensors has 0 bytes"),
        ("trainer_state.json", cut, "trainer_state.json has"),
        ("model.safetensors", lambda path: flip(path, 6), "model.safetensors has changed"),
        ("model.safetensors", lambda path: flip(path, -9), "model.safetensors has changed"),
        ("trainer_state.json", lambda path: flip(path, 0), "trainer_state.json has changed"),
        ("optimizer.safetensors", other_run, "optimizer.safetensors has"),
    ],
)
def test_damage_is_named(tmp_path, name, harm, message):
    folder = write(tmp_path / "checkpoint-4")
    assert integrity.find_damage(folder) is None
    harm(folder / name)
    assert message in integrity.find_damage(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": {"a": 3}}', '{"files": []}'])
def test_a_broken_manifest_is_damage(tmp_path, content):
    folder = write(tmp_path / "checkpoint-4")
    (folder / integrity.MANIFEST_NAME).write_text(content)
    assert integrity.find_damage(folder) == "manifest.json is not a manifest"


def test_missing_and_empty_folders_are_named(tmp_path):
    assert "no such folder" in integrity.find_damage(tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-5").mkdir()
    assert "empty" in integrity.find_damage(tmp_path / "checkpoint-5")


def test_the_manifest_lists_sizes_and_sums_of_every_file(tmp_path):
    folder = write(tmp_path / "checkpoint-4")
    (folder / "deep").mkdir()
    (folder / "deep/file").write_bytes(b"x" * 9_000_000)  # more than is read at once
    integrity.write_manifest(folder)
    listed = json.loads((folder / integrity.MANIFEST_NAME).read_text())["files"]
    found = {path for path in folder.rglob("*") if path.is_file()}
    found -= {folder / integrity.MANIFEST_NAME}
    assert {folder / name for name in listed} == found
    for path in found:
        facts = listed[path.relative_to(folder).as_posix()]
        content = path.read_bytes()
        assert facts == {"size": len(content), "crc32": f"{zlib.crc32(content):08x}"}


def test_checkpoints_come_by_step_and_nothing_else_does(tmp_path):
    for name in ("checkpoint-10", "checkpoint-9", ".checkpoint-11.partial", "checkpoint-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-12").write_text("a file")
    names = [path.name for path in integrity.checkpoint_folders(tmp_path)]
    assert names == ["checkpoint-9", "checkpoint-10"]
    assert integrity.checkpoint_folders(tmp_path / "none") == []


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    for name in ("checkpoint-9", ".checkpoint-11.partial", ".checkpoint-3.old.partial", ".partial"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "config.json").write_text("{}")
    integrity.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-9", "config.json"}


@pytest.mark.parametrize(
    ("steps", "limit", "kept", "left"),
    [
        ([2, 4, 6, 8], 2, [8], [6, 8]),
        ([2, 4, 6, 8], 2, [8, 2], [2, 8]),
        ([2, 4, 6, 8], 1, [8, 2], [2, 8]),
        ([2, 4, 6, 8], None, [8], [2, 4, 6, 8]),
        ([2, 4, 6, 8], 0, [8], [2, 4, 6, 8]),
        ([2, 4, 6], 1, [4], [4]),  # the one just written is not the newest by its name
        ([8, 10], 2, [10], [8, 10]),
    ],
)
def test_rotation_leaves_the_newest_and_those_to_keep(tmp_path, steps, limit, kept, left):
    for step in steps:
        write(tmp_path / f"checkpoint-{step}")
    integrity.rotate(tmp_path, limit, [tmp_path / f"checkpoint-{step}" for step in kept])
    assert [integrity.step_of(path) for path in integrity.checkpoint_folders(tmp_path)] == left
    assert not list(tmp_path.glob(".*"))

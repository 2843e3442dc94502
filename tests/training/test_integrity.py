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

NEEDED = ("trainer_state.json", "optimizer.safetensors")


def write(folder: Path, size: int = 40, manifest: bool = True) -> Path:
    """A checkpoint of the smallest kind."""
    folder.mkdir(parents=True)
    for name, seed in (("model", 0), ("optimizer", 1)):
        values = np.random.default_rng(seed).random((size, 3)).astype(np.float32)
        save_file({"values": values}, str(folder / f"{name}.safetensors"))
    files.write_json(folder / "trainer_state.json", {"global_step": 4})
    if manifest:
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


#: (file, what happens to it, what is said of it, whether it is found without a manifest)
DAMAGE = [
    ("model.safetensors", Path.unlink, "model.safetensors is missing", True),
    ("optimizer.safetensors", Path.unlink, "optimizer.safetensors is missing", True),
    ("trainer_state.json", Path.unlink, "trainer_state.json is missing", True),
    ("model.safetensors", cut, "model.safetensors has", True),
    ("optimizer.safetensors", empty, "optimizer.safetensors has 0 bytes", True),
    ("trainer_state.json", cut, "trainer_state.json has", True),
    ("model.safetensors", lambda path: flip(path, 6), "model.safetensors has changed", True),
    ("model.safetensors", lambda path: flip(path, 9), "model.safetensors has changed", True),
    ("model.safetensors", lambda path: flip(path, -9), "model.safetensors has changed", False),
    ("trainer_state.json", lambda path: flip(path, 0), "trainer_state.json has changed", True),
    ("optimizer.safetensors", other_run, "optimizer.safetensors has", False),
]


def test_a_whole_checkpoint_is_whole_with_and_without_a_manifest(tmp_path):
    for manifest in (True, False):
        folder = write(tmp_path / str(manifest), manifest=manifest)
        assert integrity.find_damage(folder, NEEDED) is None
        assert integrity.find_damage(folder, NEEDED, contents=False) is None


@pytest.mark.parametrize(("name", "harm", "message", "_"), DAMAGE)
def test_damage_is_named(tmp_path, name, harm, message, _):
    folder = write(tmp_path / "checkpoint-4")
    harm(folder / name)
    assert message in integrity.find_damage(folder, NEEDED)


@pytest.mark.parametrize(("name", "harm", "_", "is_found"), DAMAGE)
def test_damage_without_a_manifest_is_found_where_it_can_be(tmp_path, name, harm, _, is_found):
    folder = write(tmp_path / "checkpoint-4", manifest=False)
    harm(folder / name)
    found = integrity.find_damage(folder, NEEDED)
    assert (found is not None) == is_found
    assert found is None or name in found


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": {"a": 3}}', '{"files": []}'])
def test_a_broken_manifest_is_damage(tmp_path, content):
    folder = write(tmp_path / "checkpoint-4")
    (folder / integrity.MANIFEST_NAME).write_text(content)
    assert integrity.find_damage(folder) == "manifest.json is not a manifest"


def test_missing_and_empty_folders_are_named(tmp_path):
    assert "no such folder" in integrity.find_damage(tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-5").mkdir()
    assert "empty" in integrity.find_damage(tmp_path / "checkpoint-5")


def test_a_model_in_shards_needs_all_of_them(tmp_path):
    folder = write(tmp_path / "checkpoint-4", manifest=False)
    (folder / "model.safetensors").rename(folder / "model-1-of-2.safetensors")
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    files.write_json(folder / integrity.MODEL_INDEX_NAME, {"weight_map": shards})
    assert integrity.find_damage(folder) == "model-2-of-2.safetensors is missing"
    shutil.copy(folder / shards["a"], folder / shards["b"])
    assert integrity.find_damage(folder) is None


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


def test_sizes_alone_do_not_read_contents(tmp_path):
    folder = write(tmp_path / "checkpoint-4")
    flip(folder / "model.safetensors", -9)
    assert integrity.find_damage(folder, NEEDED, contents=False) is None


def test_weights_of_another_model_do_not_fit(tmp_path):
    folder = write(tmp_path / "checkpoint-4")
    assert integrity.find_misfit(folder, {"values": (40, 3), "tied": (1,)}) is None
    found = integrity.find_misfit(folder, {"values": (41, 3)})
    assert "'values' has the shape (40, 3), this run needs (41, 3)" in found


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
    removed = integrity.remove_leftovers(tmp_path)
    assert sorted(removed) == [".checkpoint-11.partial", ".checkpoint-3.old.partial", ".partial"]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-9", "config.json"}


@pytest.mark.parametrize(
    ("steps", "damaged", "limit", "kept", "left"),
    [
        ([2, 4, 6, 8], [], 2, [8], [6, 8]),
        ([2, 4, 6, 8], [], 2, [8, 2], [2, 8]),
        ([2, 4, 6, 8], [], 1, [8, 2], [2, 8]),
        ([2, 4, 6, 8], [], None, [8], [2, 4, 6, 8]),
        ([2, 4, 6, 8], [], 0, [8], [2, 4, 6, 8]),
        ([2, 4, 6], [6], 2, [4], [2, 4]),  # the one just written is not the newest by its name
        ([2, 4, 6], [6], 1, [4], [4]),
        ([2, 4, 6, 8], [4], 3, [8], [2, 6, 8]),
        ([2, 4, 6, 8], [2, 6], 2, [8], [4, 8]),
        ([8, 10], [], 2, [10], [8, 10]),
    ],
)
def test_rotation_leaves_good_checkpoints(tmp_path, steps, damaged, limit, kept, left):
    for step in steps:
        folder = write(tmp_path / f"checkpoint-{step}")
        if step in damaged:
            cut(folder / "optimizer.safetensors")
    integrity.rotate(tmp_path, limit, [tmp_path / f"checkpoint-{step}" for step in kept])
    assert [integrity.step_of(path) for path in integrity.checkpoint_folders(tmp_path)] == left
    assert not list(tmp_path.glob(".*"))

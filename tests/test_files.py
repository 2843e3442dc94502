"""A path holds the old content or the new, whatever happens while it is written."""

import os
import shutil
from pathlib import Path

import pytest

from noisy_xmodal.files import atomic_write, remove_folder, write_json


def write(path: Path, text: str, folder: bool, shared: bool = False) -> None:
    with atomic_write(path, shared) as aside:
        if folder:
            aside.mkdir()
        (aside / "file" if folder else aside).write_text(text)


def read(path: Path) -> str:
    return (path / "file" if path.is_dir() else path).read_text()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("folder", [False, True])
def test_new_content_replaces_the_old(tmp_path: Path, folder: bool) -> None:
    for text in ("old", "new"):
        write(tmp_path / "deep" / "path", text, folder)
        assert read(tmp_path / "deep" / "path") == text
    assert names(tmp_path / "deep") == ["path"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_the_old_content(tmp_path: Path, folder: bool, shared: bool) -> None:
    write(tmp_path / "path", "old", folder)

    def break_off() -> None:
        with atomic_write(tmp_path / "path", shared) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert read(tmp_path / "path") == "old"
    assert names(tmp_path) == ["path"]


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "path", "old", folder=True)
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(source).name == ".path.partial":
            raise OSError("disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        write(tmp_path / "path", "new", folder=True)
    assert read(tmp_path / "path") == "old"
    assert names(tmp_path) == ["path"]


def test_what_a_killed_process_left_is_put_right(tmp_path: Path) -> None:
    write(tmp_path / ".path.old.partial", "old", folder=True)  # killed between the two renames
    write(tmp_path / ".path.partial", "half", folder=True)
    with atomic_write(tmp_path / "path") as aside:
        assert read(tmp_path / "path") == "old"
        assert not aside.exists()
        aside.mkdir()
    assert names(tmp_path) == ["path"]
    assert names(tmp_path / "path") == []


def test_processes_that_write_the_same_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "path"
    with atomic_write(path, shared=True) as first, atomic_write(path, shared=True) as second:
        for aside in (first, second):
            aside.mkdir()
            (aside / "file").write_text("the same")
        held = (second / "file").stat().st_ino
    assert (path / "file").stat().st_ino == held  # who opened the first folder keeps it
    assert names(tmp_path) == ["path"]


def test_a_folder_is_renamed_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "path", "old", folder=True)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    remove_folder(tmp_path / "path")
    assert names(tmp_path) == [".path.old.partial"]


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "path", {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "path", {"a": object()})
    assert names(tmp_path) == ["path"]

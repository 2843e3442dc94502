"""Outputs are refused before any work, and written by one process at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from noisy_xmodal.entry.outputs import check_output, check_writable, is_summary, only_one


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "a folder"),
        ("folder.json", "a folder"),
        ("out", r"ends in \.json"),
        ("out.txt", r"ends in \.json"),
        ("file/out.json", "cannot be written: "),
        ("/proc/out.json", "cannot be written: "),
        ("/dev/null", r"ends in \.json"),
        ("other.json", "not written by"),
        ("n" * 300 + ".json", "cannot be written: "),
        ("n" * 300 + "/out.json", "cannot be written: "),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("folder.json").mkdir()
    Path("file").write_text("none")
    Path("other.json").write_text("[1]")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=f"--out.*{why}"):
        check_output(name, "--out", ".json", is_summary)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "OUT.JSON"
    assert check_output(str(path), "--out", ".json", is_summary) == path
    assert not list(tmp_path.iterdir())
    for found in ({"query": "x", "results": []}, {"wrong_share": 0.5}):
        (tmp_path / "out.json").write_text(json.dumps(found))
        check_output(tmp_path / "out.json", "--out", ".json", is_summary)


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_folder_is_checked_without_a_trace(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name, "--output_dir", folder=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=f"{tmp_path / name} cannot be written: Not a directory"):
        check_writable(tmp_path / name, "--output_dir", folder=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_one_process_at_a_time_and_none_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, {!r}); import types; p = types.ModuleType('noisy_xmodal');"
        "p.__path__ = [{!r}]; sys.modules['noisy_xmodal'] = p\n"
        "from noisy_xmodal.entry.outputs import only_one\n"
        "with only_one({!r}): print('locked', flush=True); sys.stdin.read()"
    )
    source = Path(__file__).parents[2] / "src"
    path = tmp_path / "audit.parquet"
    held = subprocess.Popen(
        [sys.executable, "-c", code.format(str(source), str(source / "noisy_xmodal"), str(path))],
        stdin=-1,
        stdout=-1,
        text=True,
    )
    assert held.stdout.readline() == "locked\n"
    busy = r"another process writes to .*audit\.parquet now"
    with pytest.raises(ValueError, match=busy), only_one(None, path):
        raise AssertionError("two at once")
    held.kill()
    held.wait()
    with only_one(path, tmp_path / "clean"):
        pass
    assert not list(tmp_path.iterdir())

"""The real clients, in a process of their own, against the Hub of `loopback_hub`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from PIL import Image

from loopback_hub import LoopbackHub

CARD = """---
configs:
- config_name: clean
  data_files: [{split: train, path: clean/train-*.parquet}]
- config_name: noisy
  data_files: [{split: train, path: noisy/train-*.parquet}]
---
# Two pictures a configuration
"""

DATASET_CLIENT = """
import sys
from pathlib import Path
from datasets import get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfApi, HfFileSystem

api = HfApi()
assert api.whoami()["name"] == "tester"
for exist_ok in (False, True):
    api.create_repo("org/pictures", repo_type="dataset", exist_ok=exist_ok)
pushed = api.upload_folder(repo_id="org/pictures", folder_path=sys.argv[1], repo_type="dataset")
assert pushed.oid == api.dataset_info("org/pictures").sha
again = api.upload_folder(repo_id="org/pictures", folder_path=sys.argv[1], repo_type="dataset")
assert again.oid == pushed.oid, "a commit that changes nothing"

assert get_dataset_config_names("org/pictures") == ["clean", "noisy"]
for name, captions in (("clean", ["red 0", "red 1"]), ("noisy", ["blue 0", "blue 1"])):
    for streaming in (False, True):
        rows = list(load_dataset("org/pictures", name, split="train", streaming=streaming))
        assert [row["caption"] for row in rows] == captions
        assert [row["image"].size for row in rows] == [(8, 4), (8, 4)]
        color = (255, 0, 0) if name == "clean" else (0, 0, 255)
        assert all(row["image"].getpixel((3, 3)) == color for row in rows)

path = "clean/train-0.parquet"
(info,) = api.get_paths_info("org/pictures", path, repo_type="dataset")
assert info.lfs.size == info.size
with HfFileSystem().open(f"datasets/org/pictures/{path}", block_size=64) as file:
    file.seek(100)
    assert file.read(50) == (Path(sys.argv[1]) / path).read_bytes()[100:150]
for arguments, error in (
    (("org/pictures", "no_such"), ValueError),
    (("org/no_such",), DatasetNotFoundError),
    (("no_such",), DatasetNotFoundError),
):
    try:
        load_dataset(*arguments)
    except error as raised:
        assert "no_such" in str(raised)
    else:
        raise AssertionError(arguments)
try:
    load_dataset("org/pictures", "clean", revision="no_such")
except DatasetNotFoundError as raised:
    assert "Revision 'no_such'" in str(raised)
else:
    raise AssertionError("a revision that is not there")
"""

MODEL_CLIENT = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub import errors

def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error:
        return True
    raise AssertionError(f"{function.__name__}{arguments} raised no {error.__name__}")

api, source = HfApi(), Path(sys.argv[1])
name = api.create_repo("tiny", private=True).repo_id
assert name == "tester/tiny" and api.model_info(name).private
assert raises(errors.HfHubHTTPError, api.create_repo, name)
first = api.upload_folder(repo_id=name, folder_path=source)

for path in ("config.json", "model.safetensors", "divisions/epoch 1.json"):
    assert Path(hf_hub_download(name, path)).read_bytes() == (source / path).read_bytes()
snapshot = Path(snapshot_download(name))
assert snapshot.name == first.oid == api.list_repo_refs(name).branches[0].target_commit
for path in (path for path in source.rglob("*") if path.is_file()):
    assert (snapshot / path.relative_to(source)).read_bytes() == path.read_bytes()
infos = api.get_paths_info(name, ["config.json", "model.safetensors", "divisions", "no_such"])
assert {info.path: bool(getattr(info, "lfs", None)) for info in infos} == {
    "config.json": False, "model.safetensors": True, "divisions": False
}

second = api.upload_file(repo_id=name, path_or_fileobj=b"{}", path_in_repo="config.json")
api.delete_folder("divisions", name, commit_message="No divisions", parent_commit=second.oid)
assert set(api.list_repo_files(name)) == {
    ".gitattributes", "README.md", "config.json", "model.safetensors"
}
assert Path(hf_hub_download(name, "config.json")).read_bytes() == b"{}"
old = hf_hub_download(name, "config.json", revision=first.oid)
assert Path(old).read_bytes() == (source / "config.json").read_bytes()

assert raises(errors.RemoteEntryNotFoundError, hf_hub_download, name, "no_such.json")
assert raises(errors.RevisionNotFoundError, snapshot_download, name, revision="no_such")
assert raises(errors.RepositoryNotFoundError, hf_hub_download, "org/no_such", "config.json")
assert raises(errors.RepositoryNotFoundError, api.upload_folder, repo_id="a/b", folder_path=source)
assert raises(errors.HfHubHTTPError, api.upload_folder, repo_id=name, folder_path=source, token="x")
late = {"commit_message": "Late", "parent_commit": first.oid}
assert raises(errors.HfHubHTTPError, api.delete_file, "config.json", name, **late)
"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub
        assert not hub.problems


def run(hub: LoopbackHub, home: Path, code: str, folder: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=hub.environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, "\n".join([process.stderr, *hub.problems])


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_datasets_are_pushed_loaded_and_streamed(hub, tmp_path):
    source = tmp_path / "source"
    write(source, {"README.md": CARD.encode()})
    for name, color in (("clean", "red"), ("noisy", "blue")):
        images = [Image.new("RGB", (8, 4), color) for _ in range(2)]
        rows = datasets.Dataset.from_dict(
            {"image": images, "caption": [f"{color} 0", f"{color} 1"]}
        )
        rows.to_parquet(source / name / "train-0.parquet")
    run(hub, tmp_path / "home", DATASET_CLIENT, source)
    files = hub.files("org/pictures", "dataset")
    rules = files.pop(".gitattributes").decode().splitlines()
    assert "*.parquet filter=lfs diff=lfs merge=lfs -text" in rules
    assert files == {
        path: (source / path).read_bytes()
        for path in ("README.md", "clean/train-0.parquet", "noisy/train-0.parquet")
    }


def test_models_are_pushed_and_downloaded(hub, tmp_path):
    source = tmp_path / "source"
    files = {
        "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\n",
        "config.json": b'{"hidden_size": 8}',
        "model.safetensors": bytes(range(256)) * 1000,
        "divisions/epoch 1.json": b"[0.25]",
    }
    write(source, files)
    run(hub, tmp_path / "home", MODEL_CLIENT, source)
    assert hub.files("tester/tiny").keys() == {
        *(".gitattributes", "README.md", "config.json", "model.safetensors")
    }
    commits = hub.repositories["model", "tester/tiny"].commits
    assert len({commit.sha for commit in commits}) == 4
    assert commits[-1].title == "No divisions"


def test_what_the_hub_does_not_know_is_noted(tmp_path):
    code = """
from huggingface_hub import HfApi, errors
try:
    HfApi().list_repo_commits("org/name")
except errors.HfHubHTTPError as error:
    assert error.response.status_code == 404
"""
    with LoopbackHub() as hub:
        run(hub, tmp_path / "home", code, tmp_path)
        assert hub.problems == ["No route: GET /api/models/org/name/commits/main HTTP/1.1"]

"""The real clients, in a process of their own, against the Hub of `loopback_hub`."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from loopback_clients import run
from loopback_hub import STRANGER_TOKEN, TOKEN, LoopbackHub

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


PRIVATE_CLIENT = """
def asks(api, name):
    return (
        *((ask, name) for ask in (api.model_info, api.list_repo_files, api.list_repo_commits)),
        (api.list_repo_refs, name), (api.get_paths_info, name, ["config.json"]),
        (api.hf_hub_download, name, "config.json"), (api.snapshot_download, name),
    )

def writes(api, name):
    return (
        lambda: api.upload_file(repo_id=name, path_or_fileobj=b"1", path_in_repo="config.json"),
        lambda: api.create_branch(name, branch="mine"),
        lambda: api.create_tag(name, tag="mine"),
    )

tokens = (sys.argv[1], sys.argv[2], False, "hf_wrong")
member, stranger, anonymous, wrong = (HfApi(token=token) for token in tokens)
assert (member.whoami()["name"], stranger.whoami()["name"]) == ("tester", "stranger")
assert member.model_info("org/closed").private and not stranger.model_info("org/open").private

for name in ("org/closed", "org/none"):
    for api, status in ((anonymous, 401), (stranger, 404)):
        for ask, *arguments in (*asks(api, name), *((write,) for write in writes(api, name))):
            error = raises(errors.RepositoryNotFoundError, ask, *arguments)
            assert error.response.status_code == status
            assert ("Invalid username or password." in str(error)) == (status == 401)
        assert not api.repo_exists(name)
for name in ("org/closed", "org/none", "org/open"):  # a file in the cache would be taken
    for ask, *arguments in (*asks(wrong, name), *((write,) for write in writes(wrong, name))):
        error = raises(errors.HfHubHTTPError, ask, *arguments)
        assert not isinstance(error, errors.RepositoryNotFoundError)
        assert error.response.status_code == 401
        assert "Invalid credentials in Authorization header" in str(error)
for api, name in ((anonymous, "org/open"), (stranger, "org/open"), (member, "org/closed")):
    for ask, *arguments in asks(api, name):
        ask(*arguments)

for write in writes(stranger, "org/open"):
    assert raises(errors.HfHubHTTPError, write).response.status_code == 403
error = raises(errors.HfHubHTTPError, stranger.create_repo, "org/new")
assert "403 Forbidden: You don't have the rights to create a model" in str(error)
assert stranger.create_repo("org/open", exist_ok=True).repo_id == "org/open"
error = raises(errors.HfHubHTTPError, anonymous.create_repo, "new")
assert error.response.status_code == 401
assert stranger.create_repo("open").repo_id == "stranger/open"
for write in writes(stranger, "stranger/open"):
    write()
for write in writes(member, "stranger/open"):
    assert raises(errors.HfHubHTTPError, write).response.status_code == 403
"""

CUT_CLIENT = """
import time
import httpx2
time.sleep = lambda seconds: None  # the client waits a second before it tries again

source = Path(sys.argv[1])
for name in ("once.bin", "small.json"):
    path = hf_hub_download("org/cut", name)
    assert Path(path).read_bytes() == (source / name).read_bytes()
cache = source / "cache"
assert raises(httpx2.RemoteProtocolError, hf_hub_download, "org/cut", "always.bin", cache_dir=cache)
left = [path.name for path in (cache / "models--org--cut").rglob("*") if path.is_file()]
assert left == ["main"], left
assert raises(errors.LocalEntryNotFoundError, hf_hub_download, "org/cut", "always.bin",
              cache_dir=cache, local_files_only=True)
path = hf_hub_download("org/cut", "always.bin", cache_dir=cache)
assert Path(path).read_bytes() == (source / "always.bin").read_bytes()
snapshot = Path(snapshot_download("org/many", max_workers=8))
for number in range(40):
    assert (snapshot / f"{number}.bin").read_bytes() == bytes([number]) * 3000
"""

REVISION_CLIENT = """
import hashlib
api, name, first = HfApi(), "org/tiny", sys.argv[1]

def read(revision):
    return Path(hf_hub_download(name, "config.json", revision=revision)).read_bytes()

def upload(content, revision, **options):
    return api.upload_file(repo_id=name, path_or_fileobj=content, path_in_repo="config.json",
                           revision=revision, commit_message=f"To {revision}", **options).oid

api.create_branch(name, branch="dev/one")
second = upload(b"2", "dev/one")
api.create_tag(name, tag="v2", revision="dev/one")
third = upload(b"3", "dev/one", parent_commit=second[:7])
api.create_branch(name, branch="old", revision="v2")
for revision, sha, content in (
    ("main", first, b"1"), (first, first, b"1"), ("dev/one", third, b"3"), (third, third, b"3"),
    ("v2", second, b"2"), ("old", second, b"2"), (second, second, b"2"), (None, first, b"1"),
):
    assert read(revision) == content
    assert api.model_info(name, revision=revision).sha == sha
    assert Path(snapshot_download(name, revision=revision)).name == sha
    entries = [entry.path for entry in api.list_repo_tree(name, revision=revision)]
    assert entries == [".gitattributes", "config.json", "weights.bin"]
refs = api.list_repo_refs(name)
assert {ref.ref: ref.target_commit for ref in refs.branches + refs.tags} == {
    "refs/heads/main": first, "refs/heads/dev/one": third, "refs/heads/old": second,
    "refs/tags/v2": second,
}
commits = api.list_repo_commits(name, revision="dev/one")
assert [commit.commit_id for commit in commits][:3] == [third, second, first]
assert [commit.title for commit in commits][:3] == ["To dev/one", "To dev/one", "Put"]
assert commits[0].authors == ["tester"]

for create, known in ((api.create_branch, {"branch": "old"}), (api.create_tag, {"tag": "v2"})):
    assert raises(errors.HfHubHTTPError, create, name, **known).response.status_code == 409
    create(name, **known, exist_ok=True)
assert api.list_repo_refs(name).tags[0].target_commit == second
unknown = {"revision": "none"}
for ask in (api.model_info, api.list_repo_files, api.list_repo_commits, snapshot_download):
    assert raises(errors.RevisionNotFoundError, ask, name, **unknown)
assert raises(errors.RevisionNotFoundError, upload, b"", "none")
assert raises(errors.RevisionNotFoundError, read, "none")
assert raises(errors.RevisionNotFoundError, api.create_branch, name, branch="b", **unknown)
assert raises(errors.RevisionNotFoundError, api.create_tag, name, tag="t", **unknown)
assert not api.revision_exists(name, "b")
assert raises(errors.BadRequestError, upload, b"", "v2")
late = raises(errors.HfHubHTTPError, upload, b"", "dev/one", parent_commit=second)
assert late.response.status_code == 412

info = api.model_info(name, files_metadata=True)
files = {file.rfilename: (file.size, file.lfs and file.lfs.sha256) for file in info.siblings}
assert files["config.json"] == (1, None)
assert files["weights.bin"] == (1, hashlib.sha256(b"w").hexdigest())
"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub
        assert not hub.problems


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_datasets_are_pushed_loaded_and_streamed(hub: LoopbackHub, tmp_path: Path) -> None:
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


def test_models_are_pushed_and_downloaded(hub: LoopbackHub, tmp_path: Path) -> None:
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


def test_private_repositories_are_hidden_and_strangers_write_nowhere(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.put("org/closed", {"config.json": b"secret"}, private=True)
    hub.put("org/open", {"config.json": b"0"})
    run(hub, tmp_path, PRIVATE_CLIENT, TOKEN, STRANGER_TOKEN)
    assert hub.files("org/closed")["config.json"] == b"secret"
    assert hub.files("org/open")["config.json"] == b"0"
    assert hub.files("stranger/open")["config.json"] == b"1"
    assert hub.repositories.keys() == {
        *(("model", name) for name in ("org/open", "org/closed", "stranger/open"))
    }


def test_bytes_that_nobody_announced_are_refused(hub: LoopbackHub) -> None:
    hub.put("org/open", {})
    request = urllib.request.Request(f"{hub.url}/org/open.git/lfs", b"bytes", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
    assert not hub.repositories["model", "org/open"].objects


def test_downloads_that_break_are_resumed_or_leave_nothing(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """The client of today keeps whole pieces of 10 MiB, and those only within one call."""
    files = {
        "once.bin": np.random.default_rng(0).bytes(25_000_000),
        "always.bin": bytes(range(250)) * 1000,
        "small.json": b"[1, 2, 3]",
    }
    write(tmp_path, files)
    hub.put("org/cut", files)
    hub.put("org/many", {f"{number}.bin": bytes([number]) * 3000 for number in range(40)})
    hub.cut |= {"once.bin": [12_000_000, 11_000_000], "small.json": 0, "always.bin": [1000] * 6}
    hub.cut |= {f"{number}.bin": number for number in range(0, 40, 10)}
    run(hub, tmp_path / "home", CUT_CLIENT, tmp_path)
    asked = {name: [span for path, span in hub.ranges if path == name] for name, _ in hub.ranges}
    assert asked["once.bin"] == [None, f"bytes={10 * 2**20}-", f"bytes={20 * 2**20}-"]
    assert asked["small.json"] == [None, None]
    assert asked["always.bin"] == [None] * 7
    assert [len(asked[f"{number}.bin"]) for number in range(8, 12)] == [1, 1, 2, 1]
    assert hub.cut == {}


def test_branches_tags_and_commits_are_revisions(hub: LoopbackHub, tmp_path: Path) -> None:
    first = hub.put("org/tiny", {"config.json": b"1", "weights.bin": b"w"})
    run(hub, tmp_path / "home", REVISION_CLIENT, first)
    assert [hub.files("org/tiny", revision=name)["config.json"] for name in ("main", "v2")] == [
        *(b"1", b"2")
    ]


def test_what_the_hub_does_not_know_is_noted(tmp_path: Path) -> None:
    code = """
api = HfApi()
discussion = raises(errors.HfHubHTTPError, api.get_discussion_details, "org/name", 1)
assert discussion.response.status_code == 404
change = {"repo_id": "org/name", "path_or_fileobj": b"", "path_in_repo": "new", "create_pr": True}
assert raises(errors.HfHubHTTPError, api.upload_file, **change).response.status_code == 501
"""
    with LoopbackHub() as hub:
        hub.put("org/name", {})
        run(hub, tmp_path / "home", code)
        route, broken = hub.problems
    assert route == "No route: GET /api/models/org/name/discussions/1?diff=1 HTTP/1.1"
    assert broken.startswith("POST /api/models/org/name/commit/main?create_pr=1 HTTP/1.1")
    assert broken.rstrip().endswith("NotImplementedError: The loopback Hub has no pull requests")

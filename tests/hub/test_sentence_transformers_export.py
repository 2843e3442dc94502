"""An exported folder gives in sentence-transformers the vectors that the model gives here."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoProcessor, CLIPModel, PreTrainedModel, ProcessorMixin

import noisy_xmodal
from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    DmcmConfig,
    DmcmModel,
    DmcmProcessor,
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
)
from noisy_xmodal.hub.sentence_transformers_export import export_sentence_transformers
from noisy_xmodal.modules.towers import FeatureScaling
from tiny_backbones import CAPTIONS, backbone_config, picture_processor, pictures
from tiny_rcar import rcar_config

#: What is exported, and how long its vectors are.
WIDTHS = {"ncr": 16, "matching": 8, "dmcm": 8, "canonical": 5}

TEXTS = ["cat", *CAPTIONS, "a bird and one old red dog"]


@dataclass
class Exported:
    """What was exported, its folder, and how sentence-transformers loads that."""

    kind: str
    model: PreTrainedModel
    processor: ProcessorMixin
    folder: Path
    load: Callable[..., Any]

    def expected(self, texts: list[str], images: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of texts and of pictures, one at a time."""
        give_text, give_image = self.model.get_text_features, self.model.get_image_features
        with torch.no_grad():
            return (
                torch.cat([give_text(**self.processor(text=[text])) for text in texts]).numpy(),
                torch.cat([give_image(**self.processor(images=[i])) for i in images]).numpy(),
            )


def model_and_processor(
    kind: str, tiny_config: Callable[..., Any]
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """One of `WIDTHS` that reads pictures and texts, its fitted parts as after training."""
    parts = (picture_processor().image_processor, picture_processor().tokenizer)
    if kind == "ncr":
        return NcrModel(tiny_config(NcrConfig, "cosine", "pixels", "words")), NcrProcessor(*parts)
    if kind == "matching":
        config = tiny_config(MatchingConfig, "cosine", "pixels", "bigru")
        return MatchingModel(config), MatchingProcessor(*parts)
    sizes = {"hidden_sizes": [7], "embedding_size": 8, "n_classes": 4}
    if kind == "dmcm":
        model: Any = DmcmModel(DmcmConfig(backbone_config=backbone_config("clip"), **sizes))
        processor: Any = DmcmProcessor(*parts)
    else:
        backbone = backbone_config("siglip")
        config = CommonSpaceConfig(backbone_config=backbone, canonical_size=5, **sizes)
        model, processor = CommonSpaceModel(config), CommonSpaceProcessor(*parts, "max_length")
    for module in model.modules():
        if isinstance(module, FeatureScaling):
            nn.init.normal_(module.mean)
    return model, processor


@pytest.fixture(params=WIDTHS)
def exported(request: pytest.FixtureRequest, tiny_config, tmp_path) -> Exported:
    package = pytest.importorskip("sentence_transformers", minversion="6")
    model, processor = model_and_processor(request.param, tiny_config)
    folder = export_sentence_transformers(model.eval(), processor, tmp_path / "encoder")

    def load(path: Path = folder, **options: Any) -> Any:
        return package.SentenceTransformer(
            str(path), trust_remote_code=True, local_files_only=True, device="cpu", **options
        )

    return Exported(request.param, model, processor, folder, load)


def test_vectors_are_those_of_the_model_in_the_order_given(exported):
    encoder = exported.load()
    images = [image.resize((20 + 9 * row, 30)) for row, image in enumerate(pictures(5))]
    of_texts, of_images = exported.expected(TEXTS, images)
    for size in (2, 32):
        found = encoder.encode(TEXTS, batch_size=size), encoder.encode(images, batch_size=size)
        np.testing.assert_allclose(found[0], of_texts, atol=1e-5)
        np.testing.assert_allclose(found[1], of_images, atol=1e-5)
    assert found[0].shape[1] == encoder.get_embedding_dimension() == WIDTHS[exported.kind]
    np.testing.assert_allclose(np.linalg.norm(found[1], axis=1), 1, atol=1e-5)
    scores = encoder.similarity(found[1], found[0])
    np.testing.assert_allclose(scores, of_images @ of_texts.T, atol=1e-5)


def test_pictures_and_texts_come_in_every_form(exported, tmp_path):
    encoder, picture = exported.load(), pictures(1)[0]
    picture.save(tmp_path / "a picture.png")
    (of_text,), (of_image,) = exported.expected(["a red cat"], [picture])
    path = str(tmp_path / "a picture.png")
    for form in (picture, path, np.asarray(picture), {"image": picture}, {"image": path}):
        np.testing.assert_allclose(encoder.encode([form])[0], of_image, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(picture), of_image, atol=1e-5)
    for text in ("a red cat", {"text": "a red cat"}):
        np.testing.assert_allclose(encoder.encode([text])[0], of_text, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(["cat"], prompt="a red ")[0], of_text, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query("a red cat"), of_text, atol=1e-5)
    for refused in ([picture, "a red cat"], [("a red cat", "a dog")]):
        with pytest.raises(ValueError, match=r"Encode each modality separately|only texts"):
            encoder.encode(refused)
    with pytest.raises(ValueError, match=r"`processing_kwargs` has \['text'\]"):
        encoder.encode(["a red cat"], processing_kwargs={"text": {"max_length": 3}})


def test_it_is_saved_again_from_safetensors_alone(exported, tmp_path):
    encoder, images = exported.load(), pictures(2)
    encoder.save_pretrained(str(tmp_path / "again"))
    again = exported.load(tmp_path / "again")
    of_texts, of_images = exported.expected(TEXTS[:2], images)
    np.testing.assert_allclose(again.encode(TEXTS[:2]), of_texts, atol=1e-5)
    np.testing.assert_allclose(again.encode(images), of_images, atol=1e-5)
    assert again.similarity_fn_name == "cosine"
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    card = (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
    assert f"{WIDTHS[exported.kind]}-dimensional" in card


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(exported, dtype):
    encoder = exported.load(model_kwargs={"dtype": dtype})
    assert encoder.dtype == dtype
    of_texts, of_images = exported.expected(TEXTS, pictures(3))
    np.testing.assert_allclose(encoder.encode(TEXTS), of_texts, atol=0.03)
    np.testing.assert_allclose(encoder.encode(pictures(3)), of_images, atol=0.03)


def test_texts_are_cut_where_the_encoder_says(exported):
    encoder = exported.load()
    assert encoder.max_seq_length == 12
    encoder.max_seq_length = 4  # <start> a red <end>
    found = encoder.encode(["a red", "a red cat"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    with pytest.raises(ValueError, match="`backend` is 'onnx'"):
        exported.load(backend="onnx")


def test_the_model_and_what_lies_in_the_folder_are_left_alone(tiny_config, tmp_path):
    pytest.importorskip("sentence_transformers", minversion="6")
    model, processor = model_and_processor("ncr", tiny_config)
    model.train()
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    assert export_sentence_transformers(model, processor, str(tmp_path)) == tmp_path
    assert model.training
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, NcrModel)
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), NcrProcessor)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("sgr", "similarity head 'sgr' compares regions with words"),
        ("rcar", "RcarModel cannot be exported: it processes an image and a text jointly"),
        ("regions", "takes feature vectors"),
        ("vectors", "takes feature vectors"),
        ("processor of vectors", "takes feature vectors"),
        ("clip", "CLIPModel cannot be exported: it is not a model of noisy_xmodal"),
    ],
)
def test_what_has_no_vector_of_a_picture_is_refused(kind, reason, tiny_config, tmp_path):
    """Before sentence-transformers is asked for, so also without it."""
    sizes = {"hidden_sizes": [7], "embedding_size": 8, "n_classes": 4}
    raw = {"backbone_config": backbone_config("clip")}
    model, processor = {
        "sgr": lambda: (NcrModel(tiny_config(NcrConfig, "sgr", "pixels")), None),
        "rcar": lambda: (RcarModel(rcar_config()), None),
        "regions": lambda: (MatchingModel(tiny_config(MatchingConfig, "cosine")), None),
        "vectors": lambda: (DmcmModel(DmcmConfig(**sizes)), DmcmProcessor()),
        "processor of vectors": lambda: (DmcmModel(DmcmConfig(**sizes, **raw)), DmcmProcessor()),
        "clip": lambda: (CLIPModel(backbone_config("clip")), None),
    }[kind]()
    with pytest.raises(ValueError, match=reason):
        export_sentence_transformers(model, processor, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_without_the_package_it_says_what_to_install(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    model, processor = model_and_processor("ncr", tiny_config)
    with pytest.raises(ImportError, match='pip install "sentence-transformers>=6"'):
        export_sentence_transformers(model, processor, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_one_file_alone_imports_the_package():
    root = Path(noisy_xmodal.__file__).parent
    at_import = re.compile(r"^(from|import) sentence_transformers", re.MULTILINE)
    found = [path.name for path in root.rglob("*.py") if at_import.search(path.read_text("utf-8"))]
    assert found == ["sentence_module.py"]
    names = re.compile(r"^(from|import) .*sentence_module", re.MULTILINE)
    assert not [path for path in root.rglob("*.py") if names.search(path.read_text("utf-8"))]

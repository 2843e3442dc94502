"""A trained backbone becomes a model of transformers again, with the same scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import (
    AutoProcessor,
    CLIPModel,
    CLIPProcessor,
    SiglipModel,
    SiglipProcessor,
    VisionTextDualEncoderModel,
)

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    NcrModel,
    export_sentence_transformers,
    export_transformers,
)
from tiny_backbones import CAPTIONS, backbone_config, image_processor, pictures, word_tokenizer

CLASSES = {"clip": CLIPModel, "siglip": SiglipModel, "dual": VisionTextDualEncoderModel}


def trained(kind: str, model_class: Any = NcrModel, **fields: Any) -> tuple[Any, MatchingProcessor]:
    """A model over a backbone with a temperature and adapters that have an effect."""
    torch.manual_seed(0)
    model = model_class(model_class.config_class(backbone_config=backbone_config(kind), **fields))
    for name, parameter in model.named_parameters():
        if name.endswith("logit_scale"):
            nn.init.constant_(parameter, 1.5)
        if ".lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    padding = "max_length" if kind == "siglip" else True
    return model.eval(), MatchingProcessor(image_processor(kind), word_tokenizer(), padding)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_exported_model_gives_the_scores_of_the_chosen_peer(kind, tmp_path):
    model, processor = trained(kind, vision_training="lora", text_training="lora")
    inputs = processor(images=pictures(4), text=CAPTIONS[:4])
    with torch.no_grad():
        expected = model.peer_b(**inputs).logits_per_image
        assert not torch.allclose(model.peer_a(**inputs).logits_per_image, expected, atol=1e-2)
    assert export_transformers(model, processor, tmp_path / "b", peer="b") == tmp_path / "b"
    plain = CLASSES[kind].from_pretrained(tmp_path / "b").eval()
    reads = AutoProcessor.from_pretrained(tmp_path / "b")
    kinds = {"clip": CLIPProcessor, "siglip": SiglipProcessor}
    assert kind not in kinds or isinstance(reads, kinds[kind])
    padding = "max_length" if kind == "siglip" else True
    prepared = reads(images=pictures(4), text=CAPTIONS[:4], padding=padding, return_tensors="pt")
    with torch.no_grad():
        found = plain(**prepared).logits_per_image
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_temperature_above_that_of_clip_is_limited_as_in_training(tmp_path):
    model, processor = trained("clip", MatchingModel)
    nn.init.constant_(model.backbone.logit_scale, 9.0)
    export_transformers(model, processor, tmp_path)
    plain = CLIPModel.from_pretrained(tmp_path).eval()
    inputs = processor(images=pictures(2), text=CAPTIONS[:2])
    with torch.no_grad():
        torch.testing.assert_close(
            plain(**inputs).logits_per_image, model(**inputs).logits_per_image
        )
    assert model.backbone.logit_scale == 9


def test_sentence_transformers_reads_the_plain_folder_and_both_peers(tmp_path):
    model, processor = trained("clip")
    images, texts = pictures(3), CAPTIONS[:3]
    export_transformers(model, processor, tmp_path / "plain")
    both = export_sentence_transformers(model, processor, tmp_path / "both")
    plain = SentenceTransformer(str(tmp_path / "plain"), device="cpu")
    ours = SentenceTransformer(str(both), trust_remote_code=True, device="cpu")
    inputs = processor(images=images, text=texts)
    with torch.no_grad():
        expected = (model.peer_a(**inputs).scores, model(**inputs).scores)
    for encoder, scores in zip((plain, ours), expected, strict=True):
        found = encoder.similarity(encoder.encode(images), encoder.encode(texts))
        np.testing.assert_allclose(found, scores, atol=1e-5)


def test_a_model_without_a_backbone_and_another_peer_are_refused(tiny_config, tmp_path):
    model = MatchingModel(tiny_config(MatchingConfig, "cosine"))
    with pytest.raises(ValueError, match="MatchingModel cannot be exported: it is no backbone"):
        export_transformers(model, trained("clip")[1], tmp_path / "out")
    with pytest.raises(ValueError, match="`peer` is 'c': give 'a' or 'b'"):
        export_transformers(*trained("clip"), tmp_path / "out", peer="c")
    assert not Path(tmp_path / "out").exists()

"""RCAR's processor: captions are cut at what the text encoder reads, and counted."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, ViTImageProcessorPil

from noisy_xmodal import RcarModel, RcarProcessor, RegionFeatureProcessor, train_word_tokenizer
from noisy_xmodal.modules.text_limits import TruncationCount, count_truncated
from tiny_rcar import REGION_SIZE, rcar_config

#: 4, 6, 10 and 24 tokens with those around a caption.
TEXTS = ["a dog", "a red dog runs", "a red dog runs " * 2, "dog " * 22]


@pytest.fixture
def processor() -> RcarProcessor:
    tokenizer = train_word_tokenizer(["a red dog runs"], max_length=64, mask=True)
    return RcarProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer)


def regions(*counts: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((count, REGION_SIZE)).astype(np.float32) for count in counts]


@pytest.mark.parametrize("limit", [3, 6, 10, 64])
def test_texts_are_cut_at_the_limit(processor, limit):
    whole = processor(text=TEXTS)["input_ids"]
    assert whole.shape == (4, 24)
    processor.limit_text(limit)
    found = processor(text=TEXTS)
    assert found["input_ids"].shape == (4, min(limit, 24))
    lengths = found["attention_mask"].sum(dim=1).tolist()
    assert lengths == [min(length, limit) for length in (4, 6, 10, 24)]
    for row, length in enumerate(lengths):
        kept = whole[row, : length - 1].tolist()  # <end> stands last, cut or not
        assert found["input_ids"][row, :length].tolist() == [*kept, 2]


def test_texts_that_are_cut_earlier_already_stay_so(processor):
    processor.limit_text(6)
    for limit in (10, None, 6):
        processor.limit_text(limit)
        assert processor(text=TEXTS)["input_ids"].shape == (4, 6)


@pytest.mark.parametrize(("limit", "n_cut"), [(3, 4), (4, 3), (5, 3), (9, 2), (10, 1), (24, 0)])
def test_cut_texts_are_those_that_lose_a_word(processor, limit, n_cut):
    whole = processor(text=TEXTS)["attention_mask"].sum(dim=1)
    processor.limit_text(limit)
    found = processor(text=TEXTS)["attention_mask"].sum(dim=1)
    assert (found < whole).sum() == n_cut
    assert count_truncated(processor, TEXTS) == TruncationCount(n_cut, 4, limit)
    assert count_truncated(processor, iter(TEXTS)) == TruncationCount(n_cut, 4, limit)


@pytest.mark.parametrize("kind", ["regions", "pixels"])
def test_the_limit_goes_with_the_folder(processor, tmp_path, kind):
    if kind == "pixels":
        size = {"height": 16, "width": 16}
        processor = RcarProcessor(ViTImageProcessorPil(size=size), processor.tokenizer)
    processor.limit_text(6)
    processor.save_pretrained(tmp_path)
    images = regions(2, 3, 1, 1) if kind == "regions" else [Image.new("RGB", (20, 30))] * 4
    expected = processor(images=images, text=TEXTS)
    for loader in (RcarProcessor, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is RcarProcessor
        assert loaded.tokenizer.model_max_length == 6
        assert loaded.tokenizer.mask_token_id == processor.tokenizer.mask_token_id == 4
        assert count_truncated(loaded, TEXTS).n_cut == 2
        found = loaded(images=images, text=TEXTS)
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert torch.equal(found[name], value), name


def test_captions_of_any_length_are_read_once_the_model_has_set_the_limit(processor):
    model = RcarModel(rcar_config()).eval()
    inputs = processor(images=regions(2), text=["dog " * 70])
    with pytest.raises(ValueError, match="64 tokens and the text encoder reads 16"):
        model(**inputs)
    processor.limit_text(model.text_length_limit)
    for n_words in (1, 13, 14, 15, 500):
        inputs = processor(images=regions(2), text=["dog " * n_words])
        assert inputs["input_ids"].shape == (1, min(n_words + 2, 16))
        assert model(**inputs).scores.isfinite().all()


def test_images_without_regions_are_refused_by_position(processor):
    with pytest.raises(ValueError, match=r"image 2: .*\(n_regions, 4\), found \(0, 4\)"):
        processor(images=[*regions(2, 1), np.zeros((0, REGION_SIZE))], text=TEXTS[:3])


def test_texts_without_words_are_refused_by_position():
    bare = train_word_tokenizer(["a red dog"], boundaries=False, mask=True)
    processor = RcarProcessor(RegionFeatureProcessor(REGION_SIZE), bare)
    with pytest.raises(ValueError, match="text 1 has no token"):
        processor(text=["a dog", " "])


def test_of_no_texts_none_is_cut(processor):
    assert count_truncated(processor, []) == TruncationCount(0, 0, 64)

"""Vectors, or pictures and texts, become the inputs of a common-space model."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    DmcmConfig,
    DmcmModel,
    DmcmProcessor,
)
from tiny_backbones import CAPTIONS, backbone_config, picture_processor, pictures

FAMILIES = pytest.mark.parametrize(
    ("processor_class", "model_class", "config_class"),
    [
        (CommonSpaceProcessor, CommonSpaceModel, CommonSpaceConfig),
        (DmcmProcessor, DmcmModel, DmcmConfig),
    ],
)
SMALL = {"hidden_sizes": [6], "embedding_size": 4, "n_classes": 3}


def vectors(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, size))


@pytest.mark.parametrize("make", [CommonSpaceProcessor, picture_processor])
def test_vectors_become_float32_tensors(make):
    processor, images, texts = make(), vectors(3, 6), vectors(2, 5)
    for given in (images, images.tolist(), list(images), torch.from_numpy(images)):
        found = processor(image_features=given, text_features=texts)
        assert set(found) == {"image_features", "text_features"}
        assert found["image_features"].dtype == found["text_features"].dtype == torch.float32
        assert np.array_equal(found["image_features"].numpy(), images.astype(np.float32))
        assert np.array_equal(found["text_features"].numpy(), texts.astype(np.float32))


def test_one_vector_is_a_batch_of_one():
    found = CommonSpaceProcessor()(text_features=[1, 2, 3])
    assert set(found) == {"text_features"}
    assert found["text_features"].tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3, 4)), r"`image_features` has the shape \(2, 3, 4\): pass \(n, size\)"),
        (np.zeros((0, 4)), r"`image_features` has the shape \(0, 4\)"),
        ([], r"`image_features` has the shape \(1, 0\)"),
        (3.0, r"`image_features` has the shape \(\)"),
        ([[1.0], [np.nan], [np.inf]], "2 vectors are not finite, first row 1"),
        ([[1.0, 2.0], [3.0]], "inhomogeneous"),
        (["a red cat"], "could not convert string to float"),
    ],
)
def test_what_are_no_vectors_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        CommonSpaceProcessor()(image_features=values)


def test_nothing_at_all_is_refused():
    for processor in (CommonSpaceProcessor(), picture_processor()):
        with pytest.raises(ValueError, match="pass `images`, `text`, `image_features` or"):
            processor()


def test_a_processor_of_vectors_reads_no_pictures_and_no_texts():
    processor = DmcmProcessor()
    assert processor.reads_vectors_only
    for raw in ({"images": pictures(1)}, {"text": ["a red cat"]}):
        with pytest.raises(ValueError, match="this model reads feature vectors"):
            processor(**raw)


def test_an_image_processor_and_a_tokenizer_come_together():
    whole = picture_processor()
    with pytest.raises(ValueError, match="both `image_processor` and `tokenizer`, or neither"):
        CommonSpaceProcessor(image_processor=whole.image_processor)
    with pytest.raises(ValueError, match="both `image_processor` and `tokenizer`, or neither"):
        DmcmProcessor(tokenizer=whole.tokenizer)


def test_pictures_and_texts_are_what_their_parts_make_of_them():
    processor = picture_processor()
    texts = ["a red cat", "bird", "dog"]
    found = processor(images=pictures(2), text=texts)
    assert set(found) == {"pixel_values", "input_ids", "attention_mask"}
    expected = processor.image_processor(pictures(2), return_tensors="pt")["pixel_values"]
    assert torch.equal(found["pixel_values"], expected)
    assert found["pixel_values"].shape == (2, 3, 32, 32)
    assert found["input_ids"].shape == (3, 5)  # with start and end
    for row, text in enumerate(texts):
        ids = processor.tokenizer(text)["input_ids"]
        assert found["input_ids"][row].tolist() == ids + [0] * (5 - len(ids))
        assert found["attention_mask"][row].sum() == len(ids)


def test_one_picture_and_one_text_are_batches_of_one():
    found = picture_processor()(images=pictures(1)[0], text="a red cat")
    assert found["pixel_values"].shape == (1, 3, 32, 32)
    assert found["input_ids"].shape == (1, 5)


def test_long_texts_are_cut_and_options_reach_the_tokenizer():
    processor = picture_processor(max_length=6)
    assert processor(text="a red cat a red cat a red cat")["input_ids"].shape == (1, 6)
    padded = processor(text=["dog"], padding="max_length", max_length=9)
    assert padded["input_ids"].shape == (1, 9)


def test_no_token_types_even_from_a_tokenizer_that_has_them():
    processor = picture_processor()
    names = ["input_ids", "token_type_ids", "attention_mask"]
    processor.tokenizer.model_input_names = names
    assert "token_type_ids" in processor.tokenizer("dog")
    assert set(processor(text="dog")) == {"input_ids", "attention_mask"}


@FAMILIES
def test_a_processor_of_vectors_is_kept_beside_its_model(
    tmp_path, processor_class, model_class, config_class
):
    model = model_class(config_class(image_size=6, text_size=5, **SMALL))
    model.save_pretrained(tmp_path)
    before = set(tmp_path.iterdir())
    processor_class().save_pretrained(tmp_path)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"processor_config.json"}
    for loader in (processor_class, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is processor_class
        assert loaded.reads_vectors_only
        assert loaded.tokenizer is None
        found = loaded(image_features=vectors(3, 6), text_features=vectors(2, 5))
        assert model(**found).logits_per_image.shape == (3, 2)


@FAMILIES
def test_a_processor_of_pictures_is_kept_beside_its_model(
    tmp_path, processor_class, model_class, config_class
):
    whole = picture_processor()
    processor = processor_class(whole.image_processor, whole.tokenizer)
    model = model_class(config_class(backbone_config=backbone_config("clip"), **SMALL))
    model.save_pretrained(tmp_path)
    before = set(tmp_path.iterdir())
    processor.save_pretrained(tmp_path)
    names = {path.name for path in set(tmp_path.iterdir()) - before}
    assert names >= {"processor_config.json", "tokenizer.json"}
    assert all(name.endswith(".json") for name in names)
    raw = {"images": pictures(2), "text": CAPTIONS}
    expected = processor(**raw)
    for loader in (processor_class, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is processor_class
        assert not loaded.reads_vectors_only
        found = loaded(**raw)
        assert set(found) == set(expected)
        torch.testing.assert_close(found["pixel_values"], expected["pixel_values"])
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert torch.equal(found["attention_mask"], expected["attention_mask"])
        assert model(**found).logits_per_image.shape == (2, len(CAPTIONS))


@pytest.mark.parametrize("make", [CommonSpaceProcessor, picture_processor])
def test_it_is_kept_where_no_folder_is_yet(make, tmp_path):
    processor = make()
    processor.save_pretrained(tmp_path / "new" / "folder")
    loaded = CommonSpaceProcessor.from_pretrained(str(tmp_path / "new" / "folder"))
    assert loaded.reads_vectors_only == processor.reads_vectors_only


def test_a_folder_without_a_processor_is_refused(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        CommonSpaceProcessor.from_pretrained(tmp_path)


def test_the_parts_of_a_backbone_are_read_where_they_stand_alone(tmp_path):
    """As older repositories have them: an image processor and a tokenizer, no processor."""
    whole = picture_processor()
    whole.image_processor.save_pretrained(tmp_path)
    whole.tokenizer.save_pretrained(tmp_path)
    assert not CommonSpaceProcessor.from_pretrained(tmp_path).reads_vectors_only


def test_the_padding_is_kept(tmp_path):
    whole = picture_processor()
    whole.padding = "max_length"
    whole.save_pretrained(tmp_path)
    found = CommonSpaceProcessor.from_pretrained(tmp_path)
    assert found(text="red")["input_ids"].shape == (1, found.tokenizer.model_max_length)


def test_pictures_are_read_from_files_and_made_upright_rgb(tmp_path):
    processor, (picture,) = picture_processor(), pictures(1)
    picture.convert("RGBA").save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[Image.ExifTags.Base.Orientation] = 8
    picture.save(tmp_path / "turned.png", exif=exif)
    found = processor(images=[picture, tmp_path / "a.png", str(tmp_path / "turned.png")])
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    expected = processor.image_processor([picture, picture, turned], return_tensors="pt")
    assert torch.equal(found["pixel_values"], expected["pixel_values"])
    with pytest.raises(FileNotFoundError, match=r"image 1: there is no file .*b\.png"):
        processor(images=[picture, tmp_path / "b.png"])


def test_a_processor_of_vectors_is_saved_first_and_pushed_then(tmp_path):
    with pytest.raises(ValueError, match="then push_to_hub"):
        CommonSpaceProcessor().save_pretrained(tmp_path / "new", push_to_hub=True)
    assert not (tmp_path / "new").exists()

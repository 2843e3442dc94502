"""Vectors of a frozen backbone: those of the model, made once, never those of something else."""

import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    LabelDataset,
    train_word_tokenizer,
)
from noisy_xmodal.evaluation import extract_features
from tiny_backbones import WIDTHS, backbone_config, picture_dataset, picture_processor

N_PAIRS = 5


def make_model(kind: str = "clip") -> CommonSpaceModel:
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [7], "embedding_size": 8, "n_classes": 3}
    return CommonSpaceModel(CommonSpaceConfig(backbone_config=backbone_config(kind), **sizes))


@pytest.fixture
def model() -> CommonSpaceModel:
    return make_model()


@pytest.fixture
def pairs() -> LabelDataset:
    return LabelDataset(picture_dataset(N_PAIRS))


def count_pictures(model: CommonSpaceModel) -> list[int]:
    """Fills up with the number of pictures that the backbone reads at a time."""
    read: list[int] = []
    model.backbone.vision_model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(len(kwargs["pixel_values"])),
        with_kwargs=True,
    )
    return read


def kept_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*-image.npy"))


def one_by_one(model: CommonSpaceModel, pairs: LabelDataset) -> tuple[np.ndarray, np.ndarray]:
    """What the towers would read of each row, by a forward pass of its own."""
    processor, model = picture_processor(), model.eval()
    images, texts = [], []
    with torch.no_grad():
        for row in range(len(pairs)):
            picture, text = processor(images=pairs.pictures([row])), pairs.texts([row])
            images.append(model.image_features_of(**picture))
            texts.append(model.text_features_of(**processor(text=text)))
    return torch.cat(images).numpy(), torch.cat(texts).numpy()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("block_size", [1, 2, 64])
def test_vectors_are_those_of_each_row(pairs, tmp_path, kind, block_size):
    model = make_model(kind)
    found = extract_features(
        model, picture_processor(), pairs, block_size=block_size, cache_dir=tmp_path
    )
    for values, expected in zip(found, one_by_one(model, pairs), strict=True):
        assert values.shape == (N_PAIRS, WIDTHS[kind])
        assert values.dtype == np.float32
        assert len(np.unique(values.round(4), axis=0)) == N_PAIRS, "rows do not differ"
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_blocks_are_read_one_after_another(model, pairs, tmp_path):
    read = count_pictures(model)
    extract_features(model, picture_processor(), pairs, block_size=2, cache_dir=tmp_path)
    assert read == [2, 2, 1]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(model, pairs, tmp_path, training):
    model.train(training)
    extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    assert model.image_tower.training is training
    assert not model.backbone.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_another_run_reads_what_is_kept(model, pairs, tmp_path):
    first = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    assert len(kept_files(tmp_path)) == 1
    later = make_model()
    read = count_pictures(later)
    found = extract_features(
        later, picture_processor(), LabelDataset(picture_dataset(N_PAIRS)), cache_dir=tmp_path
    )
    assert read == []
    for values, expected in zip(found, first, strict=True):
        assert np.array_equal(values, expected)
    assert len(kept_files(tmp_path)) == 1


def test_towers_and_methods_have_no_say(model, pairs, tmp_path):
    """The vectors are the backbone's, so models of several methods share them."""
    extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    torch.nn.init.zeros_(model.image_tower[0].weight)
    read = count_pictures(model)
    extract_features(model.train(), picture_processor(), pairs, block_size=1, cache_dir=tmp_path)
    assert read == []


def test_other_weights_are_other_vectors(model, pairs, tmp_path):
    before = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    with torch.no_grad():
        model.backbone.visual_projection.weight[3, 3] += 0.5
    read = count_pictures(model)
    found = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    assert read == [N_PAIRS]
    assert np.abs(found[0] - before[0]).max() > 1e-4
    np.testing.assert_allclose(found[1], before[1], atol=1e-6)
    assert len(kept_files(tmp_path)) == 2


@pytest.mark.parametrize("rows", [picture_dataset(N_PAIRS, seed=1), picture_dataset(N_PAIRS - 1)])
def test_other_rows_are_other_vectors(model, pairs, tmp_path, rows):
    extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    read = count_pictures(model)
    other = LabelDataset(rows)
    found = extract_features(model, picture_processor(), other, cache_dir=tmp_path)
    assert read == [len(rows)]
    for values, expected in zip(found, one_by_one(model, other), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5)
    assert len(kept_files(tmp_path)) == 2


def test_rows_in_another_order_are_not_confused(model, pairs, tmp_path):
    straight = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    order = [3, 0, 4, 1, 2]
    shuffled = LabelDataset(pairs.dataset.select(order))
    found = extract_features(model, picture_processor(), shuffled, cache_dir=tmp_path)
    for values, expected in zip(found, straight, strict=True):
        np.testing.assert_allclose(values, expected[order], atol=1e-5)


def test_vectors_go_by_the_pictures_and_not_by_their_names(model, pairs, tmp_path):
    """A copied folder has the same vectors; a picture that is replaced has another."""

    def rows(folder: Path) -> LabelDataset:
        files = [str(folder / f"{row}.png") for row in range(N_PAIRS)]
        dataset = pairs.dataset.remove_columns("image").add_column("image", files)
        return LabelDataset(dataset.cast_column("image", datasets.Image()))

    (tmp_path / "photos").mkdir()
    for row, picture in enumerate(pairs.dataset["image"]):
        picture.save(tmp_path / "photos" / f"{row}.png")
    before = extract_features(
        model, picture_processor(), rows(tmp_path / "photos"), cache_dir=tmp_path
    )
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    read = count_pictures(model)
    copied = extract_features(
        model, picture_processor(), rows(tmp_path / "copy"), cache_dir=tmp_path
    )
    assert read == []
    np.testing.assert_array_equal(copied[0], before[0])
    shutil.copy(tmp_path / "photos" / "3.png", tmp_path / "photos" / "1.png")
    found = extract_features(
        model, picture_processor(), rows(tmp_path / "photos"), cache_dir=tmp_path
    )
    np.testing.assert_allclose(found[0], before[0][[0, 3, 2, 3, 4]], atol=1e-6)


def test_another_setting_of_the_pictures_is_other_vectors(model, pairs, tmp_path):
    before = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    brighter = picture_processor(rescale_factor=1 / 100)
    found = extract_features(model, brighter, pairs, cache_dir=tmp_path)
    assert np.abs(found[0] - before[0]).max() > 1e-4
    assert len(kept_files(tmp_path)) == 2


def test_other_words_are_other_vectors(model, pairs, tmp_path):
    before = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    processor = picture_processor()
    tokenizer = train_word_tokenizer(["bird dog cat one red a"])  # the words have other numbers
    other = CommonSpaceProcessor(processor.image_processor, tokenizer)
    found = extract_features(model, other, pairs, cache_dir=tmp_path)
    assert np.abs(found[1] - before[1]).max() > 1e-4
    np.testing.assert_allclose(found[0], before[0], atol=1e-6)
    assert len(kept_files(tmp_path)) == 2


def test_a_run_that_breaks_off_is_resumed(model, pairs, tmp_path):
    def break_off(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.backbone.text_model.register_forward_hook(break_off)
    with pytest.raises(KeyboardInterrupt):
        extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    assert list(tmp_path.rglob("*-text.npy")) == []
    handle.remove()
    found = extract_features(model, picture_processor(), pairs, cache_dir=tmp_path)
    assert [side.shape for side in found] == [(N_PAIRS, WIDTHS["clip"])] * 2


def test_a_processor_that_was_used_finds_the_same_file(tmp_path):
    pairs, model = LabelDataset(picture_dataset(5)), make_model("siglip")
    processor = picture_processor()
    for _ in range(3):
        extract_features(model, processor, pairs, cache_dir=tmp_path)
    assert len(kept_files(tmp_path)) == 1


def test_another_length_of_texts_is_another_file(tmp_path):
    pairs, model = LabelDataset(picture_dataset(5)), make_model("siglip")
    long = extract_features(model, picture_processor(max_length=12), pairs, cache_dir=tmp_path)[1]
    short = extract_features(model, picture_processor(max_length=3), pairs, cache_dir=tmp_path)[1]
    assert np.abs(long - short).max() > 1e-4


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_text_has_the_vector_that_it_has_alone(kind):
    model, processor = make_model(kind).eval(), picture_processor()
    processor.padding = "max_length" if kind == "siglip" else True
    texts = ["a red cat", "bird"]
    with torch.no_grad():
        both = model.text_features_of(**processor(text=texts))
        alone = torch.cat([model.text_features_of(**processor(text=text)) for text in texts])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)

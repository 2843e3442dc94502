"""Grids of a vision model's map or tokens, against slow means, and kept in a file."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import ResNetConfig, ViTImageProcessorPil

from noisy_xmodal import MatchingConfig, MatchingModel, MatchingProcessor, PairDataset
from noisy_xmodal.data.pictures import open_picture
from noisy_xmodal.evaluation import grids, score_matrix
from noisy_xmodal.evaluation.grids import grid_features, with_grids
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.modules.grids import grid_cells
from tiny_backbones import CAPTIONS, picture_dataset


def test_a_map_becomes_means_of_its_parts() -> None:
    maps = torch.randn(2, 3, 8, 8)
    cells = grid_cells(maps)
    assert cells.shape == (2, 16, 3)
    for row in range(4):
        for column in range(4):
            part = maps[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(cells[:, 4 * row + column], part.mean(dim=(2, 3)))


@pytest.mark.parametrize(("size", "n_cells"), [((3, 3), 9), ((1, 1), 1), ((4, 4), 16)])
def test_small_maps_stay_as_they_are(size: tuple[int, int], n_cells: int) -> None:
    maps = torch.randn(2, 5, *size)
    cells = grid_cells(maps)
    assert cells.shape == (2, n_cells, 5)
    torch.testing.assert_close(cells, maps.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("size", "n_cells"), [((6, 9), 16), ((2, 9), 8), ((20, 3), 12), ((7, 7), 16)]
)
def test_maps_of_any_sides_have_at_most_four_a_side(size: tuple[int, int], n_cells: int) -> None:
    maps = torch.randn(1, 2, *size)
    cells = grid_cells(maps)
    assert cells.shape == (1, n_cells, 2)
    corner = maps[:, :, : -(-size[0] // min(size[0], 4)), : -(-size[1] // min(size[1], 4))]
    torch.testing.assert_close(cells[:, 0], corner.mean(dim=(2, 3)))


@pytest.mark.parametrize("n_special", [0, 1, 5])
def test_class_and_register_tokens_are_left_out(n_special: int) -> None:
    patches = torch.randn(2, 8, 8, 3)
    special = torch.full((2, n_special, 3), 1e6)
    tokens = torch.cat([special, patches.flatten(1, 2)], dim=1)
    expected = grid_cells(patches.permute(0, 3, 1, 2))
    torch.testing.assert_close(grid_cells(tokens), expected)


def test_tokens_of_no_square_become_one_mean() -> None:
    tokens = torch.randn(2, 1 + 6 * 10, 3)  # 60 patches are no square: 49 and 12 more
    cells = grid_cells(tokens)
    assert cells.shape == (2, 1, 3)
    torch.testing.assert_close(cells[:, 0], tokens.mean(dim=1))


def test_half_precision_is_averaged_in_full() -> None:
    assert grid_cells(torch.ones(1, 2, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32


class Eyes(nn.Module):
    """A "vision model" that gives its pixels back, in its own dtype."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, pixel_values: Tensor) -> Any:
        assert not torch.is_grad_enabled()
        return SimpleNamespace(last_hidden_state=pixel_values * self.factor)


def reader(images: list[np.ndarray], return_tensors: str) -> dict[str, Tensor]:
    assert return_tensors == "pt"
    return {"pixel_values": torch.from_numpy(np.stack(images)).double()}


def test_pictures_are_kept_in_their_order_as_half_precision(tmp_path: Path) -> None:
    images = list(np.random.default_rng(0).random((5, 3, 8, 8)))
    grids = grid_features(Eyes(2.0), reader, images, tmp_path / "g.npy", block_size=2)
    assert (grids.shape, grids.dtype) == ((5, 16, 3), np.float16)
    for image, grid in zip(images, grids, strict=True):
        expected = 2 * image.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(3, 16).T
        np.testing.assert_allclose(grid, expected, atol=1e-2)
    kept = grid_features(Eyes(9.0), reader, images, tmp_path / "g.npy")
    np.testing.assert_array_equal(kept, grids)


def test_features_that_are_not_finite_are_named(tmp_path: Path) -> None:
    images = [np.ones((3, 4, 4))] * 3 + [np.full((3, 4, 4), 1e6)]
    with pytest.raises(ValueError, match="row 3 of the image features is not finite"):
        grid_features(Eyes(), reader, images, tmp_path / "g.npy", block_size=3)
    assert not (tmp_path / "g.npy").exists()


@pytest.fixture
def frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[MatchingModel, MatchingProcessor]:
    """A model with a frozen vision model that shrinks 32 pixels to 8 x 8 cells."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    resnet = ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
    config = MatchingConfig(
        vision_config=resnet,
        vision_training="frozen",
        similarity="cosine",
        word_encoder="words",
        vocab_size=50,
        word_size=8,
        hidden_size=8,
    )
    images = ViTImageProcessorPil(size={"height": 64, "width": 64})
    return MatchingModel(config).eval(), MatchingProcessor(images, train_word_tokenizer(CAPTIONS))


def test_kept_cells_give_the_scores_of_the_pictures(frozen: Any, tmp_path: Path) -> None:
    model, processor = frozen
    pairs = PairDataset(picture_dataset(4))
    kept = with_grids(model, processor, pairs)
    assert kept.images[0].shape == (16, 6)
    found, expected = (
        score_matrix(model, processor, one.images, one.captions()) for one in (kept, pairs)
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.ptp(expected) > 0.05
    for name, digests in pairs.identity().items():
        np.testing.assert_array_equal(kept.identity()[name], digests)
    some = np.array([2, 0])
    np.testing.assert_array_equal(kept.select(some).images[1], kept.images[0])
    digests = pairs.select(some).identity()["image: picture"]
    np.testing.assert_array_equal(kept.select(some).identity()["image: picture"], digests)


def test_a_picture_is_read_once_and_again_for_other_weights(
    frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = frozen
    rows = picture_dataset(4)
    pairs = PairDataset(rows.select([0, 3, 1, 0, 2]))
    kept = with_grids(model, processor, pairs)
    np.testing.assert_array_equal(kept.images[0], kept.images[3])
    (path,) = tmp_path.rglob("*-grid.npy")
    assert np.load(path).shape == (4, 16, 6)
    with monkeypatch.context() as patch:
        patch.setattr(grids, "grid_cells", None)  # nothing is computed
        again = with_grids(model, processor, PairDataset(rows))
    np.testing.assert_array_equal(again.images[3], kept.images[1])
    with torch.no_grad():
        next(model.image_encoder.backbone.parameters()).mul_(2)
    other = with_grids(model, processor, pairs)
    assert np.abs(other.images[0] - kept.images[0]).max() > 0.01


def test_pairs_stay_as_they_are_without_a_frozen_vision_model(
    tiny_config: Any, tiny_processor: Any, regions_dataset: Any
) -> None:
    model = MatchingModel(tiny_config())
    pairs = PairDataset(regions_dataset)
    assert with_grids(model, tiny_processor, pairs) is pairs


def test_large_jpeg_files_are_read_at_a_reduced_size_that_exceeds_the_input(
    frozen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = frozen  # its input has 64 x 64 pixels
    sides = []
    for size in [(64, 64), (200, 100), (200, 200), (900, 450)]:
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").resize(size).save(file, "JPEG")
        sides.append({"bytes": file.getvalue(), "path": None})
    rows = picture_dataset(4)
    rows = rows.remove_columns("image").add_column("image", sides)
    pairs = PairDataset(rows.cast_column("image", datasets.Image()))
    sizes = []

    def note(stored: Any, min_side: int) -> Image.Image:
        picture = open_picture(stored, min_side)
        sizes.append(picture.size)
        return picture

    monkeypatch.setattr(grids, "open_picture", note)
    kept = with_grids(model, processor, pairs)
    assert sorted(sizes) == [(64, 64), (100, 100), (200, 100), (225, 113)]
    whole = score_matrix(model, processor, pairs.images, pairs.captions())
    reduced = score_matrix(model, processor, kept.images, pairs.captions())
    np.testing.assert_allclose(reduced, whole, atol=0.02)

"""Vectors in files: the same as of single items, taken up where they were left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noisy_xmodal import MatchingModel
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import cache, score_matrix
from noisy_xmodal.evaluation.collection import Collection


def embed(*args: Any, **options: Any) -> np.ndarray:
    return Collection.encode(*args, **options).encodings


class Counting:
    """A processor that counts what it was given, and fails at the nth call."""

    def __init__(self, processor: Any, fails_at: int | None = None) -> None:
        self.processor, self.fails_at = processor, fails_at
        self.sizes: list[int] = []

    def __call__(self, **given: Any) -> Any:
        if len(self.sizes) == self.fails_at:
            raise KeyboardInterrupt
        self.sizes.append(len(next(iter(given.values()))))
        return self.processor(**given)


@pytest.fixture
def model(tiny_config: Callable[..., Any]) -> MatchingModel:
    return MatchingModel(tiny_config(dropout=0.5)).train()


def test_vectors_are_those_of_single_items(
    model: MatchingModel, tiny_processor: Any, tiny_regions_dataset: Any, tmp_path: Path
) -> None:
    pairs = PairDataset(tiny_regions_dataset(5))
    images = embed(model, tiny_processor, "image", pairs.images, tmp_path / "i.npy", block_size=2)
    texts = embed(model, tiny_processor, "text", pairs.captions(), tmp_path / "t.npy", block_size=3)
    assert model.training  # restored, and yet the dropout was off
    assert images.shape == (5, 8)
    assert texts.shape == (10, 8)
    for vectors in (images, texts):
        assert isinstance(vectors, np.memmap)
        assert vectors.dtype == np.float32
        assert not vectors.flags.writeable
    model.eval()
    with torch.no_grad():
        for row, image in enumerate(pairs.images):
            alone = model.get_image_features(**tiny_processor(images=[image]))[0]
            np.testing.assert_allclose(images[row], alone, atol=1e-5)
        for row, text in enumerate(pairs.captions()):
            alone = model.get_text_features(**tiny_processor(text=[text]))[0]
            np.testing.assert_allclose(texts[row], alone, atol=1e-5)


def test_a_stopped_run_is_taken_up(
    model: MatchingModel, tiny_processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SAVE_INTERVAL", -1.0)
    texts, path = ["red cat", "dog runs", "bird", "now here", "blue dog"], tmp_path / "t.npy"
    with pytest.raises(KeyboardInterrupt):
        embed(model, Counting(tiny_processor, 2), "text", texts, path, block_size=2)
    assert model.training
    assert not path.exists()
    rest = Counting(tiny_processor)
    found = embed(model, rest, "text", texts, path, block_size=2)
    assert rest.sizes == [1]
    whole = embed(model, tiny_processor, "text", texts, tmp_path / "w.npy", block_size=2)
    np.testing.assert_array_equal(found, whole)
    idle = Counting(tiny_processor)
    np.testing.assert_array_equal(embed(model, idle, "text", texts, path), whole)
    assert idle.sizes == []


@pytest.mark.parametrize("damage", ["other n", "cut"])
def test_what_does_not_fit_is_begun_anew(
    damage: str, model: MatchingModel, tiny_processor: Any, tmp_path: Path
) -> None:
    texts, path = ["red cat", "dog", "bird"], tmp_path / "t.npy"
    embed(model, tiny_processor, "text", texts[:2] if damage == "other n" else texts, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    counting = Counting(tiny_processor)
    found = embed(model, counting, "text", texts, path)
    assert counting.sizes == [3]
    np.testing.assert_array_equal(
        found, embed(model, tiny_processor, "text", texts, tmp_path / "n.npy")
    )


def test_errors_name_the_items(model: MatchingModel, tiny_processor: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 rows"):
        embed(model, tiny_processor, "text", [], tmp_path / "t.npy")
    images = [np.ones((1, 4), np.float32)] * 3 + [np.ones((1, 5), np.float32)]
    with pytest.raises(ValueError, match=r"expected region features") as error:
        embed(model, tiny_processor, "image", images, tmp_path / "i.npy", block_size=2)
    assert "images 2 to 3" in error.value.__notes__[0]
    images[3] = np.full((1, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="row 3 of the image vectors is not finite"):
        embed(model, tiny_processor, "image", images, tmp_path / "i.npy", block_size=2)


@pytest.mark.parametrize("side", ["image", "text"])
def test_vectors_in_a_file_and_in_memory_give_the_same_answers(
    side: Any, model: MatchingModel, tiny_processor: Any, tiny_regions_dataset: Any, tmp_path: Path
) -> None:
    pairs = PairDataset(tiny_regions_dataset(5))
    items, queries = pairs.images, pairs.captions()[:3]
    if side == "text":
        items, queries = pairs.captions(), pairs.images[:3]
    stored = Collection.encode(model, tiny_processor, side, items, tmp_path / "v.npy")
    encoded = Collection.encode(model, tiny_processor, side, (item for item in items), block_size=2)
    assert len(stored) == len(encoded) == len(items)
    for k in (2, 100):
        scores, positions = stored.search(queries, k)
        assert scores.shape == positions.shape == (3, min(k, len(items)))
        np.testing.assert_array_equal(encoded.search(queries, k)[1], positions)
    own = score_matrix(model, tiny_processor, pairs.images, pairs.captions())
    own = own[:, :3].T if side == "image" else own[:3]
    np.testing.assert_array_equal(positions, np.argsort(-own, axis=1, kind="stable"))


def test_a_score_that_is_not_finite_is_refused(
    tiny_config: Callable[..., Any], tiny_processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MatchingModel(tiny_config(similarity="scan_t2i"))
    collection = Collection.encode(model, tiny_processor, "text", ["red cat", "dog"])
    monkeypatch.setattr(model, "score", lambda image, text: torch.full((1, 2), torch.nan))
    with pytest.raises(ValueError, match="MatchingModel gives a score that is not finite"):
        collection.search([np.ones((1, 4), np.float32)], 1)

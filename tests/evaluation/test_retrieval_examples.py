"""What is found for some queries: the lists against sorting, and the picture of them."""

import json
import warnings

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import plot_retrieval_examples, retrieval_examples
from tiny_backbones import pictures

N_IMAGES, PER_IMAGE = 7, 2
GREEN, RED = (0x4C, 0x9F, 0x70), (0xD1, 0x49, 0x5B)


@pytest.fixture
def pairs(tiny_regions_dataset) -> PairDataset:
    return PairDataset(tiny_regions_dataset(N_IMAGES, PER_IMAGE))


def picture_pairs(captions: list[list[str]]) -> PairDataset:
    features = {
        "image": datasets.Image(),
        "image_id": datasets.Value("string"),
        "captions": datasets.List(datasets.Value("string")),
    }
    rows = {
        "image": pictures(len(captions)),
        "image_id": [f"image_{row}" for row in range(len(captions))],
        "captions": captions,
    }
    return PairDataset(datasets.Dataset.from_dict(rows, datasets.Features(features)))


def scores_of(pairs: PairDataset) -> np.ndarray:
    rng = np.random.default_rng(0)
    own = pairs.row_of_pair == np.arange(pairs.n_images)[:, None]
    return (rng.normal(size=own.shape) + own).astype(np.float32)


def colours(path, colour: tuple[int, int, int]) -> int:
    """How many pixels are of a colour."""
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("RGB")) == colour).all(axis=2).sum())


def test_answers_are_the_first_of_a_sort(pairs):
    scores, captions = scores_of(pairs), pairs.captions()
    found = retrieval_examples(scores, pairs, n_queries=3, top=4)
    assert json.loads(json.dumps(found)) == found
    assert [len(queries) for queries in found.values()] == [3, 3]
    for query in found["image_queries"]:
        row = query["image_row"]
        assert query["image_id"] == f"image {row}"
        assert query["texts"] == [
            {
                "pair_id": pair_id,
                "text": captions[pair_id],
                "score": float(scores[row, pair_id]),
                "right": pair_id // PER_IMAGE == row,
            }
            for pair_id in np.argsort(-scores[row])[:4].tolist()
        ]
    for query in found["text_queries"]:
        pair_id = query["pair_id"]
        assert query["text"] == captions[pair_id]
        assert query["images"] == [
            {
                "image_row": row,
                "image_id": f"image {row}",
                "score": float(scores[row, pair_id]),
                "right": pair_id // PER_IMAGE == row,
            }
            for row in np.argsort(-scores[:, pair_id])[:4].tolist()
        ]


def test_the_seed_chooses_the_queries(pairs):
    scores = scores_of(pairs)
    chosen = [
        [
            query["image_row"]
            for query in retrieval_examples(scores, pairs, seed=seed)["image_queries"]
        ]
        for seed in (0, 0, 1, 2)
    ]
    assert chosen[0] == chosen[1]
    assert len({tuple(rows) for rows in chosen}) > 1
    everything = retrieval_examples(scores, pairs, n_queries=100, top=100)
    assert [query["image_row"] for query in everything["image_queries"]] == list(range(N_IMAGES))
    assert all(len(query["images"]) == N_IMAGES for query in everything["text_queries"])


@pytest.mark.parametrize("missing", [np.nan, -np.inf])
def test_pairs_without_a_score_are_no_answers(pairs, missing):
    scores = np.full((N_IMAGES, N_IMAGES * PER_IMAGE), missing)
    scores[2, [1, 9]] = 0.5, 0.7
    scores[4, 9] = 0.2
    found = retrieval_examples(scores, pairs)
    texts = {
        query["image_row"]: [text["pair_id"] for text in query["texts"]]
        for query in found["image_queries"]
    }
    images = {
        query["pair_id"]: [image["image_row"] for image in query["images"]]
        for query in found["text_queries"]
    }
    assert texts == {2: [9, 1], 4: [9]}
    assert images == {1: [2], 9: [2, 4]}
    with pytest.raises(ValueError, match="no number"):
        retrieval_examples(np.full_like(scores, missing), pairs)


@pytest.mark.parametrize(
    ("options", "message"), [({"n_queries": 0}, "n_queries is 0"), ({"top": 0}, "top is 0")]
)
def test_what_gives_no_examples_is_refused(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        retrieval_examples(scores_of(pairs), pairs, **options)
    with pytest.raises(ValueError, match="but the split has 7 images and 14 texts"):
        retrieval_examples(scores_of(pairs).T, pairs)


@pytest.mark.parametrize("visual", ["image", "regions"])
@pytest.mark.parametrize("right", [True, False])
def test_right_answers_are_green_and_wrong_ones_red(tmp_path, pairs, visual, right):
    if visual == "image":
        pairs = picture_pairs([["a cat"], ["a dog"], ["a bird"]])
    own = pairs.row_of_pair == np.arange(pairs.n_images)[:, None]
    examples = retrieval_examples(np.where(own == right, 1.0, np.nan), pairs, n_queries=1)
    path = tmp_path / "new" / "found.png"
    plot_retrieval_examples(path, examples, pairs)
    assert colours(path, GREEN if right else RED) > 300
    assert colours(path, RED if right else GREEN) == 0
    assert [found.name for found in path.parent.iterdir()] == ["found.png"]


def test_captions_of_any_kind_are_drawn(tmp_path):
    """Dollars are no formula, line breaks no lines, and a long word is cut."""
    pairs = picture_pairs([["$x_{ and $5", "first\nsecond"], ["x" * 500, "many words " * 60]])
    scores = np.arange(8.0).reshape(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_retrieval_examples(tmp_path / "a.png", retrieval_examples(scores, pairs), pairs)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height > picture.width / 2

"""[CLS] of given pairs and of constructed negatives, and their picture."""

import json

import numpy as np
import pytest
import torch

from noisy_xmodal import (
    MatchingModel,
    RcarModel,
    RcarProcessor,
    RegionFeatureProcessor,
    train_word_tokenizer,
)
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import pair_features as pair_features_module
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.evaluation.pair_features import (
    draw_pair_features,
    has_pair_features,
    pair_features,
)
from tiny_rcar import REGION_SIZE, rcar_config

RIGHT, WRONG = "right pairs (oracle)", "wrong pairs (oracle)"
MADE = "constructed negatives"


@pytest.fixture
def processor() -> RcarProcessor:
    words = "red green blue cat dog bird runs sleeps eats here there"
    return RcarProcessor(
        RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer([words], mask=True)
    )


@pytest.fixture
def layout(monkeypatch) -> dict:
    """What would be drawn; nothing is."""
    seen: dict = {}
    monkeypatch.setattr(
        pair_features_module,
        "plot_tsne",
        lambda path, features, groups, names, *_, **options: seen.update(
            features=features, groups=[names[group] for group in groups], **options
        ),
    )
    chosen = pair_features_module.pair_features

    def spy(model, processor, pairs, image_rows, pair_ids):
        seen.update(image_rows=image_rows, pair_ids=pair_ids)
        return chosen(model, processor, pairs, image_rows, pair_ids)

    monkeypatch.setattr(pair_features_module, "pair_features", spy)
    return seen


@pytest.mark.parametrize("similarity", ["cosine", "scan_t2i", "scan_i2t"])
def test_the_vector_of_a_pair_sums_up_to_its_score(
    tiny_regions_dataset, tiny_config, tiny_processor, similarity
):
    pairs = PairDataset(tiny_regions_dataset(5, 2))
    options = {} if similarity == "cosine" else {"similarity_options": {"aggregation": "mean"}}
    model = MatchingModel(tiny_config(similarity=similarity, **options))
    image_rows, pair_ids = np.array([0, 3, 3, 1, 4]), np.array([9, 6, 0, 2, 2])
    found = pair_features(model, tiny_processor, pairs, image_rows, pair_ids, block_size=3)
    scores = score_matrix(model, tiny_processor, pairs.images, pairs.captions())
    assert found.shape == (5, model.config.hidden_size)
    np.testing.assert_allclose(found.sum(axis=1), scores[image_rows, pair_ids], atol=1e-5)
    assert has_pair_features(model)
    assert not has_pair_features(MatchingModel(tiny_config(similarity="sgr")))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("block_size", [2, 3, 64])
def test_features_are_those_of_each_pair_alone(
    tiny_regions_dataset, processor, training, block_size
):
    pairs = PairDataset(tiny_regions_dataset(5, 2))
    model = RcarModel(rcar_config()).train(training)
    image_rows, pair_ids = np.array([0, 3, 3, 1, 4]), np.array([9, 6, 0, 2, 2])
    found = pair_features(model, processor, pairs, image_rows, pair_ids, block_size)
    assert model.training is training
    assert found.shape == (5, 8)
    assert found.dtype == np.float32
    model.eval()
    for row, pair_id, features in zip(image_rows, pair_ids, found, strict=True):
        inputs = processor(images=[pairs.images[int(row)]], text=[pairs.captions()[pair_id]])
        with torch.no_grad():
            alone = model(**inputs, pairs=torch.tensor([[0, 0]])).pair_features[0]
        np.testing.assert_allclose(features, alone, atol=1e-5)


def test_the_mode_is_restored_after_an_error(tiny_regions_dataset, processor):
    pairs = PairDataset(tiny_regions_dataset(5, 2))
    model = RcarModel(rcar_config(region_size=REGION_SIZE + 1)).train()
    with pytest.raises(ValueError, match="`region_size`"):
        pair_features(model, processor, pairs, np.array([0]), np.array([0]))
    assert model.training


@pytest.mark.parametrize(("n_of_each", "counts"), [(500, (9, 3, 12)), (2, (2, 2, 2))])
def test_right_pairs_wrong_ones_and_made_ones_are_chosen(
    tiny_regions_dataset, processor, layout, tmp_path, n_of_each, counts
):
    pairs = PairDataset(tiny_regions_dataset(6, 2, noisy_share=0.25))
    model = RcarModel(rcar_config())
    draw_pair_features(tmp_path / "cls.png", model, processor, pairs, 1, n_of_each)
    groups = np.array(layout["groups"])
    assert tuple((groups == name).sum() for name in (RIGHT, WRONG, MADE)) == counts
    assert layout["features"].shape == (sum(counts), 8)
    assert layout["max_points"] == sum(counts)
    own = pairs.row_of_pair[layout["pair_ids"]]
    made = groups == MADE
    np.testing.assert_array_equal(layout["image_rows"] == own, ~made)
    is_noisy = pairs.is_noisy[layout["pair_ids"]]
    assert is_noisy[groups == WRONG].all()
    assert not is_noisy[groups == RIGHT].any()
    for name in (RIGHT, WRONG, MADE):
        ids = layout["pair_ids"][groups == name].tolist()
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("oracle", "expected"), [("none", "given pairs"), ("clean", RIGHT), ("noisy", WRONG)]
)
def test_a_group_without_pairs_is_left_out(
    tiny_regions_dataset, processor, layout, tmp_path, oracle, expected
):
    dataset = tiny_regions_dataset(6, 2, noisy_share=1.0 if oracle == "noisy" else 0.0)
    if oracle == "none":
        dataset = dataset.remove_columns("is_noisy")
    model = RcarModel(rcar_config())
    draw_pair_features(tmp_path / "cls.png", model, processor, PairDataset(dataset))
    assert layout["groups"] == [expected] * 12 + [MADE] * 12


def test_no_negative_is_made_of_an_image_and_its_own_caption(
    tiny_regions_dataset, processor, layout, tmp_path
):
    pairs = PairDataset(tiny_regions_dataset(2, 3))
    model = RcarModel(rcar_config())
    for seed in range(20):
        draw_pair_features(tmp_path / "cls.png", model, processor, pairs, seed)
        made = np.array(layout["groups"]) == MADE
        own = pairs.row_of_pair[layout["pair_ids"][made]]
        assert (layout["image_rows"][made] == 1 - own).all()


def test_the_picture_and_its_points_are_written(tiny_regions_dataset, processor, tmp_path):
    pairs = PairDataset(tiny_regions_dataset(6, 2, noisy_share=0.5))
    model = RcarModel(rcar_config())
    draw_pair_features(tmp_path / "cls.png", model, processor, pairs, n_of_each=4)
    assert (tmp_path / "cls.png").read_bytes().startswith(b"\x89PNG")
    points = json.loads((tmp_path / "cls.json").read_text())["points"]
    assert [name for *_, name in points] == [RIGHT] * 4 + [WRONG] * 4 + [MADE] * 4
    assert np.isfinite([point[:2] for point in points]).all()

"""Scores of given pairs, and the probability of a match that is fitted to them."""

import json

import datasets
import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from transformers import BertConfig

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    EncoderPairConfig,
    EncoderPairModel,
    MatchingConfig,
    MatchingModel,
    NcrConfig,
    NcrModel,
    PairDataset,
    RcarModel,
)
from noisy_xmodal.data.regions import vector_feature
from noisy_xmodal.evaluation import (
    calibrate,
    calibrate_on,
    fit_match_probability,
    pair_scores,
    score_matrix,
)
from noisy_xmodal.evaluation.calibration import _texts_of_other_groups
from tiny_backbones import RESNET, TEXT, backbone_config, picture_dataset, picture_processor
from tiny_rcar import rcar_config

SMALL = {"hidden_sizes": [6], "embedding_size": 4, "n_classes": 3}


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.fixture(params=["cosine", "scan_t2i", "sgr", "rcar"])
def any_model(request, tiny_config):
    if request.param == "rcar":
        return RcarModel(rcar_config())
    return NcrModel(tiny_config(NcrConfig, request.param))


@pytest.mark.parametrize("block_size", [3, 64])
def test_a_pairs_score_is_that_of_the_whole_matrix(
    any_model, tiny_processor, tiny_regions_dataset, block_size
):
    pairs = PairDataset(tiny_regions_dataset(9, 1))
    any_model.train()
    found = pair_scores(any_model, tiny_processor, pairs.images, pairs.captions(), block_size)
    assert any_model.training
    everything = score_matrix(any_model, tiny_processor, pairs.images, pairs.captions())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, everything.diagonal(), atol=1e-6)
    assert found.std() > 1e-5


def test_pairs_come_in_twos(tiny_config, tiny_processor):
    model = MatchingModel(tiny_config(MatchingConfig))
    for images, texts in (([np.ones((1, 4))], ["a", "b"]), ([], [])):
        with pytest.raises(ValueError, match=f"{len(images)} images and {len(texts)} texts"):
            pair_scores(model, tiny_processor, images, texts)


def test_the_fit_is_the_most_likely_one_with_both_kinds_weighed_equally():
    """Against a general minimiser of the loss as Platt's paper writes it."""
    rng = np.random.default_rng(0)
    matched, mismatched = rng.normal(0.5, 0.2, 60), rng.normal(0.2, 0.1, 400)

    def loss(line: np.ndarray) -> float:
        total = 0.0
        for scores, target in ((matched, 61 / 62), (mismatched, 1 / 402)):
            p = sigmoid(line[0] * scores + line[1])
            total -= np.mean(target * np.log(p) + (1 - target) * np.log(1 - p))
        return total

    expected = minimize(loss, [1.0, 0.0]).x
    found = fit_match_probability(matched, mismatched)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert loss(np.array(found)) <= loss(expected) + 1e-7


def test_the_probabilities_are_those_that_made_the_scores():
    rng = np.random.default_rng(1)
    scores = rng.uniform(-1, 1, 20_000)
    match = rng.random(20_000) < sigmoid(8 * scores - 1)
    # As many of both kinds, as the fit takes them to be.
    n = min(match.sum(), (~match).sum())
    scale, bias = fit_match_probability(scores[match][:n], scores[~match][:n])
    shift = np.log(match.mean() / (1 - match.mean()))
    assert scale == pytest.approx(8, rel=0.05)
    assert bias == pytest.approx(-1 - shift, abs=0.1)


def test_numbers_do_not_matter_and_separable_scores_stay_finite():
    matched, mismatched = np.array([0.6, 0.7, 0.8]), np.array([0.1, 0.2])
    scale, bias = fit_match_probability(matched, mismatched)
    assert 0 < scale < 100
    assert scale * 0.6 + bias > 0 > scale * 0.2 + bias
    shifted = fit_match_probability(matched * 10 + 5, mismatched * 10 + 5)
    np.testing.assert_allclose(shifted[0] * 10, scale, rtol=1e-3)


@pytest.mark.parametrize(
    ("matched", "mismatched", "message"),
    [
        (
            [0.1, np.nan, np.inf],
            [0.2],
            "`matched` has 2 scores that are not finite, the first at 1",
        ),
        ([0.1], [0.2, -np.inf], "`mismatched` has 1 scores that are not finite"),
        ([0.3, 0.3], [0.3], "all 3 scores are 0.3: the model does not distinguish the pairs"),
        ([], [0.3], r"`matched` has the shape \(0,\)"),
        ([[0.1]], [0.3], r"`matched` has the shape \(1, 1\)"),
    ],
)
def test_scores_that_say_nothing_are_refused(matched, mismatched, message):
    with pytest.raises(ValueError, match=message):
        fit_match_probability(matched, mismatched)


def test_strangers_are_of_another_group_and_all_of_them_are_drawn():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    drawn = np.array([_texts_of_other_groups(groups, groups, seed) for seed in range(300)])
    assert np.array_equal(drawn[7], _texts_of_other_groups(groups, groups, 7))
    for at, group in enumerate(groups):
        others, counts = np.unique(drawn[:, at], return_counts=True)
        assert others.tolist() == np.flatnonzero(groups != group).tolist()
        assert counts.min() > 0.6 * 300 / len(others)


def test_strangers_where_a_text_has_a_class_of_its_own():
    drawn = [_texts_of_other_groups([0, 1, 2], [1, 1, 0], seed) for seed in range(50)]
    found = [set(column) for column in zip(*np.array(drawn).tolist(), strict=True)]
    assert found == [{0, 1}, {2}, {0, 1, 2}]


class AsTheyAre(torch.nn.Module):
    """A two-tower model of vectors that does nothing to them, times `sign` for images."""

    is_two_tower = True
    device = torch.device("cpu")

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign
        self.config = CommonSpaceConfig(image_size=4, text_size=4, **SMALL)

    def get_image_features(self, image_features: torch.Tensor) -> torch.Tensor:
        return self.sign * image_features

    def get_text_features(self, text_features: torch.Tensor) -> torch.Tensor:
        return text_features


def near_vectors(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    images = rng.standard_normal((n, 4)).astype(np.float32)
    return images, images + 0.5 * rng.standard_normal((n, 4)).astype(np.float32)


def test_a_model_is_calibrated_by_its_own_scores():
    images, texts = near_vectors(40)
    groups = np.arange(40) // 2
    model = AsTheyAre()
    calibrate(model, CommonSpaceProcessor(), list(images), list(texts), groups, seed=3)
    everything = images @ texts.T
    mismatched = everything[np.arange(40), _texts_of_other_groups(groups, groups, 3)]
    expected = fit_match_probability(everything.diagonal(), mismatched)
    found = model.config.match_scale, model.config.match_bias
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[0] > 0


def test_a_model_that_takes_strangers_for_matches_is_named():
    images, texts = map(list, near_vectors(40))
    with pytest.warns(UserWarning, match="the model does not find matches"):
        calibrate(AsTheyAre(-1.0), CommonSpaceProcessor(), images, texts, np.arange(40))


def test_calibration_refuses_what_it_cannot_use(tiny_processor, tiny_regions_dataset):
    images, texts = map(list, near_vectors(3))
    model, processor = AsTheyAre(), CommonSpaceProcessor()
    with pytest.raises(ValueError, match="all 3 texts are of the group 'x'"):
        calibrate(model, processor, images, texts, ["x", "x", "x"])
    with pytest.raises(ValueError, match="there are 3 texts and 2 groups"):
        calibrate(model, processor, images, texts, [0, 1])
    with pytest.raises(ValueError, match="of RcarModel is already the log-odds of a match"):
        calibrate_on(RcarModel(rcar_config()), tiny_processor, tiny_regions_dataset(3))
    assert model.config.match_scale is None


@pytest.mark.filterwarnings("ignore:pairs score")
def test_a_split_of_pairs_calibrates_by_its_images(
    tiny_config, tiny_processor, tiny_regions_dataset
):
    rows = tiny_regions_dataset(12, 2)
    pairs = PairDataset(rows)
    images = [pairs.images[row] for row in pairs.row_of_pair.tolist()]
    texts, names = pairs.captions(), np.array(rows["image_id"])[pairs.row_of_pair]
    found = []
    for max_pairs in (24, 9):
        chosen = np.arange(24)
        if max_pairs == 9:
            chosen = np.sort(np.random.default_rng(5).permutation(24)[:9])
        torch.manual_seed(0)
        model = MatchingModel(tiny_config(MatchingConfig))
        own = [images[at] for at in chosen], [texts[at] for at in chosen]
        calibrate(model, tiny_processor, *own, names[chosen], seed=5)
        expected = model.config.match_scale, model.config.match_bias
        for split in (rows, pairs):
            model.config.match_scale = model.config.match_bias = None
            calibrate_on(model, tiny_processor, split, seed=5, max_pairs=max_pairs)
            found.append((model.config.match_scale, model.config.match_bias))
            np.testing.assert_allclose(found[-1], expected, rtol=1e-3)
    assert found[0] != found[2]


@pytest.mark.filterwarnings("ignore:pairs score")
def test_a_split_with_classes_calibrates_by_them(tmp_path):
    rows = picture_dataset(10)
    processor = picture_processor()
    model = CommonSpaceModel(CommonSpaceConfig(backbone_config=backbone_config("clip"), **SMALL))
    calibrate_on(model, processor, rows, seed=1)
    pictures = [row["image"] for row in rows]
    texts = [row["captions"][0] for row in rows]
    everything = score_matrix(model, processor, pictures, texts)
    labels = np.array(rows["image_label"])
    mismatched = everything[np.arange(10), _texts_of_other_groups(labels, labels, 1)]
    expected = fit_match_probability(everything.diagonal(), mismatched)
    found = model.config.match_scale, model.config.match_bias
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    model.save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert (kept["match_scale"], kept["match_bias"]) == found


def test_a_split_of_vectors_calibrates():
    images, texts = near_vectors(30)
    labels = [row % 3 for row in range(30)]
    columns = {"image_features": images, "text_features": texts}
    rows = datasets.Dataset.from_dict(
        {name: values.tolist() for name, values in columns.items()}
        | {"image_label": labels, "text_label": labels},
        features=datasets.Features(
            {name: vector_feature(4) for name in columns}
            | {f"{side}_label": datasets.ClassLabel(num_classes=3) for side in ("image", "text")}
        ),
    )
    model = AsTheyAre()
    calibrate_on(model, CommonSpaceProcessor(), rows, seed=2)
    everything = images @ texts.T
    mismatched = everything[np.arange(30), _texts_of_other_groups(labels, labels, 2)]
    expected = fit_match_probability(everything.diagonal(), mismatched)
    found = model.config.match_scale, model.config.match_bias
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:pairs score")
@pytest.mark.parametrize("kind", ["regions", "backbone", "encoder pair"])
def test_classes_do_not_matter_to_a_model_of_pairs(
    kind, tiny_config, tiny_processor, tiny_regions_dataset
):
    if kind == "regions":
        rows, processor = tiny_regions_dataset(8, 1), tiny_processor
        rows = rows.add_column("image_label", [row % 3 for row in range(8)])
        model = MatchingModel(tiny_config(MatchingConfig))
    else:
        rows, processor = picture_dataset(8).remove_columns("text_label"), picture_processor()
        model = (
            MatchingModel(MatchingConfig(backbone_config=backbone_config("clip")))
            if kind == "backbone"
            else EncoderPairModel(
                EncoderPairConfig(
                    vision_config=RESNET, text_config=BertConfig(**TEXT), projection_size=5
                )
            )
        )
    found = []
    for given in (rows, PairDataset(rows)):
        calibrate_on(model, processor, given, seed=1)
        found.append((model.config.match_scale, model.config.match_bias))
    assert found[0] == found[1]

"""Retrieval by class: metrics from a model's outputs, whatever the mode and the blocks."""

import numpy as np
import pytest
import torch

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    LabelDataset,
    LabelRetrievalEvaluator,
    build_label_model,
)
from noisy_xmodal.data import DatasetError
from noisy_xmodal.metrics import precision_recall_curve
from tiny_backbones import WIDTHS, backbone_config, picture_dataset, picture_processor
from toy_labels import toy_labels


@pytest.fixture
def pairs() -> LabelDataset:
    return LabelDataset(toy_labels(23, noise="sym_40"), "validation")


def make_model(pairs: LabelDataset, method: str = "dmcm", **fields) -> CommonSpaceModel:
    sizes = {"hidden_sizes": [7], "embedding_size": 8}
    return build_label_model(method, pairs, **sizes | fields)


def picture_model(kind: str = "clip") -> CommonSpaceModel:
    config = CommonSpaceConfig(
        backbone_config=backbone_config(kind), hidden_sizes=[7], embedding_size=8, n_classes=3
    )
    return CommonSpaceModel(config)


def average_precision(similarity: np.ndarray, own: int, labels: np.ndarray, k: int) -> float:
    """The mean precision at the relevant items among the first k."""
    precisions, n_found = [], 0
    for rank, item in enumerate(np.argsort(-similarity, kind="stable")[:k], start=1):
        if labels[item] == own:
            n_found += 1
            precisions.append(n_found / rank)
    return float(np.mean(precisions)) if precisions else 0.0


def metrics_by_hand(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, pairs: LabelDataset, cutoffs: tuple
) -> dict[str, float]:
    scores = (image_embeds.double() @ text_embeds.double().T).numpy()
    found = {}
    for way, table, query_labels, item_labels in (
        ("i2t", scores, pairs.image_labels, pairs.text_labels),
        ("t2i", scores.T, pairs.text_labels, pairs.image_labels),
    ):
        for k in (None, *cutoffs):
            values = [
                average_precision(row, own, item_labels, k or len(row))
                for row, own in zip(table, query_labels, strict=True)
            ]
            found[f"{way}_map" + (f"_{k}" if k else "")] = float(np.mean(values))
    found["map"] = (found["i2t_map"] + found["t2i_map"]) / 2
    return found


@pytest.mark.parametrize("method", ["dmcm", "dscmr", "dcca"])
@pytest.mark.parametrize("cutoffs", [(), (5, 50)])
def test_metrics_are_those_of_the_outputs_in_eval_mode(pairs, method, cutoffs):
    fields = {"canonical_size": 5} if method == "dcca" else {}
    model = make_model(pairs, method, **fields)
    found = LabelRetrievalEvaluator(CommonSpaceProcessor(), cutoffs=cutoffs)(model, pairs)
    with torch.no_grad():
        output = model.eval()(torch.tensor(pairs.image_features), torch.tensor(pairs.text_features))
    expected = metrics_by_hand(output.image_embeds, output.text_embeds, pairs, cutoffs)
    assert 0.2 < expected["map"] < 1
    assert expected["i2t_map"] != expected["t2i_map"]
    assert found == pytest.approx(expected)
    assert LabelRetrievalEvaluator.primary_metric in found


def test_curves_are_those_of_the_same_vectors(pairs):
    model, evaluator = make_model(pairs), LabelRetrievalEvaluator(CommonSpaceProcessor())
    found = evaluator.curves(model, pairs.dataset)
    images, texts = evaluator.embed(model, pairs)
    expected = precision_recall_curve(images, texts, pairs.image_labels, pairs.text_labels)
    assert found == expected
    assert 0 < found["i2t_precision"][-1] < found["i2t_precision"][0] <= 1


def test_rows_and_their_pairs_are_evaluated_alike(pairs):
    model, evaluator = make_model(pairs), LabelRetrievalEvaluator(CommonSpaceProcessor())
    assert evaluator(model, pairs.dataset) == evaluator(model, pairs)


def test_the_block_size_does_not_matter(pairs):
    model = make_model(pairs, "dcca", canonical_size=5)
    images, texts = LabelRetrievalEvaluator(CommonSpaceProcessor()).embed(model, pairs)
    assert images.shape == texts.shape == (23, 5)
    for block_size in (1, 5, 22, 23, 24):
        evaluator = LabelRetrievalEvaluator(CommonSpaceProcessor(), block_size)
        blocks = evaluator.embed(model, pairs)
        np.testing.assert_allclose(blocks[0], images, atol=1e-6)
        np.testing.assert_allclose(blocks[1], texts, atol=1e-6)


def test_every_row_keeps_its_place(pairs):
    """Row by row, by a forward pass of its own."""
    model = make_model(pairs).eval()
    images, texts = LabelRetrievalEvaluator(CommonSpaceProcessor(), 4).embed(model, pairs)
    for row in range(len(pairs)):
        one = pairs[row]
        with torch.no_grad():
            output = model(one["image_features"][None], one["text_features"][None])
        np.testing.assert_allclose(images[row], output.image_embeds[0], atol=1e-6)
        np.testing.assert_allclose(texts[row], output.text_embeds[0], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_never_matters(pairs, training):
    """DCCA has a batch normalisation, whose outputs of training mode would differ."""
    model = make_model(pairs, "dcca", canonical_size=5)
    expected = LabelRetrievalEvaluator(CommonSpaceProcessor())(model.eval(), pairs)
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert LabelRetrievalEvaluator(CommonSpaceProcessor(), 4)(model, pairs) == pytest.approx(
        expected
    )
    assert all(module.training is training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_model_with_a_backbone_reads_the_pictures_of_rows_that_have_vectors_too(kind):
    """Vectors in the rows come from elsewhere, even where they have the right width."""
    plain = picture_dataset()
    rng = np.random.default_rng(0)
    both = plain
    for side in ("image", "text"):
        vectors = rng.standard_normal((len(plain), WIDTHS[kind])).astype(np.float32)
        both = both.add_column(f"{side}_features", vectors.tolist())
    model, processor = picture_model(kind), picture_processor()
    evaluator = LabelRetrievalEvaluator(processor, block_size=2, cutoffs=())
    assert LabelDataset(both).has_features
    found = evaluator(model, both)
    assert found == evaluator(model, plain)
    with torch.no_grad():
        raw = LabelDataset(plain)
        output = model.eval()(**processor(images=raw.pictures(range(5)), text=raw.texts(range(5))))
    expected = metrics_by_hand(output.image_embeds, output.text_embeds, raw, ())
    assert found == pytest.approx(expected)


def test_vectors_that_somebody_made_of_the_pictures_are_read():
    """Given as `LabelDataset`: those are what a frozen backbone gave."""
    model, pairs = picture_model(), LabelDataset(picture_dataset())
    rng = np.random.default_rng(0)
    images, texts = (rng.standard_normal((5, WIDTHS["clip"])).astype(np.float32) for _ in "it")
    evaluator = LabelRetrievalEvaluator(picture_processor(), cutoffs=())
    found = evaluator(model, pairs.with_features(images, texts))
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(images), torch.from_numpy(texts))
    expected = metrics_by_hand(output.image_embeds, output.text_embeds, pairs, ())
    assert found == pytest.approx(expected)


def test_a_split_that_breaks_the_contract_is_refused(pairs):
    broken = pairs.dataset.remove_columns("text_label")
    with pytest.raises(DatasetError, match="text_label"):
        LabelRetrievalEvaluator(CommonSpaceProcessor())(make_model(pairs), broken)


def test_vectors_alone_are_not_enough_for_a_model_of_pictures():
    with pytest.raises(DatasetError, match=r"has no column 'image'.* model of pictures and texts"):
        LabelRetrievalEvaluator(picture_processor())(picture_model(), toy_labels(8))


@pytest.mark.parametrize("side", ["image", "text"])
def test_vectors_of_one_side_are_not_enough_for_a_model_of_vectors(side):
    rows = picture_dataset()
    vectors = np.ones((len(rows), 4), np.float32).tolist()
    rows = rows.add_column(f"{side}_features", vectors)
    config = CommonSpaceConfig(
        image_size=4, text_size=4, hidden_sizes=[7], embedding_size=8, n_classes=3
    )
    evaluator = LabelRetrievalEvaluator(CommonSpaceProcessor())
    message = "Split 'train' has pictures or texts, and the model reads feature vectors"
    for given in (rows, LabelDataset(rows)):
        with pytest.raises(DatasetError, match=message):
            evaluator(CommonSpaceModel(config), given)

"""Score matrices block by block, and the evaluator over them."""

from typing import Any

import numpy as np
import pytest
import torch

from noisy_xmodal import MatchingModel, NcrConfig, NcrModel, RetrievalEvaluator
from noisy_xmodal.data import DatasetError, PairDataset
from noisy_xmodal.evaluation import score_matrix, scoring

N_IMAGES, PER_IMAGE = 5, 2

HEADS = pytest.mark.parametrize("similarity", ["cosine", "scan_t2i", "sgr"])


@pytest.fixture
def dataset(tiny_regions_dataset):
    return tiny_regions_dataset(N_IMAGES, PER_IMAGE)


def one_by_one(model: Any, processor: Any, images: list, texts: list[str]) -> np.ndarray:
    """The score of every single pair by a forward pass of its own."""
    model.eval()
    scores = np.zeros((len(images), len(texts)), dtype=np.float32)
    with torch.no_grad():
        for i, image in enumerate(images):
            for j, text in enumerate(texts):
                output = model(**processor(images=[image], text=[text]))
                scores[i, j] = output.scores.item()
    return scores


def material(dataset) -> tuple[list[np.ndarray], list[str]]:
    images = [np.array(row["regions"], dtype=np.float32) for row in dataset]
    return images, [caption for row in dataset for caption in row["captions"]]


@HEADS
@pytest.mark.parametrize("kind", ["matching", "ncr"])
def test_every_block_size_gives_the_scores_of_single_pairs(
    dataset, tiny_config, tiny_processor, similarity, kind
):
    model = (
        MatchingModel(tiny_config(similarity=similarity))
        if kind == "matching"
        else NcrModel(tiny_config(NcrConfig, similarity))
    )
    images, texts = material(dataset)
    expected = one_by_one(model, tiny_processor, images, texts)
    for block_size in (1, 2, 3, 5, 7, 10, 100):
        scores = score_matrix(model, tiny_processor, images, texts, block_size)
        assert scores.shape == (N_IMAGES, N_IMAGES * PER_IMAGE)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-6, err_msg=f"blocks of {block_size}")


def test_texts_that_do_not_fit_memory_come_in_shares_and_are_encoded_once(
    dataset, tiny_config, tiny_processor, monkeypatch
):
    model = MatchingModel(tiny_config(similarity="scan_t2i"))
    images, texts = material(dataset)
    expected = score_matrix(model, tiny_processor, images, texts, block_size=2)
    counts = {"encode_image": 0, "encode_text": 0}
    for name in counts:
        whole = getattr(model, name)

        def counting(*given, _name=name, _whole=whole, **named):
            found = _whole(*given, **named)
            counts[_name] += len(found.tokens)
            return found

        monkeypatch.setattr(model, name, counting)
    longest = max(len(text.split()) for text in texts) + 2
    monkeypatch.setattr(scoring, "TEXT_BYTES", 4 * longest * model.config.hidden_size * 4)
    scores = score_matrix(model, tiny_processor, images, texts, block_size=2)
    np.testing.assert_array_equal(scores, expected)
    assert counts["encode_text"] == len(texts)
    assert len(images) < counts["encode_image"] < len(texts) * len(images)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_never_matters(dataset, tiny_config, tiny_processor, training):
    """Dropout is 0.4, so scores of training mode would differ."""
    model = MatchingModel(tiny_config()).train(training)
    images, texts = material(dataset)
    scores = score_matrix(model, tiny_processor, images, texts)
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    np.testing.assert_allclose(scores, one_by_one(model, tiny_processor, images, texts), atol=1e-6)


def test_the_mode_is_restored_after_an_error(dataset, tiny_config, tiny_processor):
    model = MatchingModel(tiny_config()).train()
    images, texts = material(dataset)
    images[-1] = np.zeros((2, 9), dtype=np.float32)
    with pytest.raises(ValueError, match="expected region features"):
        score_matrix(model, tiny_processor, images, texts, block_size=2)
    assert model.training


def test_no_gradient_is_kept(dataset, tiny_config, tiny_processor):
    model = MatchingModel(tiny_config())
    score_matrix(model, tiny_processor, *material(dataset))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_texts_are_encoded_once_and_images_in_blocks(
    dataset, tiny_config, tiny_processor, monkeypatch
):
    model = MatchingModel(tiny_config(similarity="scan_t2i"))
    sizes: dict[str, list[int]] = {"image": [], "text": []}
    encode_image, encode_text = model.encode_image, model.encode_text

    def count_images(**inputs: torch.Tensor) -> Any:
        sizes["image"].append(len(inputs["regions"]))
        return encode_image(**inputs)

    def count_texts(**inputs: torch.Tensor) -> Any:
        sizes["text"].append(len(inputs["input_ids"]))
        return encode_text(**inputs)

    monkeypatch.setattr(model, "encode_image", count_images)
    monkeypatch.setattr(model, "encode_text", count_texts)
    score_matrix(model, tiny_processor, *material(dataset), block_size=4)
    assert sizes == {"image": [4, 1], "text": [4, 4, 2]}


@pytest.mark.parametrize(("similarity", "length_order"), [("cosine", False), ("scan_t2i", True)])
def test_texts_of_one_length_share_a_block_where_padding_costs_most(
    dataset, tiny_config, tiny_processor, monkeypatch, similarity, length_order
):
    """The scores keep their places, see above."""
    model = MatchingModel(tiny_config(similarity=similarity))
    images, texts = material(dataset)
    given = [2 + len(text.split()) for text in texts]  # with the marks of start and end
    assert given != sorted(given)
    lengths, encode_text = [], model.encode_text

    def note_lengths(**inputs: torch.Tensor) -> Any:
        lengths.extend(inputs["attention_mask"].sum(dim=1).tolist())
        return encode_text(**inputs)

    monkeypatch.setattr(model, "encode_text", note_lengths)
    score_matrix(model, tiny_processor, images, texts, block_size=4)
    assert lengths == (sorted(given) if length_order else given)


def metrics_by_sorting(scores: np.ndarray, own_image: list[int]) -> dict[str, float]:
    image_ranks, text_ranks = [], []
    for i in range(len(scores)):
        order = np.argsort(-scores[i]).tolist()
        image_ranks.append(min(order.index(j) for j, own in enumerate(own_image) if own == i))
    for j, own in enumerate(own_image):
        text_ranks.append(np.argsort(-scores[:, j]).tolist().index(own))
    metrics = {}
    for direction, ranks in (("i2t", image_ranks), ("t2i", text_ranks)):
        for cutoff in (1, 5, 10):
            hits = sum(rank < cutoff for rank in ranks)
            metrics[f"{direction}_r{cutoff}"] = 100 * hits / len(ranks)
    metrics["rsum"] = sum(metrics.values())
    metrics["i2t_medr"] = float(np.floor(np.median(image_ranks)) + 1)
    metrics["t2i_medr"] = float(np.floor(np.median(text_ranks)) + 1)
    return metrics


@HEADS
def test_the_evaluator_ranks_like_a_sort(
    tiny_regions_dataset, tiny_config, tiny_processor, similarity
):
    dataset = tiny_regions_dataset(13, 2)
    model = NcrModel(tiny_config(NcrConfig, similarity))
    evaluator = RetrievalEvaluator(tiny_processor, block_size=4)
    images, texts = material(dataset)
    with torch.no_grad():
        scores = model.eval()(**tiny_processor(images=images, text=texts)).scores.numpy()
    expected = metrics_by_sorting(scores, [pair // 2 for pair in range(26)])
    assert 0 < expected["rsum"] < 600
    for split in (dataset, PairDataset(dataset)):
        found = evaluator(model, split)
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected)
    assert evaluator.primary_metric in found


def test_folds_are_averaged_and_score_their_own_pairs_alone(
    tiny_regions_dataset, tiny_config, tiny_processor, monkeypatch
):
    dataset = tiny_regions_dataset(12, 2)
    model = MatchingModel(tiny_config(similarity="scan_t2i"))
    images, texts = material(dataset)
    scores = score_matrix(model, tiny_processor, images, texts)
    score, counts = model.score, []

    def counting(image, text):
        counts.append(len(image.tokens) * len(text.tokens))
        return score(image, text)

    monkeypatch.setattr(model, "score", counting)
    found = RetrievalEvaluator(tiny_processor, fold_size=4)(model, dataset)
    assert sum(counts) == 3 * 4 * 8
    parts = [
        metrics_by_sorting(scores[start : start + 4, 2 * start : 2 * start + 8], np.arange(8) // 2)
        for start in (0, 4, 8)
    ]
    expected = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="fold_size is 5 for 12 images"):
        RetrievalEvaluator(tiny_processor, fold_size=5)(model, dataset)


def test_a_perfect_model_gets_600(tiny_regions_dataset, tiny_processor):
    """The text of pair p names image p // 2, so a scorer that reads it is always right."""

    class Oracle:
        is_two_tower = True
        training = False
        device = torch.device("cpu")

        def __init__(self, dataset: Any) -> None:
            pairs = PairDataset(dataset)
            self.owner = dict(zip(pairs.captions(), pairs.row_of_pair.tolist(), strict=True))
            self.images = [row["regions"] for row in dataset]

        def train(self, mode: bool = True) -> None:
            pass

        def get_image_features(self, images: list[int]) -> torch.Tensor:
            return torch.eye(len(self.images))[images]

        def get_text_features(self, images: list[int]) -> torch.Tensor:
            return torch.eye(len(self.images))[images]

    dataset = tiny_regions_dataset(6, 1)
    oracle = Oracle(dataset)
    assert len(oracle.owner) == 6, "captions must differ"

    class Inputs(dict):
        """A tensor of image numbers."""

    def processor(images: Any = None, text: Any = None) -> Inputs:
        if text is not None:
            return Inputs(images=torch.tensor([oracle.owner[caption] for caption in text]))
        return Inputs(
            images=torch.tensor([oracle.images.index(image.tolist()) for image in images])
        )

    metrics = RetrievalEvaluator(processor, block_size=4)(oracle, dataset)
    assert metrics["rsum"] == 600
    assert metrics["i2t_medr"] == metrics["t2i_medr"] == 1


def test_a_split_that_breaks_the_contract_is_refused(dataset, tiny_config, tiny_processor):
    broken = dataset.rename_column("captions", "caption")
    with pytest.raises(DatasetError, match="no column 'captions'"):
        RetrievalEvaluator(tiny_processor)(MatchingModel(tiny_config()), broken)

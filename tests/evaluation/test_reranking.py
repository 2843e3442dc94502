"""Shortlists, their scores by joint passes, and the ranks that come of them, against loops."""

from typing import Any

import numpy as np
import pytest
import torch

from noisy_xmodal import MatchingModel, RetrievalEvaluator
from noisy_xmodal.data import PairDataset
from noisy_xmodal.evaluation import RerankEvaluator, rerank, score_matrix, shortlist
from noisy_xmodal.evaluation.reranking import reranked_scores
from noisy_xmodal.modules import Encoded

N_IMAGES, PER_IMAGE = 9, 2
N_TEXTS = N_IMAGES * PER_IMAGE
ADDED = [
    "shortlist_i2t_recall",
    "shortlist_t2i_recall",
    "shortlist_rsum",
    "shortlist_k",
    "scored_pairs",
]


class JointModel(MatchingModel):
    """Scores pairs by a made-up joint pass, in which the two sides play different parts.

    Attributes:
        encoded: Number of images and texts of each call of the encoders.
        n_scored: Number of pairs of each call of `score_pairs`.
    """

    is_two_tower = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoded: dict[str, list[int]] = {"image": [], "text": []}
        self.n_scored: list[int] = []

    def encode_image(self, **inputs: torch.Tensor) -> Encoded:
        self.encoded["image"].append(len(inputs["regions"]))
        return super().encode_image(**inputs)

    def encode_text(self, **inputs: torch.Tensor) -> Encoded:
        self.encoded["text"].append(len(inputs["input_ids"]))
        return super().encode_text(**inputs)

    def score(self, image: Encoded, text: Encoded) -> torch.Tensor:
        return torch.sigmoid(5 * pooled(image) @ pooled(text).cumsum(dim=1).T)

    def score_pairs(self, image: Encoded, text: Encoded, pairs: torch.Tensor) -> torch.Tensor:
        assert pairs.dtype == torch.int64
        self.n_scored.append(len(pairs))
        rows, columns = pairs.T
        products = pooled(image)[rows] * pooled(text)[columns].cumsum(dim=1)
        return torch.sigmoid(5 * products.sum(dim=1))


def pooled(encoded: Encoded) -> torch.Tensor:
    real = encoded.mask[..., None]
    return (encoded.tokens * real).sum(dim=1) / real.sum(dim=1)


@pytest.fixture
def pairs(tiny_regions_dataset) -> PairDataset:
    return PairDataset(tiny_regions_dataset(N_IMAGES, PER_IMAGE))


@pytest.fixture
def model(tiny_config) -> JointModel:
    return JointModel(tiny_config()).train()


@pytest.fixture
def retriever(tiny_config) -> MatchingModel:
    torch.manual_seed(7)
    return MatchingModel(tiny_config()).train()


def material(pairs: PairDataset) -> tuple[Any, list[str]]:
    return pairs.images, pairs.captions()


def random_scores(seed: int = 0, ties: bool = False) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(size=(N_IMAGES, N_TEXTS)).astype(np.float32)
    return np.round(scores) if ties else scores


def some_pairs() -> np.ndarray:
    """Some of the pairs, with an image and two texts in none of them."""
    chosen = np.random.default_rng(0).random((N_IMAGES, N_TEXTS)) < 0.4
    chosen[4] = chosen[:, [0, 11]] = False
    assert chosen.any(axis=1).sum() == N_IMAGES - 1
    assert chosen.any(axis=0).sum() == N_TEXTS - 2
    return chosen


def best_by_sorting(line: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(line)), key=lambda item: (-line[item], item))[:k]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 3, N_IMAGES, 12, 100])
def test_shortlists_are_the_first_of_a_sort(monkeypatch, ties, k):
    monkeypatch.setattr("noisy_xmodal.evaluation.reranking._BLOCK_ROWS", 4)
    scores = random_scores(ties=ties)
    texts, images = shortlist(scores, k)
    for image in range(N_IMAGES):
        expected = best_by_sorting(scores[image], k)
        assert np.flatnonzero(texts[image]).tolist() == sorted(expected)
    for text in range(N_TEXTS):
        expected = best_by_sorting(scores[:, text], k)
        assert np.flatnonzero(images[:, text]).tolist() == sorted(expected)


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf])
def test_of_equal_scores_the_first_are_chosen(value):
    texts, images = shortlist(np.full((4, 6), value), 2)
    assert (texts == (np.arange(6) < 2)).all()
    assert (images == (np.arange(4) < 2)[:, None]).all()


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        (np.zeros((2, 3)), 0, "k is 0"),
        (np.zeros(3), 1, r"shape \(3,\)"),
        (np.zeros((0, 3)), 1, r"shape \(0, 3\)"),
        (np.array([[0.0, np.nan]]), 1, "not a number"),
    ],
)
def test_scores_that_give_no_shortlist_are_refused(scores, k, message):
    with pytest.raises(ValueError, match=message):
        shortlist(scores, k)


@pytest.mark.parametrize("block_size", [1, 4, 100])
def test_chosen_pairs_have_the_scores_of_the_whole_matrix(pairs, model, tiny_processor, block_size):
    whole = score_matrix(model, tiny_processor, *material(pairs))
    chosen = some_pairs()
    found = rerank(model, tiny_processor, *material(pairs), chosen, block_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[chosen], whole[chosen], atol=1e-6)
    assert np.isnan(found[~chosen]).all()
    assert model.training
    assert len(np.unique(whole.round(4))) > whole.size // 2


def test_only_what_is_needed_is_encoded_once_and_scored(pairs, model, tiny_processor):
    chosen = some_pairs()
    rerank(model, tiny_processor, *material(pairs), chosen, block_size=6)
    assert model.encoded == {"image": [6, 2], "text": [6, 6, 4]}
    assert sum(model.n_scored) == chosen.sum()
    assert min(model.n_scored) > 0


def test_without_chosen_pairs_nothing_is_done(pairs, model, tiny_processor):
    none = np.zeros((N_IMAGES, N_TEXTS), dtype=bool)
    assert np.isnan(rerank(model, tiny_processor, *material(pairs), none)).all()
    assert model.encoded == {"image": [], "text": []}


def test_the_mode_is_restored_after_an_error(pairs, model, tiny_processor, monkeypatch):
    def fail(*_: Any) -> None:
        assert not model.training
        assert torch.is_inference_mode_enabled()
        raise RuntimeError("no score")

    monkeypatch.setattr(model, "score_pairs", fail)
    with pytest.raises(RuntimeError, match="no score"):
        rerank(model, tiny_processor, *material(pairs), some_pairs())
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("similarity", ["cosine", "scan_t2i"])
def test_a_model_that_scores_no_single_pairs_is_refused(
    pairs, tiny_config, tiny_processor, similarity
):
    model = MatchingModel(tiny_config(similarity=similarity))
    with pytest.raises(TypeError, match="MatchingModel does not score single pairs"):
        rerank(model, tiny_processor, *material(pairs), some_pairs())


@pytest.mark.parametrize("chosen", [some_pairs().T, some_pairs().astype(int)])
def test_a_choice_of_another_kind_is_refused(pairs, model, tiny_processor, chosen):
    with pytest.raises(ValueError, match="give a boolean for each of 9 images with each of 18"):
        rerank(model, tiny_processor, *material(pairs), chosen)


def keys_by_hand(scores: np.ndarray, rescored: np.ndarray, k: int) -> list[tuple[bool, float]]:
    """What to sort the answers to a query by: the shortlist first, each part by its scores."""
    listed = best_by_sorting(scores, k)
    return [
        (item in listed, float(rescored[item] if item in listed else scores[item]))
        for item in range(len(scores))
    ]


def in_the_order_of(keys: list[tuple[bool, float]], line: np.ndarray) -> bool:
    """Whether numbers are in the order of the keys, equal where the keys are."""
    return all(
        (a < b) == (x < y) and (a == b) == (x == y)
        for a, x in zip(keys, line, strict=True)
        for b, y in zip(keys, line, strict=True)
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_new_scores_are_in_the_order_of_a_sort_per_query(monkeypatch, ties, k):
    monkeypatch.setattr("noisy_xmodal.evaluation.reranking._BLOCK_ROWS", 4)
    scores = random_scores(ties=ties)
    texts, images = shortlist(scores, k)
    rescored = np.where(texts | images, random_scores(3, ties) - 5, np.nan)
    by_image = reranked_scores(scores, rescored, texts)
    by_text = reranked_scores(scores.T, rescored.T, images.T).T
    assert by_image.shape == by_text.shape == (N_IMAGES, N_TEXTS)
    for image in range(N_IMAGES):
        keys = keys_by_hand(scores[image], rescored[image], k)
        assert in_the_order_of(keys, by_image[image])
    for text in range(N_TEXTS):
        keys = keys_by_hand(scores[:, text], rescored[:, text], k)
        assert in_the_order_of(keys, by_text[:, text])


def test_a_score_that_is_not_a_number_is_refused(pairs, model, tiny_processor, monkeypatch):
    chosen = some_pairs()
    nan = torch.tensor(torch.nan)
    monkeypatch.setattr(model, "score_pairs", lambda image, text, pairs: nan.expand(len(pairs)))
    image, text = np.argwhere(chosen)[0]
    with pytest.raises(ValueError, match=f"image {image} and text {text} is not a number"):
        rerank(model, tiny_processor, *material(pairs), chosen)


def recalls_by_hand(scores: np.ndarray, k: int) -> dict[str, float]:
    """The share of queries with a right answer among the first k."""
    images = [
        any(text // PER_IMAGE == image for text in best_by_sorting(scores[image], k))
        for image in range(N_IMAGES)
    ]
    texts = [text // PER_IMAGE in best_by_sorting(scores[:, text], k) for text in range(N_TEXTS)]
    return {
        "shortlist_i2t_recall": 100 * np.mean(images),
        "shortlist_t2i_recall": 100 * np.mean(texts),
    }


def metrics_by_hand(scores: np.ndarray, rescored: np.ndarray, k: int) -> dict[str, float]:
    """Recalls by sorting the answers to each query, image after image and text after text."""
    (n_images, n_texts), image_ranks, text_ranks = scores.shape, [], []
    for image in range(n_images):
        keys = keys_by_hand(scores[image], rescored[image], k)
        order = sorted(range(n_texts), key=lambda item: keys[item], reverse=True)
        image_ranks.append(min(order.index(image * PER_IMAGE + n) for n in range(PER_IMAGE)))
    for text in range(n_texts):
        keys = keys_by_hand(scores[:, text], rescored[:, text], k)
        order = sorted(range(n_images), key=lambda item: keys[item], reverse=True)
        text_ranks.append(order.index(text // PER_IMAGE))
    return {
        f"{way}_r{cutoff}": 100 * float(np.mean(np.array(ranks) < cutoff))
        for way, ranks in (("i2t", image_ranks), ("t2i", text_ranks))
        for cutoff in (1, 5, 10)
    }


def test_the_scores_of_both_models_are_added_by_weight(pairs, model, retriever, tiny_processor):
    scores = score_matrix(retriever, tiny_processor, *material(pairs))
    rescored = score_matrix(model, tiny_processor, *material(pairs))
    evaluator = RerankEvaluator(tiny_processor, retriever, tiny_processor, 6, weight=0.7)
    expected = metrics_by_hand(scores, rescored + 0.7 * scores, 6)
    found = evaluator(model, pairs)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    evaluator.weight = 1e6
    assert evaluator(model, pairs)["rsum"] == pytest.approx(found["shortlist_rsum"])


@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_evaluator_ranks_like_a_sort(pairs, model, retriever, tiny_processor, k):
    scores = score_matrix(retriever, tiny_processor, *material(pairs))
    rescored = score_matrix(model, tiny_processor, *material(pairs))
    evaluator = RerankEvaluator(tiny_processor, retriever, tiny_processor, k, block_size=4)
    found = evaluator(model, pairs)
    expected = metrics_by_hand(scores, rescored, k)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found[evaluator.primary_metric] == pytest.approx(sum(expected.values()))
    texts, images = shortlist(scores, k)
    own = RetrievalEvaluator(tiny_processor)
    assert {name: found[name] for name in ADDED} == pytest.approx(
        {
            **recalls_by_hand(scores, k),
            "shortlist_rsum": own(retriever, pairs)["rsum"],
            "shortlist_k": k,
            "scored_pairs": (texts | images).sum(),
        }
    )
    assert list(found) == [*own(model, pairs), *ADDED]
    assert model.training
    assert retriever.training


def test_shortlists_of_folds_hold_texts_of_their_own_images(
    pairs, model, retriever, tiny_processor
):
    options = {"k": 2, "block_size": 4, "fold_size": 3}
    found = RerankEvaluator(tiny_processor, retriever, tiny_processor, **options)(model, pairs)
    n_scored = sum(model.n_scored)
    scores = score_matrix(retriever, tiny_processor, *material(pairs))
    rescored = score_matrix(model, tiny_processor, *material(pairs))
    blocks = [
        (slice(start, start + 3), slice(2 * start, 2 * start + 6))
        for start in range(0, N_IMAGES, 3)
    ]
    parts = [metrics_by_hand(scores[block], rescored[block], 2) for block in blocks]
    for name in parts[0]:
        assert found[name] == pytest.approx(np.mean([part[name] for part in parts]))
    chosen = [np.logical_or(*shortlist(scores[block], 2)).sum() for block in blocks]
    assert found["scored_pairs"] == pytest.approx(np.mean(chosen))
    assert n_scored == sum(chosen)


@pytest.mark.parametrize("k", [N_TEXTS, 1000])
def test_with_everything_on_the_shortlist_the_retriever_does_not_matter(
    pairs, model, retriever, tiny_processor, k
):
    evaluator = RerankEvaluator(tiny_processor, retriever, tiny_processor, k)
    found = evaluator(model, pairs)
    whole = RetrievalEvaluator(tiny_processor)(model, pairs)
    assert {name: found[name] for name in whole} == pytest.approx(whole)
    assert found["shortlist_i2t_recall"] == found["shortlist_t2i_recall"] == 100
    assert found["scored_pairs"] == N_IMAGES * N_TEXTS


def test_the_retriever_scores_each_split_once(
    tiny_regions_dataset, model, retriever, tiny_processor, monkeypatch
):
    lengths = []
    get_text_features = retriever.get_text_features

    def counted(**inputs: torch.Tensor) -> torch.Tensor:
        lengths.append(len(inputs["input_ids"]))
        return get_text_features(**inputs)

    monkeypatch.setattr(retriever, "get_text_features", counted)
    evaluator = RerankEvaluator(tiny_processor, retriever, tiny_processor, 2)
    one, other = tiny_regions_dataset(5), tiny_regions_dataset(6)
    first = evaluator(model, one)
    assert evaluator(model, PairDataset(one)) == first
    assert lengths == [10]
    turned = one.select(range(4, -1, -1))
    again = [evaluator(model, rows) for rows in (other, turned, one, other)]
    assert lengths == [10, 12, 10]
    assert again[2] == first
    assert again[0] == again[3] != first

"""Ranks against sorting, ties, folds, memory and refusals."""

import tracemalloc

import numpy as np
import pytest

from noisy_xmodal.metrics import retrieval_metrics, retrieval_ranks


def ranks_by_sorting(scores, image_of_text):
    """Sort every line; of equal scores, wrong answers come first."""
    image_ranks, text_ranks = [], []
    for image, line in enumerate(scores):
        own = [t for t, i in enumerate(image_of_text) if i == image]
        best = max(own, key=lambda t: line[t])
        others = [t for t in range(len(line)) if t not in own]
        order = sorted([*others, best], key=lambda t: (-line[t], t == best))
        image_ranks.append(order.index(best) + 1)
    for text, image in enumerate(image_of_text):
        line = scores[:, text]
        order = sorted(range(len(line)), key=lambda i: (-line[i], i == image))
        text_ranks.append(order.index(image) + 1)
    return image_ranks, text_ranks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block_size", [1, 4, 100])
def test_ranks_agree_with_sorting(seed, ties, block_size):
    rng = np.random.default_rng(seed)
    image_of_text = rng.permutation(np.repeat(np.arange(11), rng.integers(1, 6, size=11)))
    scores = rng.normal(size=(11, len(image_of_text))).astype(np.float32)
    if ties:
        scores = np.round(scores)
    image_ranks, text_ranks = retrieval_ranks(scores, image_of_text, block_size=block_size)
    expected = ranks_by_sorting(scores, image_of_text)
    assert (image_ranks.tolist(), text_ranks.tolist()) == expected


def test_distinct_scores_agree_with_argsort():
    rng = np.random.default_rng(0)
    image_of_text = np.repeat(np.arange(30), 5)
    scores = rng.permutation(30 * 150).reshape(30, 150).astype(float)
    image_ranks, text_ranks = retrieval_ranks(scores, image_of_text, block_size=7)
    order = np.argsort(-scores, axis=0)
    assert text_ranks.tolist() == (1 + (order == image_of_text).argmax(axis=0)).tolist()
    own = image_of_text[np.argsort(-scores, axis=1)] == np.arange(30)[:, None]
    assert image_ranks.tolist() == (1 + own.argmax(axis=1)).tolist()


def test_a_constant_scorer_comes_last():
    image_of_text = np.repeat(np.arange(20), 5)
    image_ranks, text_ranks = retrieval_ranks(np.zeros((20, 100)), image_of_text)
    assert set(image_ranks) == {96}  # 95 texts of other images tie
    assert set(text_ranks) == {20}
    assert retrieval_metrics(np.zeros((20, 100)), image_of_text)["rsum"] == 0


@pytest.mark.parametrize("n_images", [255, 256, 700])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_any_size_and_layout_count_all_ties(n_images, order):
    # Every image ties with every text: a byte that counts them must not run over.
    scores = np.zeros((n_images, n_images), dtype=np.float32, order=order)
    image_ranks, text_ranks = retrieval_ranks(scores, np.arange(n_images), block_size=10_000)
    assert set(image_ranks) == set(text_ranks) == {n_images}
    spread = np.asarray(np.arange(n_images**2).reshape(n_images, n_images), order=order)
    image_ranks, text_ranks = retrieval_ranks(spread, np.arange(n_images), block_size=10_000)
    assert image_ranks.tolist() == text_ranks.tolist() == list(range(n_images, 0, -1))


def test_other_own_captions_never_stand_in_the_way():
    scores = np.array([[0.1, 0.9, 0.9, 0.5], [0.0, 0.0, 0.0, 1.0]])
    image_ranks, text_ranks = retrieval_ranks(scores, [0, 0, 0, 1])
    assert image_ranks.tolist() == [1, 1]
    assert text_ranks.tolist() == [1, 1, 1, 1]


def test_metrics_by_hand():
    scores = np.zeros((12, 12))
    for text in range(12):  # text t is found at rank t + 1
        better = [image for image in range(12) if image != text][:text]
        scores[better, text] = 2
        scores[text, text] = 1
    metrics = retrieval_metrics(scores, np.arange(12))
    assert metrics["t2i_r1"] == pytest.approx(100 / 12)
    assert metrics["t2i_r5"] == pytest.approx(500 / 12)
    assert metrics["t2i_r10"] == pytest.approx(1000 / 12)
    assert metrics["t2i_medr"] == 6  # ranks 1 to 12: 6.5, rounded down
    assert set(metrics) == {
        *(f"{way}_{name}" for way in ("i2t", "t2i") for name in ("r1", "r5", "r10", "medr")),
        "rsum",
    }
    recalls = [metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10)]
    assert metrics["rsum"] == pytest.approx(sum(recalls))
    assert all(type(value) is float for value in metrics.values())


def test_perfect_scores_reach_600():
    metrics = retrieval_metrics(np.repeat(np.eye(4), 3, axis=1), np.repeat(np.arange(4), 3))
    assert metrics["rsum"] == 600
    assert metrics["i2t_medr"] == metrics["t2i_medr"] == 1


def test_folds_are_averages_over_consecutive_images():
    rng = np.random.default_rng(1)
    image_of_text = rng.permutation(np.repeat(np.arange(30), 2))
    scores = rng.normal(size=(30, 60))
    folds = []
    for start in (0, 10, 20):
        texts = [t for t in range(60) if start <= image_of_text[t] < start + 10]
        fold = scores[start : start + 10, texts]
        folds.append(retrieval_metrics(fold, image_of_text[texts] - start))
    metrics = retrieval_metrics(scores, image_of_text, fold_size=10)
    for name, value in metrics.items():
        assert value == pytest.approx(np.mean([fold[name] for fold in folds]))
    assert retrieval_metrics(scores, image_of_text, fold_size=30) == pytest.approx(
        retrieval_metrics(scores, image_of_text)
    )


def test_mapped_scores_stay_on_disk(tmp_path):
    n_images, n_texts = 2000, 4000
    path = tmp_path / "scores.npy"
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n_images, n_texts))
    mapped[:] = np.random.default_rng(0).random((n_images, n_texts), dtype=np.float32)
    image_of_text = np.repeat(np.arange(n_images), 2)
    tracemalloc.start()
    mapped_ranks = retrieval_ranks(np.load(path, mmap_mode="r"), image_of_text, block_size=64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * n_texts * 4 + 40 * n_texts
    for ranks, expected in zip(
        mapped_ranks, retrieval_ranks(np.array(mapped), image_of_text), strict=True
    ):
        assert (ranks == expected).all()


@pytest.mark.parametrize(
    ("scores", "image_of_text", "message"),
    [
        (np.zeros((3, 3)), [0, 0, 2], "1 of 3 images without a text, first image row 1"),
        (np.zeros((2, 3)), [0, 1], "image_of_text"),
        (np.zeros(3), [0, 1, 2], "image_of_text"),
        (np.zeros((2, 2)), [0, 2], "gives text 1 image row 2"),
        (np.zeros((2, 2)), [0, -1], "gives text 1 image row -1"),
        (np.zeros((2, 2)), [0.0, 1.0], "type float64"),
        (np.zeros((0, 0)), np.zeros(0, dtype=int), "without a text"),
        (np.array([[1, 2], [np.nan, 3]]), [0, 1], "not a number at image 1 and text 0"),
    ],
)
def test_bad_inputs_are_refused(scores, image_of_text, message):
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(scores, image_of_text)


@pytest.mark.parametrize("fold_size", [0, -2, 3, 8])
def test_folds_must_divide_the_images(fold_size):
    with pytest.raises(ValueError, match=f"fold_size is {fold_size} for 4 images"):
        retrieval_metrics(np.eye(4), np.arange(4), fold_size=fold_size)


def test_an_error_in_a_fold_names_the_fold():
    scores = np.eye(4)
    scores[3, 2] = np.nan
    with pytest.raises(ValueError, match="fold that starts at image 2"):
        retrieval_metrics(scores, np.arange(4), fold_size=2)


def test_blocks_have_rows():
    with pytest.raises(ValueError, match="block_size is 0"):
        retrieval_ranks(np.eye(2), [0, 1], block_size=0)

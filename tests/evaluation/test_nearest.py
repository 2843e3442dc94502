"""The nearest vectors against a full sort."""

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from noisy_xmodal.evaluation import nearest as module
from noisy_xmodal.evaluation.nearest import nearest


def unit_vectors(n: int, size: int = 16, n_clusters: int = 25, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((n_clusters, size))
    vectors = centres[rng.integers(0, n_clusters, n)] + 0.4 * rng.standard_normal((n, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sorted_rows(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("block_rows", [300, 70])
def test_answers_are_those_of_a_full_sort(monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
    vectors, queries = unit_vectors(300), unit_vectors(40, seed=1)
    scores, rows = nearest(vectors, queries, 7)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(rows, sorted_rows(vectors, queries, 7))
    expected = np.take_along_axis(queries @ vectors.T, rows, 1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("block_rows", [1000, 20])
@pytest.mark.parametrize("n_queries", [1, 30])
def test_ties_go_to_the_lower_row(
    n_queries: int, block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
    vectors = np.zeros((50, 4), dtype=np.float32)
    vectors[:, 1] = 1
    vectors[::2, 0] = 1  # 25 rows share the best score, and 25 the second
    queries = np.tile(np.array([[1, 0, 0, 0]], dtype=np.float32), (n_queries, 1))
    for k in (1, 3, 25, 27, 50, 60):
        order = [*range(0, 50, 2), *range(1, 50, 2)][:k]
        scores, rows = nearest(vectors, queries, k)
        np.testing.assert_array_equal(rows, np.tile(order, (n_queries, 1)))
        np.testing.assert_array_equal(
            scores[0], [1.0] * min(k, 25) + [0.0] * (min(k, 50) - min(k, 25))
        )


def test_half_precision_memory_maps_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    half = unit_vectors(30).astype(np.float16)
    np.save(tmp_path / "v.npy", half)
    queries = unit_vectors(5, seed=1)
    rows = nearest(np.load(tmp_path / "v.npy", mmap_mode="r"), queries, 4)[1]
    np.testing.assert_array_equal(rows, sorted_rows(half, queries, 4))


def test_bad_arguments_are_named() -> None:
    vectors, diverged = unit_vectors(5), unit_vectors(5)
    diverged[3, 1] = np.nan
    with pytest.raises(ValueError, match="vectors row 3"):
        nearest(diverged, vectors, 2)
    with pytest.raises(ValueError, match="queries row 3"):
        nearest(vectors, diverged, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 9\).*n_queries, 16"):
        nearest(vectors, np.zeros((2, 9)), 2)
    with pytest.raises(ValueError, match="k is 0"):
        nearest(vectors, vectors, 0)
    with pytest.raises(ValueError, match=r"shape \(0, 4\)"):
        nearest(np.zeros((0, 4)), np.zeros((1, 4)), 1)


def test_faiss_takes_as_many_threads_as_torch() -> None:
    n_threads = torch.get_num_threads()
    try:
        for wanted in (2, 1):
            torch.set_num_threads(wanted)
            torch.ones(64, 64) @ torch.ones(64, 64)
            nearest(unit_vectors(5), unit_vectors(5), 1)
            assert faiss.omp_get_max_threads() == wanted
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize(("n_queries", "is_product"), [(2, False), (20, True)])
def test_faiss_multiplies_matrices_for_all_but_a_few_queries(
    n_queries: int, is_product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = faiss.cvar.distance_compute_blas_threshold, []

    def search(block: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        seen.append(faiss.cvar.distance_compute_blas_threshold)
        return np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)

    monkeypatch.setattr(module, "_search_block", search)
    nearest(unit_vectors(5), unit_vectors(n_queries), 1)
    assert seen == [1 if is_product else before]
    assert faiss.cvar.distance_compute_blas_threshold == before

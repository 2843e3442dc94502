"""Answers of the index against a full sort, what approximate kinds lose, and damaged files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("faiss")

from noisy_xmodal.evaluation import vector_index
from noisy_xmodal.evaluation.vector_index import VectorIndex

KINDS = ["exact", "ivf", "hnsw"]


def unit_vectors(n: int, size: int = 16, n_clusters: int = 25, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((n_clusters, size))
    vectors = centres[rng.integers(0, n_clusters, n)] + 0.4 * rng.standard_normal((n, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sorted_rows(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def test_exact_answers_are_those_of_a_full_sort() -> None:
    vectors, queries = unit_vectors(300), unit_vectors(40, seed=1)
    index = VectorIndex.build(vectors)
    assert (index.kind, len(index), index.size) == ("exact", 300, 16)
    scores, rows = index.search(queries, 7)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(rows, sorted_rows(vectors, queries, 7))
    expected = np.take_along_axis(queries @ vectors.T, rows, 1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_kinds_find_nearly_all(kind: str) -> None:
    vectors, queries = unit_vectors(2000), unit_vectors(100, seed=1)
    index = VectorIndex.build(vectors, kind)
    assert index.kind == kind
    rows = index.search(queries, 10)[1]
    best = sorted_rows(vectors, queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, rows, strict=True)])
    assert recall >= 0.95
    if kind == "ivf":  # it is an approximation, and the test one of it
        assert index._index.nprobe < index._index.nlist
        index._index.nprobe = 1
        assert not np.array_equal(index.search(queries, 10)[1], best)


def test_auto_leaves_exactness_above_the_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "EXACT_UP_TO", 200)
    assert VectorIndex.build(unit_vectors(200)).kind == "exact"
    assert VectorIndex.build(unit_vectors(201)).kind == "ivf"


@pytest.mark.parametrize("n_queries", [1, 30])
def test_ties_go_to_the_lower_row(n_queries: int) -> None:
    vectors = np.zeros((50, 4), dtype=np.float32)
    vectors[:, 1] = 1
    vectors[::2, 0] = 1  # 25 rows share the best score, and 25 the second
    queries = np.tile(np.array([[1, 0, 0, 0]], dtype=np.float32), (n_queries, 1))
    index = VectorIndex.build(vectors)
    for k in (1, 3, 25, 27, 50):
        order = [*range(0, 50, 2), *range(1, 50, 2)][:k]
        scores, rows = index.search(queries, k)
        np.testing.assert_array_equal(rows, np.tile(order, (n_queries, 1)))
        np.testing.assert_array_equal(scores[0], [1.0] * min(k, 25) + [0.0] * max(0, k - 25))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_is_marked(kind: str) -> None:
    vectors = unit_vectors(3)
    scores, rows = VectorIndex.build(vectors, kind).search(vectors[:2], 5)
    assert rows[:, 0].tolist() == [0, 1]
    assert sorted(rows[0, :3].tolist()) == [0, 1, 2]
    assert (rows[:, 3:] == -1).all()
    assert (scores[:, 3:] == -np.inf).all()
    assert np.isfinite(scores[:, :3]).all()


def test_half_precision_memory_maps_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "_BLOCK_ROWS", 7)
    half = unit_vectors(30).astype(np.float16)
    np.save(tmp_path / "v.npy", half)
    index = VectorIndex.build(np.load(tmp_path / "v.npy", mmap_mode="r"))
    queries = unit_vectors(5, seed=1)
    np.testing.assert_array_equal(index.search(queries, 4)[1], sorted_rows(half, queries, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_as_before(kind: str, tmp_path: Path) -> None:
    vectors, queries = unit_vectors(400), unit_vectors(5, seed=1)
    index = VectorIndex.build(vectors, kind)
    index.save(tmp_path / "deep" / "index")
    loaded = VectorIndex.load(tmp_path / "deep" / "index")
    assert (loaded.kind, len(loaded), loaded.size) == (kind, 400, 16)
    for mine, theirs in zip(index.search(queries, 6), loaded.search(queries, 6), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["index"]


def test_damaged_and_foreign_files_are_refused_before_faiss_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    path = tmp_path / "index"
    VectorIndex.build(unit_vectors(20)).save(path)
    whole = path.read_bytes()
    monkeypatch.setattr(faiss, "read_index", lambda name: pytest.fail("faiss has read it"))
    flipped = bytearray(whole)
    flipped[30] ^= 1
    damaged = {
        "cut": whole[:-40],
        "without its middle": whole[:50] + whole[90:],
        "one bit": bytes(flipped),
        "another n": whole.replace(b'"n": 20', b'"n": 99'),
        "another kind": whole.replace(b'"exact"', b'"exakt"'),
        "no JSON": whole.replace(b'{"kind"', b'["kind"'),
        "foreign": b"not an index" * 9,
        "empty": b"",
    }
    for content in damaged.values():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)):
            VectorIndex.load(path)
    with pytest.raises(FileNotFoundError):
        VectorIndex.load(tmp_path / "nowhere")


def test_bad_arguments_are_named() -> None:
    index = VectorIndex.build(unit_vectors(5))
    diverged = unit_vectors(5)
    diverged[3, 1] = np.nan
    with pytest.raises(ValueError, match="vectors row 3"):
        VectorIndex.build(diverged)
    with pytest.raises(ValueError, match="queries row 3"):
        index.search(diverged, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 9\).*n_queries, 16"):
        index.search(np.zeros((2, 9)), 2)
    with pytest.raises(ValueError, match="k is 0"):
        index.search(diverged[:1], 0)
    with pytest.raises(ValueError, match=r"kind is 'flat': .*auto, exact, ivf, hnsw"):
        VectorIndex.build(diverged, "flat")
    with pytest.raises(ValueError, match=r"shape \(0, 4\)"):
        VectorIndex.build(np.zeros((0, 4)))


def test_faiss_takes_as_many_threads_as_torch_and_is_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import faiss

    n_threads = torch.get_num_threads()
    try:
        for wanted in (2, 1):
            torch.set_num_threads(wanted)
            torch.ones(64, 64) @ torch.ones(64, 64)
            VectorIndex.build(unit_vectors(5))
            assert faiss.omp_get_max_threads() == wanted
    finally:
        torch.set_num_threads(n_threads)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        VectorIndex.build(unit_vectors(5))

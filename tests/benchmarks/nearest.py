"""CPU time of the nearest of 20,000 vectors of 256 numbers, beside faiss as it is.

python tests/benchmarks/nearest.py
"""

import time
from collections.abc import Callable

import faiss
import numpy as np
import torch

from noisy_xmodal.evaluation.nearest import nearest

N_VECTORS, SIZE, K, N_ROUNDS = 20_000, 256, 12, 3


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time of a call, the shortest of `N_ROUNDS`."""
    times = []
    for _ in range(N_ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    """Print the time of a query for several numbers of queries."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N_VECTORS, SIZE)).astype(np.float32)
    index = faiss.IndexFlatIP(SIZE)
    index.add(vectors)
    for n_queries in (1, 8, 50, 333, 1000):
        queries = rng.normal(size=(n_queries, SIZE)).astype(np.float32)
        ours = milliseconds(lambda queries=queries: nearest(vectors, queries, K)) / n_queries
        plain = milliseconds(lambda queries=queries: index.search(queries, K)) / n_queries
        print(f"{n_queries:5} queries: {ours:6.2f} ms a query, faiss as it is {plain:6.2f}")


if __name__ == "__main__":
    main()

"""Mean average precision between classes, beside MRL's loop over every item of every list."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.spatial
import torch
from numpy.typing import NDArray
from published import Repository
from work import Task, Work

from noisy_xmodal.metrics import class_retrieval_metrics

DIM = 512
N_CLASSES = 200


class Side(NamedTuple):
    """Vectors of one modality and their classes."""

    vectors: NDArray[np.float32]  # (n, DIM)
    labels: NDArray[np.int64]  # (n,)


class ClassRetrievalMetrics(Work):
    """As many pairs as XMediaNet has in training, against as many as it has in testing."""

    title = "class_retrieval_metrics, against fx_calc_map_label of MRL in both directions"
    repository = "penghu-cs/MRL"
    targets: ClassVar = {"cpu": 20.0}
    tolerance = 1e-5

    #: Queries of each direction, at the full size, that the published code is timed on.
    n_queries = 160

    @property
    def sizes(self) -> dict[str, int]:
        """How many vectors, how long, and of how many classes."""
        images, texts = self.sized(32_000, least=400), self.sized(4000, least=50)
        return {"images": images, "texts": texts, "dim": DIM, "classes": N_CLASSES}

    def sides(self) -> tuple[Side, Side]:
        """Made-up images and texts, near the centres of their classes."""
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((N_CLASSES, DIM), dtype=np.float32)
        both = []
        for n in (self.sizes["images"], self.sizes["texts"]):
            labels = rng.integers(0, N_CLASSES, n)  # (n,)
            noise = rng.standard_normal((n, DIM), dtype=np.float32)
            both.append(Side(0.2 * centres[labels] + noise, labels))
        return both[0], both[1]

    def check(self, repository: Repository | None) -> float | None:
        """The largest difference of a mean, of some queries of each direction."""
        images, texts = self.sides()
        count, differences = self._n_queries(len(texts.labels)), []
        for way, queries, gallery in (("i2t", images, texts), ("t2i", texts, images)):
            some = Side(queries.vectors[:count], queries.labels[:count])
            pair = (some, gallery) if way == "i2t" else (gallery, some)
            ours = _metrics(*pair)[f"{way}_map"]
            theirs = (
                _by_plain_sorting(some, gallery)
                if repository is None
                else _published_map(repository)(some, gallery)
            )
            self.notes[f"{way}_map of {count} queries"] = ours
            differences.append(abs(ours - theirs))
        return max(differences)

    def ours(self) -> Task:
        """Both directions, all queries."""
        images, texts = self.sides()
        return Task(lambda: _metrics(images, texts))

    def published(self, repository: Repository) -> Task:
        """Both directions, of the same share of each one's queries."""
        images, texts = self.sides()
        mean = _published_map(repository)
        count = self._n_queries(len(texts.labels))
        share = count / len(texts.labels)
        some = [
            Side(side.vectors[:n], side.labels[:n])
            for side, n in ((images, round(share * len(images.labels))), (texts, count))
        ]

        def run() -> None:
            mean(some[0], texts)
            mean(some[1], images)

        note = f"timed on {len(some[0].labels)} images and {count} texts as queries"
        return Task(run, scale=1 / share, note=note, repetitions=3)

    def floor(self) -> Task:
        """One product of the two sides."""
        images, texts = (torch.from_numpy(side.vectors) for side in self.sides())
        return Task(lambda: images @ texts.T, note="every dot product once, in float32")

    def _n_queries(self, n_texts: int) -> int:
        return min(n_texts, max(self.sized(self.n_queries), 10))


def _metrics(images: Side, texts: Side) -> dict[str, float]:
    return class_retrieval_metrics(images.vectors, texts.vectors, images.labels, texts.labels)


def _published_map(repository: Repository) -> Callable[[Side, Side], float]:
    """The published mean over queries, as a function of queries and gallery."""
    given = {"np": np, "scipy": scipy}
    code: Any = repository.names("main_noisy.py", ["fx_calc_map_label"], given)

    def mean(queries: Side, gallery: Side) -> float:
        return float(code.fx_calc_map_label(*gallery, *queries, k=0, metric="cosine")[0])

    return mean


def _by_plain_sorting(queries: Side, gallery: Side) -> float:
    """The mean of the precisions at the relevant items, from a full sorting of every query."""
    unit = gallery.vectors / np.linalg.norm(gallery.vectors, axis=1, keepdims=True)  # (n, DIM)
    values: list[float] = []
    for vector, label in zip(*queries, strict=True):
        relevant = gallery.labels[np.argsort(-(unit @ vector))] == label  # (n_gallery,)
        ranks = 1 + np.flatnonzero(relevant)  # (n_relevant,)
        values.append(float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0)
    return float(np.mean(values))

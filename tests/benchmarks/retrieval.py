"""Retrieval metrics of a whole score matrix, beside NCR's ranking of every query by sorting."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from published import Repository
from work import Task, Work

from noisy_xmodal.metrics import retrieval_metrics

N_CAPTIONS = 5  # of an image
_FIGURES = ("r1", "r5", "r10", "medr")  # as the published code returns them, in this order


class RetrievalMetrics(Work):
    """MS-COCO's 5K test: 5,000 images with 25,000 captions."""

    title = "retrieval_metrics of a float32 score matrix, against i2t and t2i of NCR"
    repository = "XLearning-SCU/2021-NeurIPS-NCR"
    targets: ClassVar = {"cpu": 30.0}
    tolerance = 1e-9
    devices = ("cpu",)

    #: Part of the queries that the published code is timed on.
    part = 0.2

    @property
    def sizes(self) -> dict[str, int]:
        """How many images and captions."""
        n_images = self.sized(5000, least=20)
        return {"images": n_images, "captions": N_CAPTIONS * n_images}

    def scores(self) -> NDArray[np.float32]:
        """Made-up scores, of right pairs often higher, (n_images, n_captions)."""
        n_images, n_captions = self.sizes.values()
        rng = np.random.default_rng(0)
        scores = rng.standard_normal((n_images, n_captions), dtype=np.float32)
        own = np.arange(n_captions)
        scores[own // N_CAPTIONS, own] += 2.5
        return scores

    def check(self, repository: Repository | None) -> float | None:
        """The largest difference of a recall or a median rank, all queries included."""
        scores = self.scores()
        ours = self._metrics(scores)()
        if repository is None:
            theirs = _by_plain_sorting(scores)
        else:
            code, sims = evaluation_code(repository), scores.astype(np.float64)
            both = [way(len(sims), sims, N_CAPTIONS) for way in (code.i2t, code.t2i)]
            theirs = _named(*(figures[:4] for figures in both))
        self.notes["rsum"] = ours["rsum"]
        return max(abs(ours[name] - value) for name, value in theirs.items())

    def ours(self) -> Task:
        """All metrics of all queries."""
        return Task(self._metrics(self.scores()))

    def published(self, repository: Repository) -> Task:
        """Both directions, of the first queries; it wants float64, as it fills its own matrix."""
        code, sims = evaluation_code(repository), self.scores().astype(np.float64)
        n_images = len(sims)
        count = max(1, round(self.part * n_images))

        def run() -> None:
            code.i2t(count, sims, N_CAPTIONS)
            code.t2i(count, sims, N_CAPTIONS)

        note = f"timed on {count:,} of {n_images:,} images and their captions as queries"
        return Task(run, scale=n_images / count, note=note)

    def floor(self) -> Task:
        """The sum of the scores."""
        scores = torch.from_numpy(self.scores()).to(self.setting.device)
        return Task(scores.sum, note="one read of the scores (their sum)")

    def _metrics(self, scores: NDArray[np.float32]) -> Any:
        """A call of our function."""
        image_of_text = np.arange(scores.shape[1]) // N_CAPTIONS
        return lambda: retrieval_metrics(scores, image_of_text)


def evaluation_code(repository: Repository) -> Any:
    """The two directions of the published evaluation."""
    return repository.names("NCR/evaluation.py", ["i2t", "t2i"], {"np": np})


def _named(i2t: Any, t2i: Any) -> dict[str, float]:
    ways = {"i2t": i2t, "t2i": t2i}
    return {
        f"{way}_{name}": float(value)
        for way, figures in ways.items()
        for name, value in zip(_FIGURES, figures, strict=True)
    }


def _by_plain_sorting(scores: NDArray[np.float32]) -> dict[str, float]:
    """The same figures from a full sorting of every query."""
    owner = np.arange(scores.shape[1]) // N_CAPTIONS
    images, texts = [], []
    for image, row in enumerate(scores):
        images.append(1 + int(np.argmax(owner[np.argsort(-row)] == image)))
    for text, column in enumerate(scores.T):
        texts.append(1 + int(np.argmax(np.argsort(-column) == owner[text])))
    return _named(_figures(np.array(images)), _figures(np.array(texts)))


def _figures(ranks: NDArray[np.int64]) -> list[float]:
    recalls = [100 * float(np.mean(ranks <= cutoff)) for cutoff in (1, 5, 10)]
    return [*recalls, float(np.floor(np.median(ranks)))]

"""Recall at 1, 5 and 10 of image-text retrieval, as a module of `evaluate`.

The file also works outside the package noisy_xmodal, which must be installed:
`pip install "noisy-xmodal[evaluate]"`.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from noisy_xmodal.hub.evaluate_modules import stacked_rows
from noisy_xmodal.metrics import retrieval_metrics

_DESCRIPTION = """\
Recall at 1, 5 and 10, median rank and rsum, the sum of the six recalls, of image-text retrieval in
both directions. If an image has several texts, the best of them counts. An item that ties with the
correct one counts as ranked before it."""

_INPUTS = """
Args:
    predictions: Scores of each text with all images, higher is better, one row per text,
        (n_texts, n_images). They are stored as float32.
    references: Position of the image that each text describes, from 0, (n_texts,).
    fold_size: Number of images per fold over which to average; 1000 is "COCO 1K". By default all
        images in one fold.

Returns:
    i2t_r1, i2t_r5, i2t_r10, t2i_r1, t2i_r5, t2i_r10: recalls in percent, i2t for image queries.
    i2t_medr, t2i_medr: median ranks, rounded down.
    rsum: the sum of the six recalls, up to 600.

Raises:
    ValueError: If an input is invalid. In the message "scores" are the predictions, one row per
        image, and "image_of_text" the references.

Examples:
    >>> import evaluate
    >>> from noisy_xmodal.hub.evaluate_modules import module_folder
    >>> metric = evaluate.load(module_folder("retrieval_recall"))
    >>> scores = [[0.9, 0.1], [0.3, 0.4], [0.2, 0.8], [0.6, 0.5]]  # 4 texts, 2 images
    >>> metrics = metric.compute(predictions=scores, references=[0, 0, 1, 1])
    >>> print(metrics["i2t_r1"], metrics["t2i_r1"], metrics["rsum"])
    100.0 50.0 550.0
"""

_CITATION = """\
@inproceedings{faghri2018vsepp,
  title = {{VSE++}: Improving Visual-Semantic Embeddings with Hard Negatives},
  author = {Faghri, Fartash and Fleet, David J. and Kiros, Jamie Ryan and Fidler, Sanja},
  booktitle = {British Machine Vision Conference (BMVC)},
  year = {2018}
}"""


class RetrievalRecall(evaluate.Metric):
    """Recalls of image-text retrieval from rows of scores, one per text."""

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Sequence(datasets.Value("float32")),
            "references": datasets.Value("int64"),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(
        self,
        predictions: Sequence[Any],
        references: Sequence[int],
        fold_size: int | None = None,
    ) -> dict[str, float]:
        scores = stacked_rows(predictions, "predictions")  # (n_texts, n_images)
        return retrieval_metrics(scores.T, references, fold_size)

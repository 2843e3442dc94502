"""Mean average precision of class-level image-text retrieval, as a module of `evaluate`.

The file also works outside the package noisy_xmodal, which must be installed:
`pip install "noisy-xmodal[evaluate]"`.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from noisy_xmodal.hub.evaluate_modules import stacked_rows
from noisy_xmodal.metrics import class_retrieval_metrics

_DESCRIPTION = """\
Mean average precision of retrieving, by cosine similarity, the items of the query's class in the
other modality: texts for image queries (i2t) and images for text queries (t2i), over the whole
ranked list and its first 50."""

_INPUTS = """
Args:
    image_embeds: One vector per image, (n, dim), of any length. Stored as float32.
    text_embeds: One vector per text, (n, dim), in the same space.
    image_labels: Class number of each image, from 0, (n,).
    text_labels: Class number of each text, (n,).
    cutoffs: Lengths of ranked lists to measure besides the whole list; (50,) by default.
    no_relevant: How to treat a query without an item of its class: "zero" (default) counts it as
        0, "skip" leaves it out.

Returns:
    i2t_map, t2i_map and map, their mean; i2t_map_50 and t2i_map_50 for a cutoff of 50. From 0 to 1.

Raises:
    ValueError: If an input is invalid.

Examples:
    >>> import evaluate
    >>> from noisy_xmodal.hub.evaluate_modules import module_folder
    >>> metric = evaluate.load(module_folder("class_map"))
    >>> metrics = metric.compute(
    ...     image_embeds=[[1.0, 0.0], [0.0, 1.0], [0.9, 0.2]],
    ...     text_embeds=[[0.8, 0.1], [0.3, 0.7], [0.2, 0.9]],
    ...     image_labels=[0, 1, 0],
    ...     text_labels=[0, 1, 0],
    ... )
    >>> print(round(metrics["i2t_map"], 3), round(metrics["t2i_map"], 3), round(metrics["map"], 3))
    0.722 0.861 0.792
"""

_CITATION = """\
@inproceedings{rasiwasia2010new,
  title = {A New Approach to Cross-Modal Multimedia Retrieval},
  author = {Rasiwasia, Nikhil and Costa Pereira, Jose and Coviello, Emanuele and Doyle, Gabriel and
    Lanckriet, Gert R. G. and Levy, Roger and Vasconcelos, Nuno},
  booktitle = {ACM International Conference on Multimedia},
  year = {2010}
}"""


class ClassMap(evaluate.Metric):
    """Mean average precision from rows of an image, a text and their classes."""

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "image_embeds": datasets.Sequence(datasets.Value("float32")),
            "text_embeds": datasets.Sequence(datasets.Value("float32")),
            "image_labels": datasets.Value("int64"),
            "text_labels": datasets.Value("int64"),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(
        self,
        image_embeds: Sequence[Any],
        text_embeds: Sequence[Any],
        image_labels: Sequence[int],
        text_labels: Sequence[int],
        **options: Any,
    ) -> dict[str, float]:
        return class_retrieval_metrics(
            stacked_rows(image_embeds, "image_embeds"),  # (n, dim)
            stacked_rows(text_embeds, "text_embeds"),  # (n, dim)
            image_labels,
            text_labels,
            **options,
        )

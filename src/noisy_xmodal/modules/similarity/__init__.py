"""Similarity heads: how encoded images and encoded texts become a score a pair.

To add one: a file with a subclass of `SimilarityHead`, and a line in `SIMILARITY_HEADS`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from ...options import refuse_unread
from .base import SimilarityHead, TwoTowerHead
from .cosine import CosineSimilarity
from .scan import ScanImageToText, ScanTextToImage
from .sgraf import SafSimilarity, SgrafSimilarity, SgrSimilarity

SIMILARITY_HEADS: dict[str, type[SimilarityHead]] = {
    "cosine": CosineSimilarity,
    "scan_t2i": ScanTextToImage,
    "scan_i2t": ScanImageToText,
    "saf": SafSimilarity,
    "sgr": SgrSimilarity,
    "sgraf": SgrafSimilarity,
}


def build_similarity(name: str, **options: Any) -> SimilarityHead:
    """Builds a similarity head by its name.

    Args:
        name: A key of `SIMILARITY_HEADS`.
        options: Arguments of the head's constructor; every head needs `hidden_size`.

    Returns:
        The head, with weights not yet initialised by a model.

    Raises:
        ValueError: If the name or an option is unknown, or `hidden_size` is missing.
    """
    if name not in SIMILARITY_HEADS:
        raise ValueError(
            f"Unknown similarity head {name!r}. Known heads: {', '.join(SIMILARITY_HEADS)}."
        )
    head = SIMILARITY_HEADS[name]
    known = list(inspect.signature(head).parameters)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"The similarity head {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Its options: {', '.join(known)}."
        )
    if "hidden_size" not in options:
        raise ValueError(f"The similarity head {name!r} needs hidden_size.")
    return head(**options)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuses options of a head that its other options leave without effect.

    Args:
        name: A key of `SIMILARITY_HEADS`; of others nothing is known.
        options: Arguments of the head's constructor.

    Raises:
        ValueError: If there is one.
    """
    if name in SIMILARITY_HEADS:
        head = SIMILARITY_HEADS[name]
        parameters = inspect.signature(head).parameters
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        refuse_unread(options, defaults, head.rules, "`{}` in `similarity_options`")


__all__ = [
    "SIMILARITY_HEADS",
    "CosineSimilarity",
    "SafSimilarity",
    "ScanImageToText",
    "ScanTextToImage",
    "SgrSimilarity",
    "SgrafSimilarity",
    "SimilarityHead",
    "TwoTowerHead",
    "build_similarity",
    "check_options",
]

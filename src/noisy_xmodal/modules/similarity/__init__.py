"""Similarity heads, which score pairs of encoded images and encoded texts.

To add a head, write a file with a subclass of `SimilarityHead` and add it to `SIMILARITY_HEADS`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from ...options import refuse_unread
from .base import SimilarityHead, TwoTowerHead
from .cosine import CosineSimilarity
from .imram import ImramSimilarity
from .scan import ScanImageToText, ScanTextToImage
from .sgraf import JointSgrafSimilarity, SafSimilarity, SgrSimilarity
from .teran import TeranSimilarity
from .vsrn import VsrnSimilarity

SIMILARITY_HEADS: dict[str, type[SimilarityHead]] = {
    "cosine": CosineSimilarity,
    "scan_t2i": ScanTextToImage,
    "scan_i2t": ScanImageToText,
    "saf": SafSimilarity,
    "sgr": SgrSimilarity,
    "sgraf_joint": JointSgrafSimilarity,
    "imram": ImramSimilarity,
    "vsrn": VsrnSimilarity,
    "teran": TeranSimilarity,
}


def build_similarity(name: str, **options: Any) -> SimilarityHead:
    """Build a similarity head by name.

    Args:
        name: A key of `SIMILARITY_HEADS`.
        options: Arguments of the head's constructor; every head needs `hidden_size`.

    Returns:
        The head, before a model initialises its weights.

    Raises:
        ValueError: If the name or an option is unknown, `hidden_size` is missing, or an option has
            a value that the head does not take.
    """
    if name not in SIMILARITY_HEADS:
        raise ValueError(
            f"Unknown similarity head {name!r}. Available heads: {', '.join(SIMILARITY_HEADS)}."
        )
    head = SIMILARITY_HEADS[name]
    parameters = inspect.signature(head).parameters
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise ValueError(
            f"The similarity head {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Its options: {', '.join(parameters)}."
        )
    if "hidden_size" not in options:
        raise ValueError(f"The similarity head {name!r} needs hidden_size.")
    try:
        return head(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        values = {key: value for key, value in options.items() if key != "hidden_size"}
        raise ValueError(
            f"The similarity head {name!r} cannot be built with the options {values}: {error}"
        ) from error


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check that every option of a head has an effect in combination with the others.

    Args:
        name: A key of `SIMILARITY_HEADS`; other names are not checked.
        options: Arguments of the head's constructor.

    Raises:
        ValueError: If an option has no effect.
    """
    if name in SIMILARITY_HEADS:
        head = SIMILARITY_HEADS[name]
        parameters = inspect.signature(head).parameters
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        refuse_unread(options, defaults, head.rules, "`{}` in `similarity_options`")


__all__ = [
    "SIMILARITY_HEADS",
    "CosineSimilarity",
    "ImramSimilarity",
    "JointSgrafSimilarity",
    "SafSimilarity",
    "ScanImageToText",
    "ScanTextToImage",
    "SgrSimilarity",
    "SimilarityHead",
    "TeranSimilarity",
    "TwoTowerHead",
    "VsrnSimilarity",
    "build_similarity",
    "check_options",
]

"""Predicates on the types of columns."""

from collections.abc import Callable
from typing import Any

import datasets

_LISTS = (datasets.List, datasets.LargeList)


def is_string(feature: Any) -> bool:
    """Whether values are strings."""
    return _has_dtype(feature, "string", "large_string")


def is_binary(feature: Any) -> bool:
    """Whether values are bytes."""
    return _has_dtype(feature, "binary", "large_binary")


def is_bool(feature: Any) -> bool:
    """Whether values are booleans."""
    return _has_dtype(feature, "bool")


def is_integer(feature: Any) -> bool:
    """Whether values are integers that are not class numbers."""
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint"))


def is_class(feature: Any) -> bool:
    """Whether values are class numbers, with or without names."""
    return isinstance(feature, datasets.ClassLabel) or is_integer(feature)


def is_list_of(feature: Any, is_item: Callable[[Any], bool]) -> bool:
    """Whether values are lists with items of a type.

    Args:
        feature: The type of the column.
        is_item: Predicate on the type of the items.
    """
    return isinstance(feature, _LISTS) and is_item(feature.feature)


def is_string_list(feature: Any) -> bool:
    """Whether values are lists of strings."""
    return is_list_of(feature, is_string)


def is_vector(feature: Any) -> bool:
    """Whether values are lists of numbers."""
    return is_list_of(
        feature,
        lambda item: (
            isinstance(item, datasets.Value) and item.dtype.startswith(("float", "int", "uint"))
        ),
    )


def is_matrix(feature: Any) -> bool:
    """Whether values are lists of lists, or two-dimensional arrays."""
    return isinstance(feature, datasets.Array2D) or is_list_of(
        feature, lambda item: isinstance(item, _LISTS)
    )


def is_regions(feature: Any) -> bool:
    """Whether values are region features: matrices of float16 or float32."""
    if not is_matrix(feature):
        return False
    kind = feature if isinstance(feature, datasets.Array2D) else feature.feature.feature
    return kind.dtype in ("float16", "float32")


def is_picture(feature: Any) -> bool:
    """Whether a column of this type is, or can be cast to, `datasets.Image`."""
    if isinstance(feature, dict):
        kinds = {"bytes": is_binary, "path": is_string}
        return bool(feature) and all(
            name in kinds and kinds[name](value) for name, value in feature.items()
        )
    return isinstance(feature, datasets.Image) or is_string(feature) or is_binary(feature)


def _has_dtype(feature: Any, *dtypes: str) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in dtypes

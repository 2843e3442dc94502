"""The noise types by name: what the name of a dataset configuration says."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from .complete_mismatch import CompleteMismatch
from .label_noise import SymmetricLabelNoise
from .partial_mismatch import PartialMismatch

NoiseType: TypeAlias = CompleteMismatch | PartialMismatch | SymmetricLabelNoise

NOISE_TYPES: dict[str, Callable[[float], NoiseType]] = {
    "cmp": CompleteMismatch,
    "cmp_image": partial(CompleteMismatch, level="image"),
    "part": PartialMismatch,
    "part_image": partial(PartialMismatch, level="image"),
    "sym": SymmetricLabelNoise,
    "sym_shared": partial(SymmetricLabelNoise, shared=True),
    "sym_other": partial(SymmetricLabelNoise, exclude_true=True),
    "sym_shared_other": partial(SymmetricLabelNoise, shared=True, exclude_true=True),
}


def parse_noise(name: str) -> NoiseType | None:
    """Read the noise from the name of a dataset configuration.

    Args:
        name: "clean", or a prefix of `NOISE_TYPES` and a percentage: "cmp_40", "part_image_40".

    Returns:
        The injector, or None for "clean".

    Raises:
        ValueError: If the name has no known form or the percentage is above 100.
    """
    if name == "clean":
        return None
    match = re.fullmatch(r"(.+)_(\d+(?:\.\d+)?)", name, flags=re.ASCII)
    if match and match[1] in NOISE_TYPES and float(match[2]) <= 100:
        return NOISE_TYPES[match[1]](float(match[2]) / 100)
    forms = ", ".join(f"{prefix}_<percent>" for prefix in NOISE_TYPES)
    raise ValueError(
        f"configuration name {name!r} is unknown: use clean, {forms}, with a percentage from 0 to "
        "100, such as cmp_40"
    )

"""The table of noise types, and the config names that they stand for."""

import re
from collections.abc import Collection, Sequence

from .base import NoiseType
from .complete_mismatch import CompleteMismatch
from .index_file import NoiseIndex
from .label_noise import SymmetricLabelNoise
from .partial_mismatch import PartialMismatch

#: Noise types by the name that protocols give them, in the order in which configs are listed.
NOISE_TYPES: dict[str, type[NoiseType]] = {
    noise_type.kind: noise_type
    for noise_type in (CompleteMismatch, PartialMismatch, SymmetricLabelNoise, NoiseIndex)
}


def parse_noise(name: str) -> NoiseType | None:
    """Read the noise from the name of a dataset config.

    Args:
        name: "clean", or a prefix of a noise type and a percentage: "cmp_40", "part_image_40".

    Returns:
        The noise, or None for "clean".

    Raises:
        ValueError: If the name has another form, an unknown prefix or a percentage above 100.
    """
    if name == "clean":
        return None
    match = re.fullmatch(r"(.+)_(\d+(?:\.\d+)?)", name, flags=re.ASCII)
    prefixes = {prefix: t for t in NOISE_TYPES.values() for prefix in t.prefixes}
    if match and match[1] in prefixes and float(match[2]) <= 100:
        noise_type = prefixes[match[1]]
        return noise_type(float(match[2]) / 100, **noise_type.prefixes[match[1]])
    forms = ", ".join(f"{prefix}_<percent>" for prefix in prefixes)
    raise ValueError(
        f"config name {name!r} is unknown: use clean, {forms}, with a percentage from 0 to 100, "
        "such as cmp_40"
    )


def needs_objects(name: str) -> bool:
    """Whether a config name is of a noise type that needs object sets."""
    types = (t for t in NOISE_TYPES.values() if "objects" in t.needs)
    return any(name.startswith(f"{prefix}_") for t in types for prefix in t.prefixes)


def types_for(facts: Collection[str]) -> list[type[NoiseType]]:
    """The noise types that data can have.

    Args:
        facts: What the data has, of "captions", "objects" and "labels".
    """
    return [
        noise_type for noise_type in NOISE_TYPES.values() if set(noise_type.needs) <= set(facts)
    ]


def listed_configs(first: str, types: Sequence[type[NoiseType]]) -> str:
    """List configs in a line: "clean; cmp_N cmp_image_N with N of 10 20 ...; noise_index".

    Args:
        first: The config without added noise.
        types: The noise types of the others.
    """
    parts = [first]
    for percentages in dict.fromkeys(t.percentages for t in types if t.prefixes):
        same = (t for t in types if t.percentages == percentages)
        names = " ".join(f"{prefix}_N" for t in same for prefix in t.listed())
        parts.append(f"{names} with N of {' '.join(map(str, percentages))}")
    return "; ".join([*parts, *(t.kind for t in types if not t.prefixes)])

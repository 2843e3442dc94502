"""Conversion of any dataset of images and captions to the column contract."""

from .opening import config_names
from .pairs import as_pairs, load_pairs

__all__ = ["as_pairs", "config_names", "load_pairs"]

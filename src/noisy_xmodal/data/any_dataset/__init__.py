"""Conversion of any dataset of images and captions, or of pairs with classes, to the contract."""

from .label_pairs import as_label_pairs, load_label_pairs
from .opening import config_names
from .pairs import as_pairs, load_pairs

__all__ = ["as_label_pairs", "as_pairs", "config_names", "load_label_pairs", "load_pairs"]

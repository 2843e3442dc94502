"""Any dataset of images and captions, brought to the column contract."""

from .pairs import as_pairs, config_names, load_pairs

__all__ = ["as_pairs", "config_names", "load_pairs"]

"""Dataset builders: one module a dataset, over one base that knows about noise."""

from .base import CleanSplit, NoisyPairsBuilder, NoisyPairsConfig
from .openmoji import OpenMoji, load_openmoji
from .precomp import Precomp

__all__ = [
    "CleanSplit",
    "NoisyPairsBuilder",
    "NoisyPairsConfig",
    "OpenMoji",
    "Precomp",
    "load_openmoji",
]

"""Datasets, one reader per file, with a common base class that adds noise."""

from ..clean_split import CleanSplit
from ..writing import write_dataset
from .base import NoisyPairsBuilder, NoisyPairsConfig
from .cc152k import CC152K
from .coco import Coco
from .flickr8k import Flickr8k
from .flickr30k import Flickr30k
from .openmoji import OpenMoji, embedded_pairs, load_openmoji
from .openmoji_labels import OpenMojiLabels, load_openmoji_labels
from .own_pairs import OwnPairs
from .pascal_sentence import PascalSentence
from .precomp import Precomp
from .wikipedia import Wikipedia
from .xmedianet import XMediaNet

__all__ = [
    "CC152K",
    "CleanSplit",
    "Coco",
    "Flickr8k",
    "Flickr30k",
    "NoisyPairsBuilder",
    "NoisyPairsConfig",
    "OpenMoji",
    "OpenMojiLabels",
    "OwnPairs",
    "PascalSentence",
    "Precomp",
    "Wikipedia",
    "XMediaNet",
    "embedded_pairs",
    "load_openmoji",
    "load_openmoji_labels",
    "write_dataset",
]

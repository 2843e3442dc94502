"""Building blocks of a matching model: image and text encoders and similarity heads."""

from .encoded import Encoded
from .image_encoders import RegionEncoder, VisionEncoder
from .text_encoders import (
    WORD_ENCODERS,
    BiGruEncoder,
    GruEncoder,
    TransformerTextEncoder,
    WordEncoder,
)
from .word_tokenizer import train_word_tokenizer

__all__ = [
    "WORD_ENCODERS",
    "BiGruEncoder",
    "Encoded",
    "GruEncoder",
    "RegionEncoder",
    "TransformerTextEncoder",
    "VisionEncoder",
    "WordEncoder",
    "train_word_tokenizer",
]

"""The output of every encoder and input of every similarity head: tokens and their mask."""

from typing import NamedTuple

from torch import Tensor


class Encoded(NamedTuple):
    """Encoded images or texts, padded to a common length.

    Attributes:
        tokens: Region, grid cell or word vectors, (n, length, dim).
        mask: True for real tokens, False for padding, (n, length), bool. Every row has at least
            one real token.
    """

    tokens: Tensor
    mask: Tensor

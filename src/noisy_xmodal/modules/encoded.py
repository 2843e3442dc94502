"""What every encoder returns and every similarity head takes: tokens and their mask."""

from typing import NamedTuple

from torch import Tensor


class Encoded(NamedTuple):
    """Encoded images or texts, padded to a common length.

    Attributes:
        tokens: Region, grid cell or word vectors, (n, length, dim).
        mask: True where a token is real, False where it is padding, (n, length), bool.
            Every row has at least one real token.
    """

    tokens: Tensor
    mask: Tensor

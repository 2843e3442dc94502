"""Layers of a transformer over padded tokens."""

from torch import Tensor, nn


class TransformerLayers(nn.Module):
    """Self-attention layers with the norm after each part, as in BERT, and ReLU.

    Args:
        size: Width of the tokens.
        layers: Number of layers.
        heads: Heads of attention.
        feedforward_size: Width of the hidden layer of the perceptrons.
        dropout: After attention and in the perceptrons.

    Raises:
        ValueError: If the heads do not divide the width.
    """

    def __init__(
        self, size: int, layers: int, heads: int, feedforward_size: int, dropout: float
    ) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"{heads} heads of attention do not divide a width of {size}.")
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, heads, feedforward_size, dropout, batch_first=True)
            for _ in range(layers)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Apply the layers.

        Args:
            tokens: (n, length, size), finite where padded.
            mask: True for real tokens, (n, length).

        Returns:
            (n, length, size)
        """
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=~mask)
        return tokens

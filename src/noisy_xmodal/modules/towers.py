"""Multi-layer towers over feature vectors, class prototypes and fixed linear maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


def build_tower(
    input_size: int,
    hidden_sizes: Sequence[int],
    output_size: int,
    activation: str = "relu",
    batch_norm: bool = False,
) -> nn.Sequential:
    """Build a multi-layer perceptron that ends with a linear layer.

    Args:
        input_size: Size of a feature vector.
        hidden_sizes: Sizes of the hidden layers.
        output_size: Size of the output.
        activation: A name in `ACTIVATIONS`.
        batch_norm: Whether each activation is normalised over the batch.
    """
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [nn.Linear(input_size, size), ACTIVATIONS[activation]()]
        if batch_norm:
            layers.append(nn.BatchNorm1d(size, affine=False))
        input_size = size
    return nn.Sequential(*layers, nn.Linear(input_size, output_size))


def build_decoder(
    output_size: int, hidden_sizes: Sequence[int], input_size: int, activation: str = "relu"
) -> nn.Sequential:
    """Build the decoder of a `build_tower`: the layers in reverse order, without batch norm."""
    return build_tower(input_size, list(reversed(hidden_sizes)), output_size, activation)


class FeatureScaling(nn.Module):
    """Centres and scales every feature with statistics saved in the model.

    Args:
        size: Size of a feature vector.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(size))
        self.register_buffer("scale", torch.empty(size))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing, as before `fit`."""
        return not bool(self.mean.any()) and bool((self.scale == 1).all())

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Standardise the features (n, size) to mean 0 and variance 1; constant ones become 0."""
        values = features.cpu().double()  # not every device supports float64
        std = values.std(dim=0, correction=0)  # (size,)
        varies = std > 1e-7 * values.abs().amax(dim=0)  # (size,), beyond rounding
        self.mean.copy_(values.mean(dim=0).float())
        self.scale.copy_(torch.where(varies, 1 / std.clamp(min=1e-30), 0.0).float())

    def forward(self, features: Tensor) -> Tensor:
        """Scale (n, size)."""
        return (features.to(self.mean.dtype) - self.mean) * self.scale


class LinearProjection(nn.Module):
    """A linear map that is fitted instead of trained by gradients.

    Args:
        input_size: Size of its input.
        output_size: Size of its output.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(input_size))
        self.register_buffer("weight", torch.empty(input_size, output_size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Project (n, input_size) to (n, output_size)."""
        with torch.autocast(inputs.device.type, enabled=False):  # fitted in full precision
            return (inputs.float() - self.mean.float()) @ self.weight.float()


class Prototypes(nn.Module):
    """One unit vector per class; logits are inner products with them.

    The weights are scaled to unit length in the forward pass. The published code of MRL rescales
    them before each step instead, which is equivalent.

    Args:
        n_classes: Number of classes.
        size: Size of the common space.
        learned: Whether the vectors are trained.
    """

    weight: Tensor

    def __init__(self, n_classes: int, size: int, learned: bool = True) -> None:
        super().__init__()
        weight = torch.empty(n_classes, size)
        if learned:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)

    def forward(self, outputs: Tensor) -> Tensor:
        """Logits (n, n_classes) of outputs (n, size)."""
        return outputs @ F.normalize(self.weight, dim=-1).to(outputs.dtype).T

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
    """Linear layers with an activation between them; the last one is a plain linear layer.

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
    """The mirror image of `build_tower` without batch normalisation, back to a feature vector."""
    return build_tower(input_size, list(reversed(hidden_sizes)), output_size, activation)


class FeatureScaling(nn.Module):
    """Centres and scales every feature by numbers that are kept with the model.

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
        """Whether it changes nothing, as when it is new."""
        return not bool(self.mean.any()) and bool((self.scale == 1).all())

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Give every number of (n, size) mean 0 and variance 1; one that never varies becomes 0."""
        values = features.cpu().double()  # not every device has float64
        spread = values.std(dim=0, correction=0)  # (size,)
        varies = spread > 1e-7 * values.abs().amax(dim=0)  # against rounding, each by itself
        self.mean.copy_(values.mean(dim=0).float())
        self.scale.copy_(torch.where(varies, 1 / spread.clamp(min=1e-30), 0.0).float())

    def forward(self, features: Tensor) -> Tensor:
        """Scale (n, size)."""
        return (features.to(self.mean.dtype) - self.mean) * self.scale


class LinearProjection(nn.Module):
    """A linear map that is fitted, not trained by gradients.

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
    """A direction for every class; logits are the inner products with unit vectors.

    They are scaled to unit length in the forward pass. The published code of MRL rescales the
    weights before each step instead; both keep them on the sphere.

    Args:
        n_classes: Number of classes.
        size: Size of the common space.
        learned: Whether they are trained.
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

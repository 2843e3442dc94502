"""Soft margins: the margin of a pair as a function of its target between 0 and 1.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Eq. 7 (exponential); the linear and the sine curve are alternatives in its code.

| symbol      | in the code             |
|-------------|-------------------------|
| y-hat_i     | targets[i]              |
| alpha       | margin                  |
| m           | curve                   |
| alpha-hat_i | the returned margin     |
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def exponential_soft_margin(targets: Tensor, margin: float = 0.2, curve: float = 10.0) -> Tensor:
    """Margin that grows exponentially with the target (Eq. 7); doubtful pairs get a small margin.

    Args:
        targets: Degree to which each pair is believed to match, (b,), 0 to 1.
        margin: Margin of a pair with target 1, in units of the scores.
        curve: Base of the exponential, positive and not 1; the higher, the later the rise.

    Returns:
        Margin of each pair, (b,).

    Raises:
        ValueError: If the curve is 1 or not positive.
    """
    if curve <= 0 or curve == 1:
        raise ValueError(
            f"curve is {curve}: give a positive number other than 1 (near 1 the margin is linear)"
        )
    return (curve**targets - 1) / (curve - 1) * margin


def linear_soft_margin(targets: Tensor, margin: float = 0.2) -> Tensor:
    """Margin proportional to the target.

    Args:
        targets: Degree to which each pair is believed to match, (b,), 0 to 1.
        margin: Margin of a pair with target 1, in units of the scores.

    Returns:
        Margin of each pair, (b,).
    """
    return targets * margin


def sine_soft_margin(targets: Tensor, margin: float = 0.2) -> Tensor:
    """Margin that rises along half a sine wave, flat near targets of 0 and of 1.

    Args:
        targets: Degree to which each pair is believed to match, (b,), 0 to 1.
        margin: Margin of a pair with target 1, in units of the scores.

    Returns:
        Margin of each pair, (b,).
    """
    return (torch.sin(math.pi * targets - math.pi / 2) / 2 + 0.5) * margin


SOFT_MARGINS: dict[str, Callable[..., Tensor]] = {
    "exponential": exponential_soft_margin,
    "linear": linear_soft_margin,
    "sine": sine_soft_margin,
}

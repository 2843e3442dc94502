"""The layers of a pretrained encoder, read from the names of its parameters."""

import re
from collections.abc import Iterable

from torch import nn

#: A layer in a name: encoder.layer.3. (BERT), layers.3. (CLIP, ViT), blocks.3., stages.3., h.3.
_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|stages?|h)\.(\d+)\.")


def is_in_layer(name: str) -> bool:
    """Whether a name, such as `encoder.layer.3.output.dense`, lies in a numbered layer."""
    return _LAYER.search(f"{name}.") is not None


def layers_below_top(encoder: nn.Module) -> dict[str, int]:
    """How far each parameter of an encoder lies below its top layer.

    A network with several stacks of layers, such as CLIP, has a top layer in each. What comes after
    a stack, such as a pooler, counts as its top layer. What comes before it, such as embeddings,
    lies below its lowest layer. In a network of stages, such as a ResNet, a stage is a layer.

    Args:
        encoder: The encoder.

    Returns:
        Number of layers by name of the parameter, 0 for the top layer; empty if there are no
        numbered layers.
    """
    names = [name for name, _ in encoder.named_parameters()]
    layers = {name: match for name in names if (match := _LAYER.search(name))}
    sizes: dict[str, int] = {}
    for name, match in layers.items():
        stack = name[: match.start(1)]
        sizes[stack] = max(sizes.get(stack, 0), int(match[1]) + 1)
    if not sizes:
        return {}
    starts = {stack: _first(names, stack) for stack in sizes}
    below = {}
    for position, (name, parameter) in enumerate(encoder.named_parameters()):
        if name in layers:
            match = layers[name]
            below[name] = sizes[name[: match.start(1)]] - 1 - int(match[1])
        elif parameter.numel() == 1:  # a temperature or a bias of the logits
            below[name] = 0
        else:
            nearest = _nearest(name, sizes)
            is_before = all(position < starts[stack] for stack in nearest)
            below[name] = max(sizes[stack] for stack in nearest) if is_before else 0
    return below


def _first(names: list[str], stack: str) -> int:
    return next(i for i, name in enumerate(names) if name.startswith(stack))


def _nearest(name: str, stacks: Iterable[str]) -> list[str]:
    """The stacks whose names have the most first parts in common with a name."""
    shared = {stack: _shared_parts(name, stack) for stack in stacks}
    return [stack for stack, count in shared.items() if count == max(shared.values())]


def _shared_parts(a: str, b: str) -> int:
    count = 0
    for first, second in zip(a.split("."), b.split("."), strict=False):
        if first != second:
            break
        count += 1
    return count

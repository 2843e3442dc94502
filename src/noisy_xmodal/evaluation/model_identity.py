"""Everything that the vectors of a model depend on, except its inputs."""

from typing import Any

import torch
from torch import nn

from ..data.digests import Digests, array_digests
from ..modules.processor_facts import processor_facts, words_by_id


def model_parts(
    model: Any, processor: Any, network: nn.Module | None = None
) -> list[str | Digests]:
    """Processor, vocabulary, config and weights, to be hashed by `data.digests.combined_digest`.

    Args:
        model: A transformers model.
        processor: Its processor.
        network: The part of the model whose config and weights matter; by default the whole model.
    """
    part: Any = model if network is None else network
    state = sorted(part.state_dict().items())
    return [
        repr(sorted(processor_facts(processor).items())),
        "\n".join(words_by_id(processor)),
        repr(part.config.to_diff_dict()),
        "\n".join(name for name, _ in state),
        array_digests(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for _, value in state
        ),
    ]

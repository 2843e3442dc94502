"""Cross-encoders that are tiny and untrained, and encodings read apart from padding."""

from typing import Any

import torch
from transformers import BertConfig

from noisy_xmodal import RcarConfig

REGION_SIZE = 4

#: What tiny text encoders of any kind have in common.
TEXT_SIZES = {
    "vocab_size": 16,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}


def rcar_config(text: dict[str, Any] | None = None, **options: Any) -> RcarConfig:
    """A config of 8 hidden units and two layers, with a BERT of `text` beside its sizes."""
    sizes = {
        "region_size": REGION_SIZE,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "initializer_range": 0.3,  # scores of 0.02 hardly differ
        "text_config": BertConfig(**(TEXT_SIZES | {"initializer_range": 0.3} | (text or {}))),
    }
    if "vision_config" in options:
        del sizes["region_size"]
    return RcarConfig(**(sizes | options))


def pair_inputs(inputs: dict[str, torch.Tensor], i: int, t: int) -> dict[str, torch.Tensor]:
    """Image i and text t alone, without padding, from the inputs of a batch."""
    words = inputs["attention_mask"][t].bool()
    found = {name: inputs[name][t : t + 1, words] for name in ("input_ids", "attention_mask")}
    if "pixel_values" in inputs:
        return found | {"pixel_values": inputs["pixel_values"][i : i + 1]}
    real = inputs["region_mask"][i]
    return found | {name: inputs[name][i : i + 1, real] for name in ("regions", "region_mask")}

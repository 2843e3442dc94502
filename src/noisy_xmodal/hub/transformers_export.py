"""Export of a trained backbone to its own class of transformers.

    export_transformers(model, processor, "my-clip")

    clip = CLIPModel.from_pretrained("my-clip")
    encoder = SentenceTransformer("my-clip")  # without trust_remote_code

Nothing of such a folder needs this library. Its scores are those of the model here. Lost are the
other peer, as a backbone has no ensemble, and what belongs to this library alone: the method and
the probability of a match.
"""

import math
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from ..models.matching.modeling_matching import MatchingModel
from ..modules.adapters import merged_state


def export_transformers(
    model: PreTrainedModel, processor: ProcessorMixin, folder: str | Path, peer: str = "a"
) -> Path:
    """Save the backbone of a matching model, with its processor, as transformers would.

    Args:
        model: A matching model with a backbone, or two peers.
        processor: Its processor.
        folder: The folder to write; an existing README.md is kept.
        peer: The peer to keep of two, "a" or "b". `best_single_networks` in the results.json of a
            run has the metrics of both.

    Returns:
        The folder.

    Raises:
        ValueError: If the model has no backbone, or there is no such peer.
    """
    if peer not in ("a", "b"):
        raise ValueError(f"`peer` is {peer!r}: give 'a' or 'b'.")
    network = getattr(model, f"peer_{peer}", model)
    backbone: Any = network.backbone if isinstance(network, MatchingModel) else None
    if backbone is None:
        raise ValueError(
            f"{type(model).__name__} cannot be exported: it is no backbone of transformers alone. "
            "Train a matching model with a `backbone_config`, or use export_sentence_transformers."
        )
    state = merged_state(backbone)
    if "logit_scale" in state and "logit_bias" not in state:  # as the model here limits it
        state["logit_scale"] = state["logit_scale"].clamp(max=math.log(100))
    folder = Path(folder)
    backbone.save_pretrained(folder, state_dict=state)
    parts = processor.image_processor, processor.tokenizer
    kind = PROCESSOR_MAPPING.get(type(backbone.config), None)
    for part in parts if kind is None else (kind(*parts),):
        part.save_pretrained(folder)
    return folder

"""A trained two-tower model as a folder that sentence-transformers opens.

    export_sentence_transformers(model, processor, "my-encoder")

    encoder = SentenceTransformer("my-encoder", trust_remote_code=True)
    pictures, texts = encoder.encode([picture, "cat.png"]), encoder.encode(["a cat", "two dogs"])
    encoder.similarity(pictures, texts)

sentence-transformers asks for `trust_remote_code` before it imports any class but its own, from
installed packages too. What runs is the installed noisy_xmodal, never a file of the folder, which
stays one that `AutoModel` and `AutoProcessor` open.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin


def export_sentence_transformers(
    model: PreTrainedModel, processor: ProcessorMixin, folder: str | Path
) -> Path:
    """Save a model so that `SentenceTransformer(folder, trust_remote_code=True)` loads it.

    Args:
        model: A model of noisy_xmodal that has one vector a picture and one a text.
        processor: Its processor.
        folder: Where to; a README.md that lies there is left alone.

    Returns:
        The folder.

    Raises:
        ValueError: If the model has no such vectors, or reads no pictures and texts.
        ImportError: If sentence-transformers is not installed.
    """
    reason = _why_not(model, processor)
    if reason is not None:
        raise ValueError(f"{type(model).__name__} cannot be exported: {reason}")
    try:
        from sentence_transformers import SentenceTransformer

        from .sentence_module import ImageTextEncoder
    except ImportError as error:
        raise ImportError(
            "the export needs sentence-transformers, version 6 or newer. "
            'Run `pip install "sentence-transformers>=6"`.'
        ) from error
    folder = Path(folder)
    encoder = SentenceTransformer(
        modules=[ImageTextEncoder(model, processor)],
        device=str(model.device),  # where it is already, else it would be moved
        similarity_fn_name="cosine",
    )
    encoder.save_pretrained(str(folder), create_model_card=False)
    return folder


def _why_not(model: Any, processor: Any) -> str | None:
    """Why a model has no place among encoders of pictures and texts, or nothing."""
    if not hasattr(model, "is_two_tower"):
        return "it is no model of noisy_xmodal."
    config = model.config
    if not model.is_two_tower:
        head = getattr(config, "similarity", None)
        together = "it reads an image and a text together"
        regions = f"its similarity head {head!r} compares regions with words"
        return (
            f"{together if head is None else regions} and has no vector for either alone. Models "
            'that have one are DMCM and its like, and those of pairs with `similarity="cosine"`.'
        )
    raw = config.backbone_config if hasattr(config, "backbone_config") else config.vision_config
    if raw is None or getattr(processor, "reads_vectors_only", False):
        return (
            "it reads feature vectors, while sentence-transformers gives pictures and texts. Train "
            "one with a backbone or a vision model."
        )
    return None

"""Export of a trained two-tower model to sentence-transformers.

    export_sentence_transformers(model, processor, "my-encoder")

    encoder = SentenceTransformer("my-encoder", trust_remote_code=True)
    images, texts = encoder.encode([image, "cat.png"]), encoder.encode(["a cat", "two dogs"])
    encoder.similarity(images, texts)

sentence-transformers requires `trust_remote_code` for any class of another package, even if it is
installed. Only the installed noisy_xmodal is run, no file of the folder. `AutoModel` and
`AutoProcessor` can still load the folder.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin


def export_sentence_transformers(
    model: PreTrainedModel, processor: ProcessorMixin, folder: str | Path
) -> Path:
    """Save a model so that `SentenceTransformer(folder, trust_remote_code=True)` loads it.

    Args:
        model: A two-tower model of noisy_xmodal for images and texts.
        processor: Its processor.
        folder: The folder to write; an existing README.md is kept.

    Returns:
        The folder.

    Raises:
        ValueError: If the model has no vectors, or does not take images and texts.
        ImportError: If sentence-transformers is not installed.
    """
    reason = _export_problem(model, processor)
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
        device=str(model.device),  # else it would be moved
        similarity_fn_name="cosine",
    )
    encoder.save_pretrained(str(folder), create_model_card=False)
    return folder


def _export_problem(model: Any, processor: Any) -> str | None:
    """The reason why a model cannot be exported, or None."""
    if not hasattr(model, "is_two_tower"):
        return "it is not a model of noisy_xmodal."
    config = model.config
    if not model.is_two_tower:
        head = getattr(config, "similarity", None)
        reason = "it processes an image and a text jointly"
        if head is not None:
            reason = f"its similarity head {head!r} compares regions with words"
        return (
            f"{reason} and has no vector for either alone. Models with vectors are DMCM and other "
            'common-space models, and matching models with `similarity="cosine"`.'
        )
    names = ("backbone_config", "vision_config")
    reads_raw = any(getattr(config, name, None) is not None for name in names)
    if not reads_raw or getattr(processor, "reads_vectors_only", False):
        return (
            "it takes feature vectors, but sentence-transformers passes images and texts. Train a "
            "model with a backbone or a vision model."
        )
    return None

"""A pair of encoders by name: `imagenet+minilm`, or any vision and text model of the Hub."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor

from ...entry.errors import load_part
from ...modules.pretrained import encoder_path, load_text_config, load_tokenizer
from .configuration_encoder_pair import EncoderPairConfig
from .modeling_encoder_pair import EncoderPairModel
from .processing_encoder_pair import EncoderPairProcessor


def encoder_names(name: str | os.PathLike[str]) -> tuple[str, str] | None:
    """The names of both encoders of a pair.

    Args:
        name: `VISION+TEXT`, or the name of another model.

    Returns:
        The two names; None for the name of one model, such as a folder with a plus sign.

    Raises:
        ValueError: If one of the two names is empty, or there are more than two.
    """
    text = os.fspath(name)
    if "+" not in text or Path(text).exists():
        return None
    names = [part.strip() for part in text.split("+")]
    if len(names) != 2 or not all(names):
        raise ValueError(
            f"{text!r} is no pair of encoders: write VISION+TEXT, such as imagenet+minilm."
        )
    return names[0], names[1]


def encoder_pair_parts(
    vision: str, text: str, projection_size: int | None = None
) -> tuple[EncoderPairConfig, EncoderPairProcessor]:
    """The config and the processor of a pair of encoders, whose weights are not read.

    Args:
        vision: See `load_encoder_pair` for this and the next two.
        text: Name of a text model.
        projection_size: Size of the joint space.

    Raises:
        OSError: If a config, the tokenizer or the image processor is missing or damaged.
    """
    folder = encoder_path(vision)
    vision_config = load_part(AutoConfig, folder)
    config = EncoderPairConfig(
        vision_config=getattr(vision_config, "vision_config", vision_config),
        text_config=load_text_config(text),
        projection_size=projection_size,
    )
    images = load_part(AutoImageProcessor, folder, backend="pil")
    processor = EncoderPairProcessor(images, load_tokenizer(text))
    return config, processor


def load_encoder_pair(
    vision: str, text: str, projection_size: int | None = None
) -> tuple[EncoderPairModel, EncoderPairProcessor]:
    """Build a pair of pretrained encoders, in eval mode, and its processor.

    One picture and one text pass through the encoders, so that a pair that does not work fails now.

    Args:
        vision: Name of a vision model, see `encoder_path`; of a two-tower model such as CLIP, its
            vision tower is used.
        text: Name of a text model.
        projection_size: Size of the joint space; None for the pooled outputs themselves.

    Returns:
        The model, with new projections if it has any, and the processor.

    Raises:
        OSError: If a model, its tokenizer or its image processor is missing or damaged.
        ValueError: If a model has no output of the kind that is needed.
    """
    config, processor = encoder_pair_parts(vision, text, projection_size)
    model = EncoderPairModel(config).eval()
    model.load_encoders(encoder_path(vision), encoder_path(text))
    processor.limit_text(model.text_length_limit)
    _check_outputs(model, processor)
    return model, processor


@torch.no_grad()
def _check_outputs(model: EncoderPairModel, processor: EncoderPairProcessor) -> None:
    grey = Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
    vectors = (
        model.get_image_features(**processor(images=grey)),
        model.get_text_features(**processor(text="a picture")),
    )
    for side, size, vector in zip(
        ("image", "text"), model.config.vector_sizes, vectors, strict=True
    ):
        if vector.shape != (1, size):
            raise ValueError(
                f"the {side} encoder gives {tuple(vector.shape)} numbers for one {side}, and its "
                f"config says {size}: take another encoder."
            )

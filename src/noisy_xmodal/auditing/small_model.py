"""The small two-tower model of a cross-fit: few weights, on top of what frozen models know."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BatchFeature, ResNetConfig, ViTImageProcessorPil

from ..arguments.audit import AuditOptions
from ..data import PairDataset
from ..data.columns import IMAGE
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.modeling_matching import MatchingModel
from ..models.matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from ..modules import train_word_tokenizer
from ..modules.dropout import Dropout
from ..modules.encoded import Encoded
from .features import CaptionVectors

#: From this number of pairs on, batches are large and rare words are <unk>.
MANY_PAIRS = 10_000
#: Size of the joint space and of a word's embedding, and image size for training on pixels.
_HIDDEN, _PIXELS = 256, 64
#: Goes up when the model changes, so that no audit goes on with what the earlier one judged.
MODEL_VERSION = 2
#: Dropout on words and on vectors of captions.
_DROPOUT = 0.5


class CaptionProcessor(MatchingProcessor):
    """Puts the row of a caption's vector in the place of its first token, <start>.

    Args:
        image_processor: See `MatchingProcessor`.
        tokenizer: A word-level tokenizer.
        texts: The captions that have a vector, by row.
    """

    def __init__(self, image_processor: Any, tokenizer: Any, texts: Sequence[str]) -> None:
        super().__init__(image_processor, tokenizer)
        self.row_of_text = {text: row for row, text in enumerate(texts)}

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare images, captions or both, see `MatchingProcessor`; all captions have a vector."""
        features = super().__call__(images, text, **kwargs)
        if text is not None:
            rows = [self.row_of_text[one] for one in ([text] if isinstance(text, str) else text)]
            features["input_ids"][:, 0] = torch.tensor(rows)  # (n,)
        return features


class CaptionEncoder(nn.Module):
    """Words, and a vector of the whole caption: a token is its word plus the projected vector.

    Args:
        words: Word-level encoder.
        vectors: Vectors of captions by row, (n_captions, size), usually mapped from a file.
        start_id: Id of the first token of a caption.
        hidden_size: Size of the joint space.
    """

    def __init__(
        self, words: nn.Module, vectors: np.ndarray, start_id: int, hidden_size: int
    ) -> None:
        super().__init__()
        self.words = words
        self.vectors = vectors
        self.start_id = start_id
        self.dropout = Dropout(_DROPOUT)
        self.projection = nn.Linear(vectors.shape[1], hidden_size)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode captions as `CaptionProcessor` prepares them, (n, length)."""
        rows = input_ids[:, 0].cpu().numpy()  # (n,)
        starts = torch.full_like(input_ids[:, :1], self.start_id)  # (n, 1)
        words = self.words(torch.cat([starts, input_ids[:, 1:]], dim=1), attention_mask)
        vectors = words.tokens.new_tensor(self.vectors[rows])  # (n, size)
        beside = self.projection(self.dropout(vectors)).unsqueeze(1)  # (n, 1, hidden)
        return Encoded(words.tokens + beside, words.mask)


def small_processor(
    pairs: PairDataset, captions: CaptionVectors | None, max_length: int | None
) -> MatchingProcessor:
    """The processor of the small models.

    Args:
        pairs: The pairs: images, region features, or `GridPairs` of images.
        captions: Vectors of all captions, if there are any.
        max_length: Maximum number of tokens of a caption; by default that of the longest one.
    """
    frequency = 2 if len(pairs) >= MANY_PAIRS else 1
    words = train_word_tokenizer(pairs.captions(), frequency, max_length=max_length)
    images: Any = ViTImageProcessorPil(size={"height": _PIXELS, "width": _PIXELS})
    if pairs.visual != IMAGE:
        images = RegionFeatureProcessor(pairs.images[0].shape[-1])
    if captions is None:
        return MatchingProcessor(images, words)
    return CaptionProcessor(images, words, captions.texts)


def recipe_state(options: AuditOptions) -> str:
    """What the small models and their training depend on besides the pairs, as text."""
    return json.dumps([MODEL_VERSION, options.recipe()])


def small_model(processor: MatchingProcessor, captions: CaptionVectors | None) -> MatchingModel:
    """A two-tower model: words and regions, pooled and compared by cosine.

    If the vectors of images and captions are of a two-tower model, its scores are those of that
    model before training.

    Args:
        processor: From `small_processor`.
        captions: Likewise.
    """
    region_size: Any = getattr(processor.image_processor, "region_size", None)
    scale = None if captions is None else captions.scale
    size = _HIDDEN if scale is None else region_size
    vision = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
    )
    image_dropout = 0.3 if captions is None else 0.5
    model = MatchingModel(
        MatchingConfig(
            vision_config=vision if region_size is None else None,
            region_size=region_size or 2048,
            word_encoder="words",
            vocab_size=len(processor.tokenizer),
            word_size=size,
            hidden_size=size,
            dropout=_DROPOUT,
            image_dropout=image_dropout if region_size else 0.0,
            normalize_tokens=False,
            similarity="cosine",
            similarity_options={
                "image_pooling": "attention",
                "projection": scale is None,
                "shortcut": scale is None,
            },
            method_options={"objective": "infonce"},  # times the weight of each pair
        )
    )
    if captions is not None:
        words, start = model.text_encoder, processor.tokenizer.bos_token_id
        model.add_module("text_encoder", CaptionEncoder(words, captions.vectors, start, size))
    if scale is not None:
        _start_from_vectors(model, scale)
    return model


@torch.no_grad()
def _start_from_vectors(model: MatchingModel, scale: float) -> None:
    """Make the scores of a model those of the vectors that it reads."""
    for side in ("image", "text"):
        nn.init.eye_(model.get_parameter(f"{side}_encoder.projection.weight"))
        nn.init.zeros_(model.get_parameter(f"{side}_encoder.projection.bias"))
    nn.init.zeros_(model.get_parameter("text_encoder.words.words.weight"))
    model.logit_scale.fill_(math.log(scale))

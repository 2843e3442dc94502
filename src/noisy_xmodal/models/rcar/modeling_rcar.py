"""RCAR's model: a transformer over image and text tokens that classifies [CLS].

Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 2023,
section 3.1. The sequence is [CLS], image tokens, text tokens. [CLS] is a learned vector, not
the text encoder's. A modality embedding, image or text, is added to each token, as in UNITER (Chen
et al., ECCV 2020). With `stream_start="text"` the layers are the last ones of the text encoder, as
in VisualBERT (Li et al., 2019): they read its tokens as they are, and image tokens of their scale.

Scoring all pairs of N images and M texts takes N x M joint passes. Values that do not depend
on the pair are computed once: the outputs of both encoders, and the first layer's queries, keys and
values. The last layer computes only [CLS]. Texts of similar length are scored together, which
reduces padding.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ...modules import Encoded, RegionEncoder, VisionEncoder
from ...modules.backbones import load_backbone, pretrained_backbone
from ...modules.bert_layers import load_divided, without_last_layers
from ...modules.box_geometry import GEOMETRY_SIZES, box_geometry
from ...modules.dropout import Dropout
from ...modules.gathering import gather_encoded
from ...modules.joint_sequences import all_pairs, joint_mask, sequences, similar_lengths
from ...modules.single_stream import SingleStreamEncoder, SingleStreamLayer
from ...modules.text_encoders import TransformerTextEncoder
from ..sharing import SharedModel
from .configuration_rcar import RcarConfig


@dataclass
class RcarOutput(ModelOutput):
    """Scores of all images of a batch with all its texts, or of selected pairs.

    Args:
        scores: Probability that image and text are aligned, (n_images, n_texts).
        logits_per_image: Log-odds of `scores`, for ranking, (n_images, n_texts).
        logits_per_text: Transpose of `logits_per_image`, (n_texts, n_images).
        pair_logits: For selected pairs, logits of "not aligned" and "aligned", (n_pairs, 2).
        pair_features: Outputs at [CLS] for these pairs, (n_pairs, hidden).
        word_logits: Logits of the words at the masked tokens, (n_masked, vocab_size).
    """

    scores: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    pair_logits: Tensor | None = None
    pair_features: Tensor | None = None
    word_logits: Tensor | None = None


class WordHead(nn.Module):
    """Predicts the word at a masked token; shares the text encoder's embeddings (Eq. 3).

    Args:
        hidden_size: Size of a token.
        word_size: Size of a word's embedding.
        vocab_size: Number of words.
        layer_norm_eps: Constant added to variances.
    """

    def __init__(
        self, hidden_size: int, word_size: int, vocab_size: int, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(hidden_size, word_size),
            nn.GELU(),
            nn.LayerNorm(word_size, eps=layer_norm_eps),
        )
        self.bias = nn.Parameter(torch.empty(vocab_size))

    def forward(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Logits (n, vocab_size) of tokens (n, hidden) by word embeddings (vocab, word_size)."""
        return functional.linear(self.transform(tokens), words, self.bias)


class RcarModel(SharedModel):
    """Image encoder, text encoder, single-stream transformer, matching head and word head.

    Args:
        config: Sizes and encoders.
    """

    config_class = RcarConfig
    config: RcarConfig
    base_model_prefix = "rcar"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False
    is_two_tower = False

    def __init__(self, config: RcarConfig) -> None:
        super().__init__(config)
        size, eps = config.hidden_size, config.layer_norm_eps
        self.starts_from_text = config.stream_start == "text"
        self.image_encoder = (
            RegionEncoder(config.region_size, size, config.image_dropout, normalize=False)
            if config.vision_config is None
            else VisionEncoder(
                config.vision_config,
                size,
                config.image_dropout,
                normalize=False,
                is_frozen=config.vision_training == "frozen",
            )
        )
        if config.box_size:
            self.box_projection = nn.Linear(GEOMETRY_SIZES[config.box_geometry], size)
        self.image_norm = nn.LayerNorm(size, eps=eps)
        self.text_encoder = TransformerTextEncoder(
            _text_config(config),
            None if self.starts_from_text else size,
            normalize=False,
            is_frozen=config.text_training == "frozen",
        )
        if not self.starts_from_text:
            self.text_norm = nn.LayerNorm(size, eps=eps)
        self.class_token = nn.Parameter(torch.empty(size))
        self.modality = nn.Embedding(1 if self.starts_from_text else 2, size)
        self.dropout = Dropout(config.hidden_dropout)
        self.encoder = SingleStreamEncoder(
            SingleStreamLayer(
                size,
                config.num_attention_heads,
                config.intermediate_size,
                config.hidden_dropout,
                config.attention_dropout,
                eps,
                norm_first=not self.starts_from_text,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.matching_head = nn.Linear(size, 2)
        words = self.word_embeddings
        self.word_head = WordHead(size, words.embedding_dim, words.num_embeddings, eps)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights, as in BERT; encoders with their own initialisation use that."""
        if isinstance(module, RcarModel):
            init.normal_(module.class_token, std=self.config.initializer_range)
        elif isinstance(module, WordHead):
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def pretrained_encoders(self) -> dict[str, nn.Module]:
        """Pretrained encoders of both sides, and the layers that start as the text encoder's."""
        own = {"encoder": self.encoder} if self.starts_from_text else {}
        return super().pretrained_encoders() | own

    @property
    def word_embeddings(self) -> nn.Embedding:
        """Word embeddings of the text encoder."""
        return self.text_encoder.backbone.get_input_embeddings()

    @property
    def frozen_text_encoder(self) -> TransformerTextEncoder | None:
        """The text encoder if it is frozen, see `noisy_xmodal.evaluation.store_text_outputs`."""
        return self.text_encoder if self.text_encoder.is_frozen else None

    @property
    def frozen_vision_encoder(self) -> VisionEncoder | None:
        """The image encoder, if its vision model is frozen."""
        encoder = self.image_encoder
        return encoder if isinstance(encoder, VisionEncoder) and encoder.is_frozen else None

    @property
    def text_length_limit(self) -> int | None:
        """Maximum number of tokens that the text encoder reads; None without a limit."""
        return self.text_encoder.length_limit

    # Encoding

    def encode_image(
        self,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> Encoded:
        """Compute the image tokens of the sequence, (n_images, n_tokens, hidden).

        Args:
            pixel_values: (n_images, channels, height, width), for a model that reads pixels.
            regions: (n_images, n_regions, region_size), for a model that reads region features;
                with box geometry each region ends with four more numbers; or the cells of a frozen
                vision model in place of the pixels.
            region_mask: (n_images, n_regions), True where a region is real.

        Raises:
            ValueError: If this model does not read inputs of this kind.
        """
        if self.config.vision_config is not None:
            tokens, mask = self.image_encoder(pixel_values, regions, region_mask)
        elif regions is None:
            raise ValueError("this model reads region features: pass `regions`, not pixels.")
        else:
            tokens, mask = self._encode_regions(regions, region_mask)
        return Encoded(self.dropout(self.image_norm(tokens + self.modality.weight[0])), mask)

    def _encode_regions(self, regions: Tensor, mask: Tensor | None) -> Encoded:
        """Project regions and, if the model reads boxes, add the projected boxes."""
        box_size = self.config.box_size
        if not box_size:
            return self.image_encoder(regions, mask)
        expected = self.config.region_size + box_size
        if regions.shape[-1] != expected:
            raise ValueError(
                f"`regions` must be (n_images, n_regions, {expected}) for this model, "
                f"{self.config.region_size} numbers and a box, found {tuple(regions.shape)}: "
                "append the boxes to the features, with noisy_xmodal.data.append_boxes."
            )
        geometry = box_geometry(regions[..., -box_size:], self.config.box_geometry)
        tokens, mask = self.image_encoder(regions[..., :-box_size], mask)
        return Encoded(tokens + self.box_projection(geometry.to(tokens.dtype)), mask)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Compute the text tokens of the sequence, (n_texts, length, hidden).

        Args:
            input_ids: (n_texts, length).
            attention_mask: (n_texts, length), 1 where a token is real.

        Raises:
            ValueError: If a text is too long for the text encoder.
        """
        limit = self.text_length_limit
        if limit is not None and input_ids.shape[1] > limit:
            raise ValueError(
                f"a text has {input_ids.shape[1]} tokens and the text encoder reads {limit}: "
                "truncate texts with RcarProcessor: `limit_text(model.text_length_limit)`."
            )
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        tokens, mask = self.text_encoder(input_ids, attention_mask)
        if not self.starts_from_text:
            tokens = self.text_norm(tokens + self.modality.weight[1])
        return Encoded(self.dropout(tokens), mask)

    # Scoring

    @torch.no_grad()
    def score(self, image: Encoded, text: Encoded) -> Tensor:
        """Log-odds that each image and each text are aligned, (n_images, n_texts), float32.

        Rank pairs by log-odds, not by probabilities, which are 1 in float32 for log-odds of 17 or
        more. Computed in blocks, so memory does not grow with the number of pairs.
        """
        n_images, n_texts = len(image.tokens), len(text.tokens)
        pairs = all_pairs(n_images, n_texts)
        return self.score_pairs(image, text, pairs).view(n_images, n_texts)

    @torch.no_grad()
    def score_pairs(self, image: Encoded, text: Encoded, pairs: Tensor) -> Tensor:
        """Log-odds that selected images and texts are aligned, (n_pairs,), float32.

        Args:
            image: Encoded images.
            text: Encoded texts.
            pairs: Positions of an image and of a text, (n_pairs, 2).
        """
        with self._score_format(image.tokens.device):
            return self._head_log_odds(self._features(image, text, pairs))

    @staticmethod
    def match_probability(scores: Tensor) -> Tensor:
        """Probability of "aligned" from log-odds of any shape, float64; not for ranking."""
        return scores.double().sigmoid()

    def _head_log_odds(self, features: Tensor) -> Tensor:
        """Log-odds by the matching head, (n,), from outputs at [CLS] (n, hidden).

        In the format of the weights, without autocast: bfloat16 has steps of .25 at 32, which cause
        many ties.
        """
        with torch.autocast(features.device.type, enabled=False):
            return _log_odds(self.matching_head(features.to(self.matching_head.weight.dtype)))

    def _score_format(self, device: torch.device) -> AbstractContextManager:
        dtype = self.config.score_dtype
        if dtype == "auto":
            has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
            dtype = "bfloat16" if has_bf16 else "float32"
        if dtype == "bfloat16":
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()

    # The forward pass

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
        pairs: Tensor | None = None,
        masked_input_ids: Tensor | None = None,
        is_masked: Tensor | None = None,
        gather: bool = False,
    ) -> RcarOutput:
        """Score all images of the batch with all its texts, or selected pairs.

        Args:
            input_ids: (n_texts, length); see the encode methods for this and the next four.
            attention_mask: (n_texts, length).
            pixel_values: (n_images, channels, height, width).
            regions: (n_images, n_regions, region_size).
            region_mask: (n_images, n_regions).
            pairs: Positions of an image and of a text, (n_pairs, 2), for `pair_logits`.
            masked_input_ids: The texts with some words replaced, (n_texts, length), for
                `word_logits`. Each is read together with the image at the same position.
            is_masked: Positions of the replaced words, bool (n_texts, length).
            gather: Whether `pairs` indexes the images and texts of all processes of a batch.
        """
        image = self.encode_image(pixel_values, regions, region_mask)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        id_blocks = [input_ids] if masked_input_ids is None else [input_ids, masked_input_ids]
        texts = self.encode_text(torch.cat(id_blocks), attention_mask.repeat(len(id_blocks), 1))
        n_texts = len(input_ids)
        text = Encoded(texts.tokens[:n_texts], texts.mask[:n_texts])
        output = RcarOutput()
        if masked_input_ids is not None and is_masked is not None:
            masked = Encoded(texts.tokens[n_texts:], texts.mask[n_texts:])
            output.word_logits = self._words(image, masked, is_masked)
        if gather:
            image, text = gather_encoded(image), gather_encoded(text)
        positions = pairs
        if positions is None:
            positions = all_pairs(len(image.tokens), n_texts).to(input_ids.device)
        features = self._features(image, text, positions)
        logits = self.matching_head(features).float()  # (n_pairs, 2)
        if pairs is not None:
            output.pair_logits, output.pair_features = logits, features
            return output
        output.logits_per_image = _log_odds(logits).view(len(image.tokens), n_texts)
        output.logits_per_text = output.logits_per_image.T
        output.scores = output.logits_per_image.sigmoid()
        return output

    def _features(self, image: Encoded, text: Encoded, pairs: Tensor) -> Tensor:
        """Outputs at [CLS] for pairs of positions (n_pairs, 2), in blocks, (n_pairs, hidden)."""
        sides = (self.class_token[None], image.tokens, text.tokens)
        projected = tuple(self.encoder.first.project(side) for side in sides)
        places, parts = [], [sides[0][:0]]  # (0, hidden)
        for block, n_regions, n_words in similar_lengths(image.mask, text.mask, pairs):
            i, t = pairs[block.to(pairs.device)].to(image.tokens.device).unbind(dim=1)
            mask = joint_mask(image.mask[i, :n_regions], text.mask[t, :n_words])
            states = self.encoder(
                sequences(sides, i, t, n_regions, n_words),
                None if mask.all() else mask,
                n_outputs=1,
                projected=sequences(projected, i, t, n_regions, n_words),
            )  # (n_block, 1, hidden)
            places.append(block)
            parts.append(states[:, 0])
        order = torch.cat(places).argsort() if places else torch.empty(0, dtype=torch.long)
        return torch.cat(parts)[order.to(image.tokens.device)]

    def _words(self, image: Encoded, text: Encoded, is_masked: Tensor) -> Tensor:
        """Logits of the masked words of each text with its own image, (n_masked, vocab_size)."""
        rows = torch.arange(len(text.tokens), device=text.tokens.device)
        sides = (self.class_token[None], image.tokens, text.tokens)
        tokens = sequences(sides, rows, rows)  # (n, length, hidden)
        states = self.encoder(tokens, joint_mask(image.mask, text.mask))
        states = states[:, 1 + image.tokens.shape[1] :]  # (n, n_words, hidden)
        return self.word_head(states[is_masked], self.word_embeddings.weight).float()

    def load_backbones(
        self, vision: str | Path | None = None, text: str | Path | None = None
    ) -> None:
        """Replace the initial weights with pretrained ones: of encoders, and of layers from them.

        Args:
            vision: Name or folder of a pretrained vision model of the config's type.
            text: Name or folder of a pretrained text model of the config's type.
        """
        load_backbone(self.image_encoder, vision, self.config.vision_config)
        if text is not None and self.starts_from_text:
            self._start_from(pretrained_backbone(text, self.config.text_config))
        else:
            load_backbone(self.text_encoder, text, self.config.text_config)
        self.text_encoder.stored.clear()

    def _start_from(self, bert: PreTrainedModel) -> None:
        """Divide the layers of a BERT between the text encoder and the transformer."""
        backbone = self.text_encoder.backbone
        load_divided(backbone, list(self.encoder.layers), bert)
        n_kept = backbone.config.num_hidden_layers
        before = f"encoder.layer.{n_kept - 1}.output" if n_kept else "embeddings"
        norm = bert.get_submodule(f"{before}.LayerNorm")
        self.image_norm.load_state_dict(norm.state_dict())  # image tokens get the texts' scale


def _text_config(config: RcarConfig) -> PreTrainedConfig:
    """Config of the text encoder, without the layers that are the transformer's."""
    text: Any = config.text_config
    if config.stream_start == "fresh":
        return text
    return without_last_layers(text, config.num_hidden_layers)


def _log_odds(logits: Tensor) -> Tensor:
    """Log-odds of "aligned", (n,), float32, from logits (n, 2)."""
    return logits[:, 1].float() - logits[:, 0].float()

"""A matching model: two separate encoders and a similarity head that compares their outputs.

Methods for image-caption pairs train this model. The head makes it VSE++, SCAN, SAF or SGR. The
output has CLIP's field names.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from ...modules import WORD_ENCODERS, Encoded, RegionEncoder, VisionEncoder
from ...modules.backbones import load_backbone
from ...modules.gathering import gather_encoded
from ...modules.similarity import TwoTowerHead, build_similarity
from ...modules.text_encoders import TransformerTextEncoder
from ..adapted import AdaptedModel
from .configuration_matching import MatchingConfig


@dataclass
class MatchingOutput(ModelOutput):
    """Scores of all images of a batch with all texts of the batch.

    Args:
        scores: Raw similarities of the head, (n_images, n_texts).
        logits_per_image: Scores times the learned inverse temperature, (n_images, n_texts).
        logits_per_text: Its transpose, (n_texts, n_images).
        image_embeds: Unit vectors of the images, (n_images, hidden), for two-tower heads only.
        text_embeds: Unit vectors of the texts, (n_texts, hidden), for two-tower heads only.
    """

    scores: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None


class MatchingPreTrainedModel(AdaptedModel):
    """Weight initialisation of models with encoders and a similarity head."""

    config_class = MatchingConfig
    base_model_prefix = "matching"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Xavier for projections, as in the published code of SCAN and SGRAF; GRU by its size."""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -0.1, 0.1)
        elif isinstance(module, nn.GRU):
            bound = 1 / math.sqrt(module.hidden_size)
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)
        elif isinstance(module, MatchingModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init)
        else:
            super()._init_weights(module)


def _text_encoder(config: MatchingConfig) -> nn.Module:
    """A word-level encoder, a transformers model, or both."""
    size, normalize = config.hidden_size, config.normalize_tokens

    def words(normalize: bool) -> nn.Module:
        kind = WORD_ENCODERS[config.word_encoder]
        return kind(config.vocab_size, config.word_size, size, config.dropout, normalize)

    if config.text_config is None:
        return words(normalize)
    beside = words(normalize=False) if config.words_beside else None
    is_frozen = config.text_training == "frozen"
    return TransformerTextEncoder(
        config.text_config, size, normalize, beside, config.dropout, is_frozen
    )


class MatchingModel(MatchingPreTrainedModel):
    """Image encoder, text encoder and similarity head.

    Args:
        config: Sizes, encoders and the name of the head.
    """

    config: MatchingConfig

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__(config)
        size, normalize = config.hidden_size, config.normalize_tokens
        self.image_encoder = (
            RegionEncoder(config.region_size, size, config.image_dropout, normalize)
            if config.vision_config is None
            else VisionEncoder(
                config.vision_config,
                size,
                config.image_dropout,
                normalize,
                config.vision_training == "frozen",
            )
        )
        self.text_encoder = _text_encoder(config)
        self.head = build_similarity(
            config.similarity, hidden_size=size, **(config.similarity_options or {})
        )
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.post_init()
        self.add_adapters()

    def adapted_encoders(self) -> list[nn.Module]:
        """The transformers models that are trained by adapters."""
        names = {"vision": "image_encoder.backbone", "text": "text_encoder.backbone"}
        return [
            self.get_submodule(name)
            for side, name in names.items()
            if getattr(self.config, f"{side}_training") == "lora"
        ]

    @property
    def is_two_tower(self) -> bool:
        """Whether a score is the inner product of an image vector and a text vector."""
        return self.head.is_two_tower

    @property
    def text_length_limit(self) -> int | None:
        """Maximum number of tokens that the text encoder reads; None without a limit."""
        return getattr(self.text_encoder, "length_limit", None)

    @property
    def frozen_vision_encoder(self) -> VisionEncoder | None:
        """The image encoder, if its vision model is frozen."""
        encoder = self.image_encoder
        return encoder if isinstance(encoder, VisionEncoder) and encoder.is_frozen else None

    @property
    def frozen_text_encoder(self) -> TransformerTextEncoder | None:
        """The text encoder, if its transformers model is frozen."""
        encoder = self.text_encoder
        if isinstance(encoder, TransformerTextEncoder) and encoder.is_frozen:
            return encoder
        return None

    def encode_image(
        self,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> Encoded:
        """Encode images.

        Args:
            pixel_values: (n_images, channels, height, width), for a model that reads pixels.
            regions: (n_images, n_regions, region_size), for a model that reads region features; or
                the cells of a frozen vision model in place of the pixels.
            region_mask: (n_images, n_regions), True where a region is real.

        Raises:
            ValueError: If this model does not read inputs of this kind.
        """
        if self.config.vision_config is not None:
            return self.image_encoder(pixel_values, regions, region_mask)
        if regions is None:
            raise ValueError("this model reads region features: pass `regions`, not pixels.")
        return self.image_encoder(regions, region_mask)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Encode texts from token ids, (n_texts, length); the mask is 1 for real tokens."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return self.text_encoder(input_ids, attention_mask)

    def score(self, image: Encoded, text: Encoded) -> Tensor:
        """Compare all encoded images with all encoded texts, (n_images, n_texts)."""
        return self.head(image, text)

    def get_image_features(self, **image_inputs: Tensor) -> Tensor:
        """Unit vectors of images, (n_images, hidden_size); inputs as for `encode_image`.

        Raises:
            ValueError: If the similarity head has no vector per image.
        """
        return self._two_tower_head().embed_image(self.encode_image(**image_inputs))

    def get_text_features(self, **text_inputs: Tensor) -> Tensor:
        """Unit vectors of texts, (n_texts, hidden_size); inputs as for `encode_text`.

        Raises:
            ValueError: If the similarity head has no vector per text.
        """
        return self._two_tower_head().embed_text(self.encode_text(**text_inputs))

    def _two_tower_head(self) -> TwoTowerHead:
        if not isinstance(self.head, TwoTowerHead):
            raise ValueError(
                f"the similarity head {self.config.similarity!r} compares regions with words and "
                "has no vector per image; use `encode_image`, `encode_text` and `score`."
            )
        return self.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
        gather: bool = False,
        few_pairs: bool = False,
    ) -> MatchingOutput:
        """Score all images of the batch with all its texts; see the encode methods for shapes.

        With `gather`, the scores cover the whole batch of all processes. `few_pairs` is for a loss
        whose gradient reaches few of the pairs: some heads are then faster, with the same scores
        and gradients.
        """
        image = self.encode_image(pixel_values, regions, region_mask)
        text = self.encode_text(input_ids, attention_mask)
        if gather:
            image, text = gather_encoded(image), gather_encoded(text)
        image_embeds = text_embeds = None
        if isinstance(self.head, TwoTowerHead):
            image_embeds = self.head.embed_image(image)  # (n_images, hidden)
            text_embeds = self.head.embed_text(text)  # (n_texts, hidden)
            scores = image_embeds @ text_embeds.T  # (n_images, n_texts)
        else:
            score = self.head.sparse_gradient_scores if few_pairs else self.score
            scores = score(image, text)  # (n_images, n_texts)
        scores = scores.float()
        logits = scores * self.logit_scale.float().clamp(max=math.log(100)).exp()
        return MatchingOutput(
            scores=scores,
            logits_per_image=logits,
            logits_per_text=logits.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
        )

    def load_backbones(
        self, vision: str | Path | None = None, text: str | Path | None = None
    ) -> None:
        """Replace the initial weights of the transformers encoders with pretrained ones.

        Args:
            vision: Name or folder of a pretrained vision model of the config's type.
            text: Name or folder of a pretrained text model of the config's type.
        """
        load_backbone(self.image_encoder, vision, self.config.vision_config)
        load_backbone(self.text_encoder, text, self.config.text_config)
        if self.frozen_text_encoder is not None:
            self.frozen_text_encoder.stored.clear()

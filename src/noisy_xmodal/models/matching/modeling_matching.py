"""A matching model: two separate encoders and a similarity head that compares their outputs.

Methods for image-caption pairs train this model. The head makes it VSE++, SCAN, SAF, SGR, IMRAM,
VSRN or TERAN. Or the model is a pretrained two-tower model, the backbone, such as CLIP. The output
has CLIP's field names.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ...modules import WORD_ENCODERS, Encoded, RegionEncoder, VisionEncoder
from ...modules.backbones import load_backbone, pretrained_backbone
from ...modules.bert_layers import load_divided
from ...modules.captioner import Captioner
from ...modules.gathering import gather_batch, gather_encoded
from ...modules.region_transformer import RegionTransformer
from ...modules.similarity import TwoTowerHead, build_similarity
from ...modules.similarity.base import l2_normalize, masked_mean
from ...modules.similarity.vsrn import RegionReasoning
from ...modules.text_encoders import TransformerTextEncoder
from ...modules.tower_encoders import ImageTower, TextTower, TowerEncoder
from ...modules.tower_outputs import tower_logits
from ..adapted import AdaptedModel
from .configuration_matching import MatchingConfig


@dataclass
class MatchingOutput(ModelOutput):
    """Scores of all images of a batch with all texts of the batch.

    Args:
        scores: Raw similarities of the head, (n_images, n_texts).
        logits_per_image: Scores times the learned inverse temperature, plus the bias of a backbone
            that has one, (n_images, n_texts).
        logits_per_text: Its transpose, (n_texts, n_images).
        image_embeds: Unit vectors of the images, (n_images, hidden), for two-tower heads only.
        text_embeds: Unit vectors of the texts, (n_texts, hidden), for two-tower heads only.
        image_means: For other heads, unit vectors of the images' mean tokens, (n_images, hidden).
        text_means: The same of the texts, (n_texts, hidden).
        caption_loss: Negative log-likelihood of caption i by the captioner for image i, (n_pairs,),
            if it was asked for.
    """

    scores: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    image_means: Tensor | None = None
    text_means: Tensor | None = None
    caption_loss: Tensor | None = None


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
        elif isinstance(module, RegionReasoning):
            init.zeros_(module.norm.weight)
        elif isinstance(module, MatchingModel) and module.backbone is None:
            init.constant_(module.logit_scale, module.config.logit_scale_init)
        else:
            super()._init_weights(module)


def _image_encoder(config: MatchingConfig) -> nn.Module:
    """An encoder of region features, or a vision model."""
    size, options = config.hidden_size, (config.image_dropout, config.normalize_tokens)
    if config.vision_config is not None:
        is_frozen = config.vision_training == "frozen"
        return VisionEncoder(config.vision_config, size, *options, is_frozen)
    if config.region_layers:
        layers = config.region_layers, config.box_geometry
        return RegionTransformer(config.region_size, size, *layers, *options)
    return RegionEncoder(config.region_size, size, *options)


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
        config.text_config, size, normalize, beside, is_frozen, config.text_layers
    )


class MatchingModel(MatchingPreTrainedModel):
    """Image encoder, text encoder and similarity head, or a backbone in place of all three.

    Args:
        config: Sizes, encoders and the name of the head; or the backbone.
    """

    config: MatchingConfig

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__(config)
        self.backbone: PreTrainedModel | None = None
        self.image_encoder: Any
        self.text_encoder: Any
        if config.backbone_config is None:
            self._build_encoders(config)
        else:
            self._encode_by(AutoModel.from_config(config.backbone_config))
        self.head = build_similarity(
            config.similarity, hidden_size=config.hidden_size, **(config.similarity_options or {})
        )
        self.head.has_class_token = config.region_layers > 0
        self.post_init()
        self.add_adapters()
        self.train(self.training)

    def train(self, mode: bool = True) -> "MatchingModel":
        """Switch the mode; a frozen tower of a backbone stays in eval mode without gradients."""
        super().train(mode)
        for encoder in (self.image_encoder, self.text_encoder):
            if isinstance(encoder, TowerEncoder):
                encoder.freeze()
        return self

    @classmethod
    def from_backbone(cls, backbone: PreTrainedModel) -> "MatchingModel":
        """Wrap a two-tower model, whose weights are not copied.

        Args:
            backbone: Such as a CLIP.
        """
        with torch.device("meta"):
            model = cls(MatchingConfig(backbone_config=backbone.config))
        model._encode_by(backbone)
        return model

    def _encode_by(self, backbone: PreTrainedModel) -> None:
        """Make the towers of a two-tower model the encoders."""
        self.backbone = backbone
        self.image_encoder = ImageTower(backbone, self.config.vision_training)
        self.text_encoder = TextTower(backbone, self.config.text_training)

    def _build_encoders(self, config: MatchingConfig) -> None:
        self.image_encoder, self.text_encoder = _image_encoder(config), _text_encoder(config)
        if config.captioner_size:
            text: Any = config.text_config
            n_words = config.vocab_size if text is None or config.words_beside else text.vocab_size
            self.captioner = Captioner(
                config.hidden_size, n_words, config.word_size, config.captioner_size
            )
        self.logit_scale = nn.Parameter(torch.empty(()))

    def adapted_encoders(self) -> list[nn.Module]:
        """The transformers models that are trained by adapters."""
        encoders = {"vision": self.image_encoder, "text": self.text_encoder}
        return [
            encoder.tower if isinstance(encoder, TowerEncoder) else encoder.backbone
            for side, encoder in encoders.items()
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
    def frozen_vision_encoder(self) -> VisionEncoder | ImageTower | None:
        """The image encoder, if its vision model is frozen."""
        return self.image_encoder if _is_frozen(self.image_encoder) else None

    @property
    def frozen_text_encoder(self) -> TransformerTextEncoder | TextTower | None:
        """The text encoder, if its transformers model is frozen."""
        return self.text_encoder if _is_frozen(self.text_encoder) else None

    def frozen_parts(self) -> dict[str, str]:
        """Names of the frozen models inside this one, by the encoder that reads them."""
        encoders = {"image_encoder": self.image_encoder, "text_encoder": self.text_encoder}
        return {
            name: f"backbone.{encoder.side}_model"
            if isinstance(encoder, TowerEncoder)
            else f"{name}.backbone"
            for name, encoder in encoders.items()
            if _is_frozen(encoder)
        }

    def encode_image(
        self,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
    ) -> Encoded:
        """Encode images.

        Args:
            pixel_values: (n_images, channels, height, width), for a model that reads pixels;
                (n_images, n_patches, patch size) for SigLIP 2.
            regions: (n_images, n_regions, region_size), for a model that reads region features; or
                the cells of a frozen vision model in place of the pixels.
            region_mask: (n_images, n_regions), True where a region is real.
            pixel_attention_mask: (n_images, n_patches), 1 for real patches, for SigLIP 2.
            spatial_shapes: Rows and columns of patches, (n_images, 2), for SigLIP 2.

        Raises:
            ValueError: If this model does not read inputs of this kind.
        """
        encoder = self.image_encoder
        if isinstance(encoder, ImageTower):
            tokens = encoder(pixel_values, regions, pixel_attention_mask, spatial_shapes)
        elif isinstance(encoder, VisionEncoder):
            tokens = encoder(pixel_values, regions, region_mask)
        elif regions is None:
            raise ValueError("this model reads region features: pass `regions`, not pixels.")
        else:
            tokens = encoder(regions, region_mask)
        return self.head.encode_image(tokens)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Encode texts from token ids, (n_texts, length); the mask is 1 for real tokens."""
        if attention_mask is None and self.backbone is None:
            attention_mask = torch.ones_like(input_ids)
        return self.head.encode_text(self.text_encoder(input_ids, attention_mask))

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
        captions: bool = False,
        pixel_attention_mask: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
    ) -> MatchingOutput:
        """Score all images of the batch with all its texts; see the encode methods for shapes.

        With `gather`, the scores cover the whole batch of all processes. `few_pairs` is for a loss
        whose gradient reaches few of the pairs: some heads are then faster, with the same scores
        and gradients. With `captions`, the output has the loss of the captioner.

        Raises:
            ValueError: If `captions` is true and the model has no captioner.
        """
        image = self.encode_image(
            pixel_values, regions, region_mask, pixel_attention_mask, spatial_shapes
        )
        text = self.encode_text(input_ids, attention_mask)
        caption_loss = self._caption_loss(image, input_ids, attention_mask) if captions else None
        whole = gather_batch if gather else _as_is
        if caption_loss is not None:
            caption_loss = whole(caption_loss)
        image_embeds = text_embeds = image_means = text_means = None
        if isinstance(self.head, TwoTowerHead):
            image_embeds = whole(self.head.embed_image(image))  # (n_images, hidden)
            text_embeds = whole(self.head.embed_text(text))  # (n_texts, hidden)
            scores = image_embeds @ text_embeds.T  # (n_images, n_texts)
        else:
            score = self.head.sparse_gradient_scores if few_pairs else self.score
            # Each process compares its own images with the texts of all.
            scores = whole(score(image, gather_encoded(text) if gather else text))
            image_means, text_means = whole(_unit_mean(image)), whole(_unit_mean(text))
        scores = scores.float()
        logits = tower_logits(self if self.backbone is None else self.backbone, scores)
        return MatchingOutput(
            scores=scores,
            logits_per_image=logits,
            logits_per_text=logits.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            image_means=image_means,
            text_means=text_means,
            caption_loss=caption_loss,
        )

    def _caption_loss(self, image: Encoded, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Negative log-likelihood of caption i for image i, (n_pairs,)."""
        if not self.config.captioner_size:
            raise ValueError("the model has no captioner: set `captioner_size` in its config.")
        return self.captioner(
            image, input_ids, torch.ones_like(input_ids) if mask is None else mask
        )

    def load_backbones(
        self,
        vision: str | Path | None = None,
        text: str | Path | None = None,
        both: str | Path | None = None,
    ) -> None:
        """Replace the initial weights of the transformers encoders with pretrained ones.

        Args:
            vision: Name or folder of a pretrained vision model of the config's type.
            text: Name or folder of a pretrained text model of the config's type.
            both: Name or folder of a pretrained two-tower model of the type of the backbone.
        """
        for encoder, name, config in (
            ("image_encoder", vision, self.config.vision_config),
            ("text_encoder", text, self.config.text_config),
            ("", both, self.config.backbone_config),
        ):
            if name is None:
                continue
            if encoder == "text_encoder" and self.config.text_layers:
                own: Any = self.text_encoder
                load_divided(own.backbone, list(own.top.layers), pretrained_backbone(name, config))
            else:
                load_backbone(self.get_submodule(encoder), name, config)
        if self.frozen_text_encoder is not None:
            self.frozen_text_encoder.stored.clear()


def _as_is(values: Tensor) -> Tensor:
    return values


def _is_frozen(encoder: Any) -> bool:
    return getattr(encoder, "is_frozen", False)


def _unit_mean(encoded: Encoded) -> Tensor:
    """Unit vectors of the mean of the real tokens, (n, size)."""
    return l2_normalize(masked_mean(encoded.tokens, encoded.mask.unsqueeze(-1), dim=1))

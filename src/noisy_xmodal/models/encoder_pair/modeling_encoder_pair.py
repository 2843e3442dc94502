"""A pair of encoders as a two-tower model: pooled vectors, with or without linear projections.

With projections it has the shape and the field names of CLIP. Without them it is a fixed source of
vectors, for models that learn their own common space.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel
from transformers import initialization as init

from ...entry.errors import load_part
from ...modules.backbones import length_limit, output_size
from ...modules.similarity.base import masked_mean
from ...modules.text_states import text_states
from ..matching.modeling_matching import MatchingOutput
from ..sharing import SharedModel
from .configuration_encoder_pair import EncoderPairConfig


class EncoderPairModel(SharedModel):
    """A vision model and a text model of transformers.

    Args:
        config: The encoders and the size of the joint space.
    """

    config_class = EncoderPairConfig
    config: EncoderPairConfig
    base_model_prefix = "encoder_pair"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True

    def __init__(self, config: EncoderPairConfig) -> None:
        super().__init__(config)
        self.vision_model = AutoModel.from_config(config.vision_config)
        self.text_model = AutoModel.from_config(config.text_config)
        size = config.projection_size
        if size is not None:
            vision_size, text_size = map(output_size, (config.vision_config, config.text_config))
            self.visual_projection = nn.Linear(vision_size, size, bias=False)
            self.text_projection = nn.Linear(text_size, size, bias=False)
            self.logit_scale = nn.Parameter(torch.empty(()))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Projections that keep the scale of their inputs, as in CLIP."""
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, EncoderPairModel) and module.is_two_tower:
            init.constant_(module.logit_scale, module.config.logit_scale_init)

    @property
    def is_two_tower(self) -> bool:
        """Whether images and texts have vectors in one space."""
        return self.config.projection_size is not None

    @property
    def text_length_limit(self) -> int | None:
        """Maximum number of tokens that the text model reads; None without a limit."""
        return length_limit(self.text_model)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Vectors of images, (n_images, size).

        Args:
            pixel_values: (n_images, channels, height, width).

        Returns:
            Unit vectors in the joint space; without projections the pooled output itself.

        Raises:
            ValueError: If the vision model has no pooled output.
        """
        pixel_values = pixel_values.to(self.dtype, memory_format=torch.channels_last)  # faster
        output = self.vision_model(pixel_values=pixel_values)
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            raise ValueError(
                f"the vision model ({self.vision_model.config.model_type}) has no pooled output "
                "(`pooler_output`): take another one, such as imagenet, ResNet, DINOv2 or ViT."
            )
        pooled = pooled.flatten(1)  # (n_images, vision_size)
        if not self.is_two_tower:
            return pooled
        return functional.normalize(self.visual_projection(pooled), dim=-1)

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Vectors of texts, the mean over the states of their real tokens, (n_texts, size).

        Args:
            input_ids: (n_texts, length).
            attention_mask: (n_texts, length), 1 for real tokens.

        Returns:
            Unit vectors in the joint space; without projections the mean itself.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states = text_states(self.text_model, input_ids, attention_mask)  # (n_texts, length, size)
        pooled = masked_mean(states, attention_mask.bool().unsqueeze(-1), dim=1)
        if not self.is_two_tower:
            return pooled
        return functional.normalize(self.text_projection(pooled), dim=-1)

    encode_image, encode_text = get_image_features, get_text_features

    def score(self, image: Tensor, text: Tensor) -> Tensor:
        """Cosine of all images with all texts, (n_images, n_texts).

        Raises:
            ValueError: If the model has no joint space.
        """
        if not self.is_two_tower:
            raise ValueError(
                "this pair of encoders has no joint space: set `projection_size` in its config and "
                "train it, or use its vectors as inputs of another model."
            )
        return image @ text.T

    def forward(
        self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor | None = None
    ) -> MatchingOutput:
        """Score all images of the batch with all its texts; see the methods for shapes."""
        image = self.get_image_features(pixel_values)
        text = self.get_text_features(input_ids, attention_mask)
        scores = self.score(image, text).float()  # (n_images, n_texts)
        logits = scores * self.logit_scale.float().clamp(max=math.log(100)).exp()
        return MatchingOutput(
            scores=scores,
            logits_per_image=logits,
            logits_per_text=logits.T,
            image_embeds=image,
            text_embeds=text,
        )

    def load_encoders(self, vision: str | Path, text: str | Path) -> None:
        """Replace the initial weights of both encoders with pretrained ones.

        Args:
            vision: Name or folder of a pretrained vision model of the config's type.
            text: Name or folder of a pretrained text model of the config's type.
        """
        for model, name in ((self.vision_model, vision), (self.text_model, text)):
            pretrained = load_part(AutoModel, name, config=model.config, use_safetensors=True)
            model.load_state_dict(pretrained.state_dict())

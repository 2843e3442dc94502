"""A common-space model: one tower per modality maps feature vectors onto a common unit sphere.

All methods for class labels train this model. The config selects the variant: that of DMCM and MRL,
SDML, DSCMR or DCCA. The output has CLIP's field names.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ...entry.errors import load_part
from ...modules.gathering import gather_batch
from ...modules.tower_outputs import tower_vectors
from ...modules.towers import (
    FeatureScaling,
    LinearProjection,
    Prototypes,
    build_decoder,
    build_tower,
)
from ..sharing import SharedModel
from .configuration_common_space import CommonSpaceConfig


@dataclass
class CommonSpaceOutput(ModelOutput):
    """Both modalities of a batch in the common space.

    Args:
        logits_per_image: Cosine of all images with all texts, (n_images, n_texts).
        logits_per_text: Its transpose, (n_texts, n_images).
        image_embeds: Unit vectors of the images, for retrieval, (n_images, embedding_size), or
            canonical_size.
        text_embeds: Unit vectors of the texts, likewise.
        image_outputs: Outputs of the image tower, (n_images, embedding_size).
        text_outputs: Outputs of the text tower, (n_texts, embedding_size).
        image_class_logits: Class logits of the images, (n_images, n_classes).
        text_class_logits: Class logits of the texts, (n_texts, n_classes).
        image_features: Inputs of the image tower, (n_images, image_size).
        text_features: Inputs of the text tower, (n_texts, text_size).
        image_reconstruction: Decoder outputs for image_outputs, (n_images, image_size).
        text_reconstruction: Decoder outputs for text_outputs, (n_texts, text_size).
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    image_outputs: Tensor | None = None
    text_outputs: Tensor | None = None
    image_class_logits: Tensor | None = None
    text_class_logits: Tensor | None = None
    image_features: Tensor | None = None
    text_features: Tensor | None = None
    image_reconstruction: Tensor | None = None
    text_reconstruction: Tensor | None = None


class CommonSpacePreTrainedModel(SharedModel):
    """Weight initialisation of towers and prototypes."""

    config_class = CommonSpaceConfig
    base_model_prefix = "common_space"
    main_input_name = "image_features"
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise layers as torch does by default; the published code relies on it."""
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, Prototypes):
            init.orthogonal_(module.weight)
        elif isinstance(module, FeatureScaling):
            init.zeros_(module.mean)
            init.ones_(module.scale)
        elif isinstance(module, LinearProjection):
            init.zeros_(module.mean)
            init.eye_(module.weight)
        else:
            super()._init_weights(module)


class CommonSpaceModel(CommonSpacePreTrainedModel):
    """Towers, a classifier and, if the config has them, decoders and linear projections.

    Args:
        config: Sizes and parts.
    """

    config: CommonSpaceConfig
    is_two_tower = True

    def __init__(self, config: CommonSpaceConfig) -> None:
        super().__init__(config)
        self.backbone = (
            None
            if config.backbone_config is None
            else AutoModel.from_config(config.backbone_config)
        )
        self.image_scaling = FeatureScaling(config.image_size)
        self.text_scaling = FeatureScaling(config.text_size)
        options = (config.hidden_sizes, config.embedding_size, config.activation)
        self.image_tower = build_tower(config.image_size, *options, config.batch_norm)
        self.text_tower = build_tower(config.text_size, *options, config.batch_norm)
        if config.share_last_layer:
            self.text_tower[-1] = self.image_tower[-1]
            names = f"{len(self.text_tower) - 1}.weight", f"{len(self.text_tower) - 1}.bias"
            self._tied_weights_keys = {
                f"text_tower.{name}": f"image_tower.{name}" for name in names
            }
            self._keys_to_ignore_on_save = list(self._tied_weights_keys)
        decodes = config.reconstructs
        self.image_decoder = build_decoder(config.image_size, *options) if decodes else None
        self.text_decoder = build_decoder(config.text_size, *options) if decodes else None
        self.classifier: nn.Module | None = None
        if config.classifier == "linear":
            self.classifier = nn.Linear(config.embedding_size, config.n_classes)
        elif config.classifier != "none":
            learned = config.classifier == "prototypes"
            self.classifier = Prototypes(config.n_classes, config.embedding_size, learned)
        size = config.canonical_size
        self.image_projection = LinearProjection(config.embedding_size, size) if size else None
        self.text_projection = LinearProjection(config.embedding_size, size) if size else None
        self.post_init()
        self.train(self.training)

    def train(self, mode: bool = True) -> "CommonSpaceModel":
        """Switch the mode; a frozen backbone stays in eval mode and has no gradients."""
        super().train(mode)
        if self.backbone is not None and self.config.freeze_backbone:
            self.backbone.eval()
            self.backbone.requires_grad_(False)
        return self

    # From inputs to feature vectors

    def image_features_of(
        self, pixel_values: Tensor | None = None, image_features: Tensor | None = None
    ) -> Tensor:
        """Input vectors of the image tower, (n_images, image_size).

        Args:
            pixel_values: (n_images, channels, height, width), for a model with a backbone.
            image_features: (n_images, image_size), returned unchanged.

        Raises:
            ValueError: If this model does not read inputs of this kind.
        """
        if image_features is not None:
            return self._check_shape(image_features, "image_features", self.config.image_size)
        if pixel_values is None:
            raise ValueError(f"pass {self._input_names('image_features', 'pixel_values')}.")
        return self._backbone_features("image", pixel_values=pixel_values)

    def text_features_of(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_features: Tensor | None = None,
    ) -> Tensor:
        """Input vectors of the text tower, (n_texts, text_size).

        Args:
            input_ids: (n_texts, length), for a model with a backbone.
            attention_mask: (n_texts, length).
            text_features: (n_texts, text_size), returned unchanged.

        Raises:
            ValueError: If this model does not read inputs of this kind.
        """
        if text_features is not None:
            return self._check_shape(text_features, "text_features", self.config.text_size)
        if input_ids is None:
            raise ValueError(f"pass {self._input_names('text_features', 'input_ids')}.")
        return self._backbone_features("text", input_ids=input_ids, attention_mask=attention_mask)

    def _input_names(self, vectors: str, raw: str) -> str:
        return f"`{vectors}`" if self.backbone is None else f"`{raw}` or `{vectors}`"

    def _check_shape(self, features: Tensor, name: str, size: int) -> Tensor:
        if features.ndim != 2 or features.shape[1] != size:
            raise ValueError(
                f"`{name}` has the shape {tuple(features.shape)}: this model reads (n, {size})."
            )
        return features

    def _backbone_features(self, side: Literal["image", "text"], **inputs: Tensor | None) -> Tensor:
        if self.backbone is None:
            raise ValueError(
                "this model reads feature vectors, not pictures and texts: pass `image_features` "
                "and `text_features`."
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_backbone):
            return tower_vectors(self.backbone, side, **inputs)  # (n, projection)

    # From feature vectors to the common space

    def encode_image(self, **image_inputs: Tensor) -> Tensor:
        """Outputs of the image tower, (n_images, embedding_size); see `image_features_of`."""
        return self._tower_outputs("image", self.image_features_of(**image_inputs))

    def encode_text(self, **text_inputs: Tensor) -> Tensor:
        """Outputs of the text tower, (n_texts, embedding_size); see `text_features_of`."""
        return self._tower_outputs("text", self.text_features_of(**text_inputs))

    def _tower_outputs(self, modality: str, features: Tensor) -> Tensor:
        scaled = self.get_submodule(f"{modality}_scaling")(features)
        outputs = self.get_submodule(f"{modality}_tower")(scaled)  # (n, embedding_size)
        return F.normalize(outputs, dim=-1) if self.config.normalize else outputs

    def _embeds(self, modality: str, outputs: Tensor) -> Tensor:
        if self.config.canonical_size is not None:
            outputs = self.get_submodule(f"{modality}_projection")(outputs)  # (n, canonical_size)
        return F.normalize(outputs.float(), dim=-1)

    def get_image_features(self, **image_inputs: Tensor) -> Tensor:
        """Unit vectors of images; inputs as for `image_features_of`."""
        return self._embeds("image", self.encode_image(**image_inputs))

    def get_text_features(self, **text_inputs: Tensor) -> Tensor:
        """Unit vectors of texts; inputs as for `text_features_of`."""
        return self._embeds("text", self.encode_text(**text_inputs))

    def score(self, image: Tensor, text: Tensor) -> Tensor:
        """Cosine of all encoded images with all encoded texts, (n_images, n_texts)."""
        return self._embeds("image", image) @ self._embeds("text", text).T

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Class logits of tower outputs, (n, n_classes).

        Raises:
            ValueError: If the model has no classifier.
        """
        if self.classifier is None:
            raise ValueError(f"a model of {self.config.method or 'this kind'} has no classifier.")
        logits = self.classifier(outputs)
        return logits.float() / (
            1 if self.config.classifier == "linear" else self.config.temperature
        )

    def forward(
        self,
        image_features: Tensor | None = None,
        text_features: Tensor | None = None,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        gather: bool = False,
    ) -> CommonSpaceOutput:
        """Embed a batch of images and texts, vectors or raw; see `image_features_of`.

        With `gather`, the output covers the whole batch of all processes.
        """
        inputs = {
            "image": self.image_features_of(pixel_values, image_features),
            "text": self.text_features_of(input_ids, attention_mask, text_features),
        }
        output: dict[str, Tensor] = {}
        for modality, features in inputs.items():
            outputs = self._tower_outputs(modality, features)
            if gather:
                features, outputs = gather_batch(features), gather_batch(outputs)
            output[f"{modality}_features"] = features
            output[f"{modality}_outputs"] = outputs
            output[f"{modality}_embeds"] = self._embeds(modality, outputs)
            if self.classifier is not None:
                output[f"{modality}_class_logits"] = self.class_logits(outputs)
            if self.config.reconstructs:
                decoder = self.get_submodule(f"{modality}_decoder")
                output[f"{modality}_reconstruction"] = decoder(outputs)
        logits = output["image_embeds"] @ output["text_embeds"].T  # (n_images, n_texts)
        return CommonSpaceOutput(logits_per_image=logits, logits_per_text=logits.T, **output)

    def load_backbone(self, pretrained: PreTrainedModel | str | Path) -> None:
        """Replace the initial weights of the backbone with pretrained ones.

        Args:
            pretrained: A model of the config's type, or its name or folder.
        """
        if isinstance(pretrained, str | Path):
            pretrained = load_part(AutoModel, pretrained, config=self.config.backbone_config)
        self.get_submodule("backbone").load_state_dict(pretrained.state_dict())

"""Configuration of a pair of encoders: a vision model and a text model."""

from collections.abc import Mapping
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...modules.backbones import output_size
from ...options import Rule
from ..sharing import SharedConfig


@strict
class EncoderPairConfig(SharedConfig):
    """Configuration of an `EncoderPairModel`.

    Args:
        vision_config: Configuration of a transformers vision model with a pooled output; ResNet if
            None.
        text_config: Configuration of a transformers text encoder; BERT base if None.
        projection_size: Size of the joint space; None for a model without projections, whose image
            and text vectors are the pooled outputs of the encoders.
        logit_scale_init: Initial natural logarithm of the inverse temperature.
        match_scale: Factor of a score in the calibrated probability of a match, see
            `noisy_xmodal.evaluation.calibrate`; None before calibration.
        match_bias: Bias of a score in that probability; None before calibration.
    """

    model_type = "noisy_xmodal_encoder_pair"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet"),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert"),
    }

    rules: ClassVar[Mapping[str, Rule]] = {
        "logit_scale_init": Rule(
            lambda config: config.projection_size is not None,
            "without `projection_size` the model has no joint space. Leave it out.",
        ),
    }

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    projection_size: int | None = None
    logit_scale_init: float | int = 2.6592
    match_scale: float | int | None = None
    match_bias: float | int | None = None

    def validate_sizes(self) -> None:
        """Reject sizes that are not valid for any model."""
        if self.projection_size is not None and self.projection_size < 1:
            raise ValueError(
                f"`projection_size` must be at least 1 or None, found {self.projection_size}."
            )

    @property
    def vector_sizes(self) -> tuple[int, int]:
        """Size of an image vector and of a text vector."""
        if self.projection_size is not None:
            return self.projection_size, self.projection_size
        return output_size(self.vision_config), output_size(self.text_config)

"""Configuration of a common-space model: one tower per modality and a classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...modules.tower_outputs import vector_sizes
from ...options import Rule
from ..sharing import SharedConfig


def _vectors(side: int) -> Rule:
    name = ("image_size", "text_size")[side]
    return Rule(
        lambda config: (
            config.backbone_config is None
            or getattr(config, name) == vector_sizes(config.backbone_config)[side]
        ),
        "the backbone sets the size of the vectors. Leave it out.",
    )


_OF_HIDDEN = Rule(
    lambda config: len(config.hidden_sizes) > 0,
    "the towers have no hidden layer (`hidden_sizes`). Leave it out.",
)


@strict
class CommonSpaceConfig(SharedConfig):
    """Configuration of a `CommonSpaceModel`. The defaults are the towers of MRL and DMCM.

    Args:
        image_size: Size of an image's feature vector, for a model without a backbone.
        text_size: Size of a text's feature vector, for a model without a backbone.
        backbone_config: Configuration of a two-tower model of transformers, such as CLIP, or of an
            `EncoderPairModel`, that reads pictures and texts; None for feature vectors.
        freeze_backbone: Whether the backbone's weights stay fixed.
        hidden_sizes: Sizes of the hidden layers of a tower.
        embedding_size: Size of the common space.
        activation: Activation function between the layers.
        batch_norm: Whether batch normalisation without weights follows each hidden layer.
        share_last_layer: Whether both towers share their last layer.
        normalize: Whether tower outputs are scaled to unit length.
        classifier: Source of the class logits: "prototypes" (learned, of unit length), "fixed"
            (orthonormal directions that are not trained), "linear" (a layer with a bias), "none".
        n_classes: Number of classes.
        temperature: Divisor of the prototypes' logits, tau_1 of DMCM.
        reconstructs: Whether each modality has a decoder, the mirror image of its tower without
            batch normalisation.
        canonical_size: Dimensions of the linear canonical projection after the towers; None for no
            projection.
        match_scale: Factor of a score in the calibrated probability of a match, see
            `noisy_xmodal.evaluation.calibrate`; None before calibration.
        match_bias: Bias of a score in that probability; None before calibration.
        method: Name of the method that trains the model.
        method_options: Constants of that method that differ from its defaults.
    """

    model_type = "noisy_xmodal_common_space"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "backbone_config": SubConfigSpec(AutoConfig, model_type="clip", optional=True),
    }

    rules: ClassVar[Mapping[str, Rule]] = {
        "image_size": _vectors(0),
        "text_size": _vectors(1),
        "freeze_backbone": Rule(
            lambda config: config.backbone_config is not None,
            "the model has no backbone (`backbone_config`). Leave it out.",
        ),
        "activation": _OF_HIDDEN,
        "batch_norm": _OF_HIDDEN,
        "temperature": Rule(
            lambda config: config.classifier in ("prototypes", "fixed"),
            "only the classifiers prototypes and fixed have a temperature. Leave it out.",
        ),
    }

    image_size: int = 1024
    text_size: int = 1024
    backbone_config: PreTrainedConfig | dict | None = None
    freeze_backbone: bool = True
    hidden_sizes: list[int] | tuple[int, ...] = (4096, 4096)
    embedding_size: int = 512
    activation: Literal["relu", "sigmoid", "tanh", "gelu"] = "relu"
    batch_norm: bool = False
    share_last_layer: bool = False
    normalize: bool = True
    classifier: Literal["prototypes", "fixed", "linear", "none"] = "prototypes"
    n_classes: int = 10
    temperature: float | int = 1.0
    reconstructs: bool = False
    canonical_size: int | None = None
    match_scale: float | int | None = None
    match_bias: float | int | None = None
    method: str | None = None
    method_options: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.hidden_sizes = list(self.hidden_sizes)
        if isinstance(self.backbone_config, PreTrainedConfig):
            self.image_size, self.text_size = vector_sizes(self.backbone_config)

    def validate_sizes(self) -> None:
        """Reject sizes that are not valid for any model."""
        for name in ("image_size", "text_size", "embedding_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}.")
        if any(size < 1 for size in self.hidden_sizes):
            raise ValueError(f"`hidden_sizes` must all be at least 1, found {self.hidden_sizes}.")
        if self.n_classes < 2 and self.classifier != "none":
            raise ValueError(f"`n_classes` must be at least 2, found {self.n_classes}.")
        if self.classifier == "fixed" and self.n_classes > self.embedding_size:
            raise ValueError(
                f"`n_classes` is {self.n_classes} and `embedding_size` {self.embedding_size}: a "
                "space has no more orthonormal directions than dimensions. Increase "
                "`embedding_size`."
            )
        if self.share_last_layer and not self.hidden_sizes:
            raise ValueError("`share_last_layer` needs a hidden layer: `hidden_sizes` is empty.")
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive, found {self.temperature}.")
        if self.canonical_size is not None and not 0 < self.canonical_size <= self.embedding_size:
            raise ValueError(
                f"`canonical_size` must be in 1 .. {self.embedding_size}, the size of the common "
                f"space, found {self.canonical_size}."
            )

"""Configuration of RCAR: a cross-encoder and the constants of its training."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...options import Rule
from ..matching.configuration_matching import MatchingConfig
from ..sharing import SharedConfig


@strict
class RcarConfig(SharedConfig):
    """What an `RcarModel` is made of and how RCAR trains it. The defaults are the paper's.

    Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 2023.
    The equation numbers are the paper's. It gives 8 layers of 8 heads and BERT; sizes of tokens and
    feed-forward networks are BERT base's.

    Args:
        vision_config: Configuration of a transformers vision model that reads pixels; None for
            region features.
        region_size: Size of a region's feature vector, without its box.
        box_geometry: What is known of a region's box. "none"; or each region ends with its corners
            (left, top, right, bottom as shares of the picture), of which the model reads "5d": them
            and the area, or "7d": width and height too.
        text_config: Configuration of a transformers text encoder; BERT base if None.
        hidden_size: Size of a token of the single-stream transformer.
        num_hidden_layers: Its layers.
        num_attention_heads: Its heads.
        intermediate_size: Size of the hidden layer of its feed-forward networks.
        hidden_dropout: Dropout on tokens and on what each part of a layer adds.
        attention_dropout: Dropout on the attention weights.
        image_dropout: Dropout on the region features, or on what the vision model gives.
        layer_norm_eps: Added to variances.
        initializer_range: Standard deviation of fresh weights.
        score_dtype: Number format of scoring. "auto": bfloat16 on a GPU that has it, else that of
            the weights.
        negatives_per_positive: Wrong pairs that are made for each given pair.
        negative_side: What is replaced in them: "image", "text", or "both" by the toss of a coin.
        masking: "mask" replaces every chosen word by [MASK] (the paper); "bert" leaves 10 % of
            them as they are and puts a random word in the place of another 10 %.
        mask_probability: Share of the words that is chosen (Eq. 3).
        mask_weight: Weight of Eq. 3 beside Eq. 2.
        refurbishment: "hard" labels by Eq. 11, or "soft" ones without its argmax.
        prediction: Where z of Eq. 11 comes from: "epoch", the pass in eval mode that gives the
            losses, or "batch", the training step's own output.
        mixture: Mixture over the losses, "beta" (Eq. 4-9) or "gaussian".
        loss_range: Percentiles of the losses that normalisation maps to 0 and 1; losses beyond
            them are clipped.
        method: Name of another method that trains the model.
        method_options: Constants of that method, where they are not its defaults.
    """

    model_type = "noisy_xmodal_rcar"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet", optional=True),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert"),
    }

    #: The fields that are constants of RCAR, not sizes of the network.
    constants: ClassVar[tuple[str, ...]] = (
        *("negatives_per_positive", "negative_side", "masking", "mask_probability", "mask_weight"),
        *("refurbishment", "prediction", "mixture", "loss_range"),
    )
    rules: ClassVar[Mapping[str, Rule]] = {"region_size": MatchingConfig.rules["region_size"]}

    vision_config: PreTrainedConfig | dict | None = None
    region_size: int = 2048
    box_geometry: Literal["none", "5d", "7d"] = "none"
    text_config: PreTrainedConfig | dict | None = None
    hidden_size: int = 768
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    intermediate_size: int = 3072
    hidden_dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    image_dropout: float | int = 0.0
    layer_norm_eps: float | int = 1e-12
    initializer_range: float | int = 0.02
    score_dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    negatives_per_positive: int = 1
    negative_side: Literal["both", "image", "text"] = "both"
    masking: Literal["mask", "bert"] = "mask"
    mask_probability: float | int = 0.15
    mask_weight: float | int = 1.0
    refurbishment: Literal["hard", "soft"] = "hard"
    prediction: Literal["epoch", "batch"] = "epoch"
    mixture: Literal["beta", "gaussian"] = "beta"
    loss_range: list[float | int] | tuple[float | int, ...] = (5, 95)
    method: str | None = None
    method_options: dict[str, Any] | None = None

    def validate_sizes(self) -> None:
        """Refuse sizes that no model can have."""
        for name in (
            *("region_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
            *("intermediate_size", "negatives_per_positive"),
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of `num_attention_heads`, found "
                f"{self.hidden_size} and {self.num_attention_heads}."
            )
        for name in ("hidden_dropout", "attention_dropout", "image_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), found {getattr(self, name)}.")
        for name in ("layer_norm_eps", "initializer_range"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, found {getattr(self, name)}.")
        if self.vision_config is not None and self.box_geometry != "none":
            raise ValueError(
                f"`box_geometry` is {self.box_geometry!r} and the model reads pixels, which have "
                "no boxes: leave it at 'none', or give region features."
            )

    def validate_method(self) -> None:
        """Refuse constants for which the equations have no meaning."""
        if not 0 < self.mask_probability < 1:
            raise ValueError(
                f"`mask_probability` must be in (0, 1), found {self.mask_probability}."
            )
        if self.mask_weight <= 0:
            raise ValueError(
                f"`mask_weight` must be positive, found {self.mask_weight}: for no masked words "
                "set `mlm_epochs` of the training arguments to 0."
            )
        low_high = tuple(self.loss_range)
        if len(low_high) != 2 or not 0 <= low_high[0] < low_high[1] <= 100:
            raise ValueError(
                f"`loss_range` must be two percentiles in order, such as (5, 95), found {low_high}."
            )

    @property
    def box_size(self) -> int:
        """How many numbers of a box each region ends with."""
        return 0 if self.box_geometry == "none" else 4

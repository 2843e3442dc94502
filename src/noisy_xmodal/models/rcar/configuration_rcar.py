"""Configuration of RCAR: a cross-encoder and the constants of its training."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...modules.bert_layers import has_bert_layers
from ...options import Rule
from ..matching.configuration_matching import MatchingConfig
from ..sharing import SharedConfig


@strict
class RcarConfig(SharedConfig):
    """Configuration of an `RcarModel` and of its training by RCAR. The defaults are the paper's.

    Source: Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment", FITEE 2023.
    The equation numbers are the paper's. The paper specifies 8 layers of 8 heads and BERT. The
    sizes of tokens and feed-forward networks are those of BERT base.

    Args:
        vision_config: Configuration of a transformers vision model that reads pixels; None for
            region features.
        vision_training: What is trained of the vision model: "full" or "frozen". The output of a
            frozen one is pooled to at most 4 x 4 cells.
        region_size: Size of a region's feature vector, without its box.
        box_geometry: What the model reads of a region's box: "none"; "5d", the corners and area;
            "7d", width and height too. With "5d" and "7d" each region ends with its corners (left,
            top, right, bottom as shares of the picture).
        text_config: Configuration of a transformers text encoder; BERT base if None.
        text_training: What is trained of the text encoder: "full", all weights, or "frozen", none.
        stream_start: "fresh" layers of the transformer, or "text": they are the last
            `num_hidden_layers` layers of `text_config`, a BERT or RoBERTa with the same sizes, and
            the text encoder keeps the others (VisualBERT, Li et al., 2019).
        hidden_size: Size of a token of the single-stream transformer.
        num_hidden_layers: Number of layers of the transformer.
        num_attention_heads: Number of attention heads per layer.
        intermediate_size: Size of the hidden layer of the feed-forward networks.
        hidden_dropout: Dropout on tokens and on the output of each part of a layer.
        attention_dropout: Dropout on the attention weights.
        image_dropout: Dropout on the region features or on the outputs of the vision model.
        layer_norm_eps: Constant added to variances.
        initializer_range: Standard deviation of initial weights.
        score_dtype: Number format of scoring. "auto": bfloat16 on a GPU that supports it,
            otherwise the format of the weights.
        negatives_per_positive: Number of wrong pairs generated per pair of the dataset.
        negative_side: The side replaced in a wrong pair: "image", "text", or "both" for either side
            with equal probability.
        masking: "mask" replaces every selected word with [MASK] (the paper); "bert" leaves 10 % of
            them unchanged and replaces another 10 % with a random word.
        mask_probability: Share of the words that are selected (Eq. 3).
        mask_weight: Weight of Eq. 3 relative to Eq. 2.
        refurbishment: "hard" labels by Eq. 11, or "soft" labels without the argmax of Eq. 11.
        prediction: Source of z in Eq. 11: "epoch", the pass in eval mode that computes the losses,
            or "batch", the output of the training step.
        mixture: Mixture model of the losses, "beta" (Eq. 4-9) or "gaussian".
        loss_range: Percentiles of the losses that normalisation maps to 0 and 1; losses
            outside are clipped.
        method: Name of the method that trains the model, if not RCAR.
        method_options: Constants of that method that differ from its defaults.
    """

    model_type = "noisy_xmodal_rcar"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet", optional=True),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert"),
    }

    #: Fields that are constants of RCAR, not sizes of the network.
    constants: ClassVar[tuple[str, ...]] = (
        *("negatives_per_positive", "negative_side", "masking", "mask_probability", "mask_weight"),
        *("refurbishment", "prediction", "mixture", "loss_range"),
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        name: MatchingConfig.rules[name] for name in ("region_size", "vision_training")
    }

    vision_config: PreTrainedConfig | dict | None = None
    vision_training: Literal["full", "frozen"] = "full"
    region_size: int = 2048
    box_geometry: Literal["none", "5d", "7d"] = "none"
    text_config: PreTrainedConfig | dict | None = None
    text_training: Literal["full", "frozen"] = "full"
    stream_start: Literal["fresh", "text"] = "fresh"
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
        """Reject sizes that are not valid for any model."""
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
                "no boxes: set it to 'none', or use region features."
            )

    def validate_stream_start(self) -> None:
        """Reject a text encoder whose layers cannot be those of the transformer."""
        if self.stream_start == "fresh":
            return
        text: Any = self.text_config
        activation = getattr(text, "hidden_act", None)
        if not has_bert_layers(text):
            raise ValueError(
                f"`stream_start` is 'text' and the text encoder a {text.model_type} with the "
                f"activation {activation!r}: its layers must be BERT's with 'gelu'. Set "
                "`stream_start` to 'fresh', or use another text encoder."
            )
        for name in ("hidden_size", "num_attention_heads", "intermediate_size"):
            own, theirs = getattr(self, name), getattr(text, name)
            if own != theirs:
                raise ValueError(
                    f"`{name}` is {own} and that of the text encoder {theirs}: with `stream_start` "
                    "'text' they must be equal."
                )
        if self.num_hidden_layers > text.num_hidden_layers:
            raise ValueError(
                f"`num_hidden_layers` is {self.num_hidden_layers} and the text encoder has "
                f"{text.num_hidden_layers}: with `stream_start` 'text' give at most these."
            )

    def validate_method(self) -> None:
        """Reject constants outside the range of the equations."""
        if not 0 < self.mask_probability < 1:
            raise ValueError(
                f"`mask_probability` must be in (0, 1), found {self.mask_probability}."
            )
        if self.mask_weight <= 0:
            raise ValueError(
                f"`mask_weight` must be positive, found {self.mask_weight}: to train "
                "without masked words, set `mlm_epochs` of the training arguments to 0."
            )
        low_high = tuple(self.loss_range)
        if len(low_high) != 2 or not 0 <= low_high[0] < low_high[1] <= 100:
            raise ValueError(
                f"`loss_range` must be two percentiles in order, such as (5, 95), found {low_high}."
            )

    @property
    def box_size(self) -> int:
        """Number of box values at the end of each region."""
        return 0 if self.box_geometry == "none" else 4

"""Configuration of a matching model: two encoders and a similarity head."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...modules.similarity import check_options
from ...options import Rule
from ..sharing import SharedConfig

_OF_WORDS = Rule(
    lambda config: config.text_config is None,
    "the text encoder is a transformers model, which has words of its own. Leave it out.",
)


@strict
class MatchingConfig(SharedConfig):
    """What a `MatchingModel` is made of. The defaults are SGR's as NCR trains it.

    Args:
        vision_config: Configuration of a transformers vision model that reads pixels; None for
            region features.
        region_size: Size of a region's feature vector, when `vision_config` is None.
        text_config: Configuration of a transformers text encoder; None for a word-level one.
        word_encoder: Word-level text encoder, "bigru" or "words", when `text_config` is None.
        vocab_size: Number of words, when `text_config` is None.
        word_size: Size of a word's embedding, when `text_config` is None.
        hidden_size: Size of the joint space.
        dropout: Dropout on the word embeddings.
        image_dropout: Dropout on the region features, or on what the vision model gives.
        normalize_tokens: Whether regions and words have unit length in the joint space.
        similarity: Name of the similarity head, see `SIMILARITY_HEADS`.
        similarity_options: Further arguments of the head, such as `{"lambda_softmax": 9.0}`.
        logit_scale_init: Initial natural logarithm of the inverse temperature of the logits.
        match_scale: With `match_bias`, what turns a score into the probability of a match, see
            `noisy_xmodal.evaluation.calibrate`; None before that.
        match_bias: The other of the two.
        method: Name of the method that trains the model.
        method_options: Constants of that method, where they are not its defaults.
        pad_token_id: Padding of the word-level tokenizer, as for the next two.
        bos_token_id: First token of a text.
        eos_token_id: Last token of a text.
    """

    model_type = "noisy_xmodal_matching"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet", optional=True),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert", optional=True),
    }

    rules: ClassVar[Mapping[str, Rule]] = {
        "region_size": Rule(
            lambda config: config.vision_config is None,
            "the model reads pixels, which have no regions. Leave it out.",
        ),
        **dict.fromkeys(("word_encoder", "vocab_size", "word_size", "dropout"), _OF_WORDS),
    }

    vision_config: PreTrainedConfig | dict | None = None
    region_size: int = 2048
    text_config: PreTrainedConfig | dict | None = None
    word_encoder: Literal["bigru", "words"] = "bigru"
    vocab_size: int = 10000
    word_size: int = 300
    hidden_size: int = 1024
    dropout: float | int = 0.4
    image_dropout: float | int = 0.0
    normalize_tokens: bool = True
    similarity: str = "sgr"
    similarity_options: dict[str, Any] | None = None
    logit_scale_init: float | int = 2.6592
    match_scale: float | int | None = None
    match_bias: float | int | None = None
    method: str | None = None
    method_options: dict[str, Any] | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2

    def check_fields(self, further: Mapping[str, Any]) -> None:
        """Refuse fields of a new config, and options of its head, that nothing reads."""
        super().check_fields(further)
        check_options(self.similarity, self.similarity_options or {})

    def validate_sizes(self) -> None:
        """Refuse sizes that no model can have."""
        for name in ("region_size", "vocab_size", "word_size", "hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}.")
        for name in ("dropout", "image_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), found {getattr(self, name)}.")

"""Configuration of a matching model: two encoders and a similarity head."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...modules.bert_layers import has_bert_layers
from ...modules.similarity import check_options
from ...modules.tower_outputs import vector_sizes
from ...options import Rule
from ..sharing import SharedConfig


def _has_backbone(config: Any) -> bool:
    return getattr(config, "backbone_config", None) is not None  # RCAR has some of these rules


_OF_WORDS = Rule(
    lambda config: (
        not _has_backbone(config) and (config.text_config is None or config.words_beside)
    ),
    "the text encoder is a transformers model alone. Set words_beside, or leave it out.",
)
_OF_TEXT_MODEL = Rule(
    lambda config: config.text_config is not None,
    "the text encoder is a word-level one, not a transformers model. Leave it out.",
)
_OF_PARTS = Rule(
    lambda config: config.backbone_config is None,
    "the backbone has encoders, a joint space and a temperature of its own. Leave it out.",
)


@strict
class MatchingConfig(SharedConfig):
    """Configuration of a `MatchingModel`. The defaults are those of SGR as NCR trains it.

    Args:
        backbone_config: Configuration of a two-tower model, such as CLIP, that takes the place of
            both encoders, the head and the temperature; None for a model of parts. It sets
            `similarity` to "cosine" and `hidden_size` to the size of its vectors.
        vision_config: Configuration of a transformers vision model that reads pixels; None for
            region features.
        vision_training: What is trained of the vision model: "full", "lora" or "frozen", as in
            `text_training`. The output of a frozen one is pooled to at most 4 x 4 cells. Of a
            backbone it is the vision tower; the projection after it is trained.
        region_size: Size of a region's feature vector, without its box, if `vision_config` is None.
        region_layers: Transformer layers over the region features, as in TERAN, see
            `RegionTransformer`; 0 for none.
        box_geometry: What these layers read of a region's box: "none"; "5d", the corners and area;
            "7d", the width and height too.
        text_config: Configuration of a transformers text encoder; None for a word-level one.
        text_training: What is trained of the transformers text encoder: "full", all weights;
            "lora", low-rank adapters in its layers; "frozen", none; the peers then share it. A
            saved model that was trained by adapters has plain weights and is "full" again.
        text_layers: Number of last layers of a frozen text encoder, a BERT or RoBERTa, that are
            trained nevertheless, each peer its own; 0 for none.
        lora_rank: Rank of the adapters.
        words_beside: Whether a word-level encoder reads the tokens of the transformers text
            encoder, too. A token is then its vector by that encoder plus a projection of the
            sentence vector.
        word_encoder: Word-level text encoder, "bigru", "gru" or "words", alone or beside.
        vocab_size: Number of its words or tokens.
        word_size: Size of a word's embedding.
        hidden_size: Size of the joint space.
        dropout: Dropout on the word embeddings.
        image_dropout: Dropout on the region features or on the outputs of the vision model.
        normalize_tokens: Whether regions and words are scaled to unit length in the joint space.
        similarity: Name of the similarity head; see `SIMILARITY_HEADS`.
        captioner_size: Size of the states of a captioner, which reads the image's tokens and whose
            loss a method may add to its own; 0 for none.
        similarity_options: Further arguments of the head, such as `{"lambda_softmax": 9.0}`.
        logit_scale_init: Initial natural logarithm of the inverse temperature of the logits.
        match_scale: Factor of a score in the calibrated probability of a match, see
            `noisy_xmodal.evaluation.calibrate`; None before calibration.
        match_bias: Bias of a score in that probability; None before calibration.
        method: Name of the method that trains the model.
        method_options: Constants of that method that differ from its defaults.
        pad_token_id: Padding token of the word-level tokenizer.
        bos_token_id: Its first token of a text.
        eos_token_id: Its last token of a text.
    """

    model_type = "noisy_xmodal_matching"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "backbone_config": SubConfigSpec(AutoConfig, model_type="clip", optional=True),
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet", optional=True),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert", optional=True),
    }

    rules: ClassVar[Mapping[str, Rule]] = {
        **dict.fromkeys(
            ("region_size", "region_layers"),
            Rule(
                lambda config: config.vision_config is None and not _has_backbone(config),
                "the model reads pixels, which have no regions. Leave it out.",
            ),
        ),
        "box_geometry": Rule(
            lambda config: config.region_layers > 0,
            "no layer reads boxes. Set region_layers, or leave it out.",
        ),
        **dict.fromkeys(("word_encoder", "vocab_size", "word_size", "dropout"), _OF_WORDS),
        "word_size": replace(
            _OF_WORDS,
            is_read=lambda config: _OF_WORDS.is_read(config) or config.captioner_size > 0,
        ),
        "vision_training": Rule(
            lambda config: config.vision_config is not None or _has_backbone(config),
            "the model has no vision model (`vision_config`). Leave it out.",
        ),
        "text_training": replace(
            _OF_TEXT_MODEL,
            is_read=lambda config: config.text_config is not None or _has_backbone(config),
        ),
        "words_beside": _OF_TEXT_MODEL,
        "text_layers": Rule(
            lambda config: config.text_config is not None and config.text_training == "frozen",
            "no pretrained text encoder is frozen (`text_training`). Leave it out.",
        ),
        "lora_rank": Rule(
            lambda config: "lora" in (config.vision_training, config.text_training),
            'no encoder is trained by adapters ("lora"). Leave it out.',
        ),
        **dict.fromkeys(
            (
                *("vision_config", "text_config", "image_dropout", "normalize_tokens"),
                *("similarity_options", "captioner_size", "logit_scale_init"),
            ),
            _OF_PARTS,
        ),
        "similarity": replace(_OF_PARTS, same=("cosine",)),
        "hidden_size": replace(
            _OF_PARTS,
            is_read=lambda config: (
                config.backbone_config is None
                or config.hidden_size == vector_sizes(config.backbone_config)[0]
            ),
        ),
    }

    backbone_config: PreTrainedConfig | dict | None = None
    vision_config: PreTrainedConfig | dict | None = None
    vision_training: Literal["full", "lora", "frozen"] = "full"
    region_size: int = 2048
    region_layers: int = 0
    box_geometry: Literal["none", "5d", "7d"] = "none"
    text_config: PreTrainedConfig | dict | None = None
    text_training: Literal["full", "lora", "frozen"] = "full"
    text_layers: int = 0
    words_beside: bool = False
    lora_rank: int = 8
    word_encoder: Literal["bigru", "gru", "words"] = "bigru"
    vocab_size: int = 10000
    word_size: int = 300
    hidden_size: int = 1024
    dropout: float | int = 0.4
    image_dropout: float | int = 0.0
    normalize_tokens: bool = True
    similarity: str = "sgr"
    similarity_options: dict[str, Any] | None = None
    captioner_size: int = 0
    logit_scale_init: float | int = 2.6592
    match_scale: float | int | None = None
    match_bias: float | int | None = None
    method: str | None = None
    method_options: dict[str, Any] | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if isinstance(self.backbone_config, PreTrainedConfig):
            self.similarity = "cosine"
            self.hidden_size = vector_sizes(self.backbone_config)[0]

    @property
    def box_size(self) -> int:
        """Number of box values at the end of each region."""
        return 0 if self.box_geometry == "none" else 4

    def check_fields(self, further: Mapping[str, Any]) -> None:
        """Reject unused fields of a new config and unused options of its head."""
        super().check_fields(further)
        check_options(self.similarity, self.similarity_options or {})

    def validate_text_layers(self) -> None:
        """Reject a text encoder whose last layers cannot be trained apart."""
        text: Any = self.text_config
        if not self.text_layers or text is None:
            return
        if not has_bert_layers(text):
            raise ValueError(
                f"`text_layers` is {self.text_layers} and the text encoder a {text.model_type}: "
                "its layers must be BERT's with 'gelu'. Leave it out, or use another text encoder."
            )
        if self.text_layers > text.num_hidden_layers:
            raise ValueError(
                f"`text_layers` is {self.text_layers} and the text encoder has "
                f"{text.num_hidden_layers} layers: give at most these."
            )

    def validate_sizes(self) -> None:
        """Reject sizes that are not valid for any model."""
        for name in ("region_size", "lora_rank", "vocab_size", "word_size", "hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}.")
        for name in ("region_layers", "captioner_size", "text_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, found {getattr(self, name)}.")
        for name in ("dropout", "image_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), found {getattr(self, name)}.")

"""Processors and models of the training scripts for pairs, by their options and their data."""

from typing import Any

from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    BertConfig,
    ResNetConfig,
    ViTImageProcessorPil,
)

from ..data import DatasetError
from ..data.boxes import BOX_SIZE
from ..data.columns import REGIONS
from ..entry.errors import load_part
from ..entry.options import json_option
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.processing_matching import RegionFeatureProcessor
from ..models.rcar.configuration_rcar import RcarConfig
from ..models.rcar.processing_rcar import RcarProcessor
from ..modules import train_word_tokenizer
from ..modules.backbones import output_size
from ..modules.pretrained import encoder_path, load_text_config, load_tokenizer
from ..modules.text_limits import set_max_length
from ..training.script import Choice
from .backbone_options import backbone_fields, open_backbone, try_backbone
from .building import PARTS, build_pair_model, network_config
from .constants import field_names, matching_constants, options_in, stream_constants
from .pair_options import STREAM_SIZES


def _encoder_paths(args: Any) -> tuple[str | None, str | None]:
    """Folders or Hub names of the pretrained encoders that options name, see `encoder_path`."""
    names = args.vision_model_name_or_path, args.text_model_name_or_path
    vision, text = (name and encoder_path(name) for name in names)
    return vision, text


def check_encoders(args: Any) -> None:
    """Refuse encoders that do not work, before the data are read.

    Args:
        args: `MatchingArguments` or `SingleStreamArguments`.

    Raises:
        ModelFilesError: If one is another kind of model, or has no tokenizer or image processor.
        ValueError: If its package is not installed, its outputs have no size, or it has no last
            layers to train.
    """
    vision, text = _encoder_paths(args)
    if vision is not None:
        output_size(load_part(AutoConfig, vision))
        load_part(AutoImageProcessor, vision, backend="pil")
    if text is not None:
        config = load_text_config(text)
        load_tokenizer(text)
        if n_layers := getattr(args, "text_layers", 0):
            MatchingConfig(text_config=config, text_training="frozen", text_layers=n_layers)


def build_pair_processor(train: Dataset, choice: Choice, data: Any, model: Any) -> Any:
    """A processor for pictures or region features and captions, as the data has them.

    Args:
        train: The training split; its captions are the words of a word-level tokenizer.
        choice: The method.
        data: `PairArguments`.
        model: `MatchingArguments` or `SingleStreamArguments`.
    """
    vision, text = _encoder_paths(model)
    kind = PARTS[network_config(choice.method)][1]
    backbone = open_backbone(model)
    if REGIONS in train.column_names:
        for option in ("vision_model_name_or_path", "backbone_name_or_path"):
            if name := getattr(model, option, None):
                raise DatasetError(
                    f"--{option} {name} reads pictures, and the dataset has region features: leave "
                    "the option out, or give pictures."
                )
        row = train.with_format("numpy")[0][REGIONS]
        images = RegionFeatureProcessor(region_size=row.shape[-1])
    elif vision:
        images = load_part(AutoImageProcessor, vision, backend="pil")
    else:
        images = ViTImageProcessorPil(size={"height": 64, "width": 64})
    if backbone is not None:
        own = backbone.processor
        set_max_length(own.tokenizer, data.max_seq_length)
        return kind(own.image_processor, own.tokenizer, own.padding)
    if text:
        tokenizer = load_tokenizer(text)
        tokenizer.padding_side = "right"  # as word-level encoders read texts
        set_max_length(tokenizer, data.max_seq_length)
    else:
        captions = (caption for row in train["captions"] for caption in row)
        masks = {"mask": True} if kind is RcarProcessor else {}
        tokenizer = train_word_tokenizer(
            captions, data.min_word_frequency, max_length=data.max_seq_length, **masks
        )
    return kind(images, tokenizer)


def _vision_config(processor: Any, name: str | None, hidden_sizes: list[int]) -> Any:
    """The config of a pretrained vision model, of a small one from scratch, or None for regions."""
    if name:
        return load_part(AutoConfig, name)
    if isinstance(processor.image_processor, RegionFeatureProcessor):
        return None
    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=hidden_sizes,
        depths=[1] * len(hidden_sizes),
        layer_type="basic",
    )


def build_matching_model(processor: Any, choice: Choice, args: Any) -> Any:
    """A fresh matching model, or two, with pretrained encoders where options name them.

    Args:
        processor: Its processor.
        choice: The method.
        args: `MatchingArguments`.
    """
    names = _encoder_paths(args)
    constants = matching_constants(choice, args)
    backbone = open_backbone(args)
    fields = (
        _encoder_fields(processor, args, names)
        if backbone is None
        else backbone_fields(backbone, args)
    )
    model = build_pair_model(choice.name, **fields, **constants)
    for network in getattr(model, "peers", (model,)):
        network.load_backbones(*names)
        if backbone is not None:
            backbone.load_weights(network)
    if backbone is not None:
        processor.limit_text(model.text_length_limit)
        try_backbone(model, processor, backbone.name)
    return model


def _encoder_fields(processor: Any, args: Any, names: tuple[str | None, ...]) -> dict[str, Any]:
    """The fields of a `MatchingConfig` that options set, for a model of parts."""
    vision = None
    if not isinstance(processor.image_processor, RegionFeatureProcessor):
        vision = _vision_config(processor, names[0], [32, 64, 128])
    text = load_text_config(names[1]) if names[1] else None
    boxes = 0 if args.box_geometry == "none" else BOX_SIZE
    sizes = {} if vision else {"region_size": processor.image_processor.region_size - boxes}
    has_words = text is None or args.words_beside
    sizes |= {"vocab_size": len(processor.tokenizer)} if has_words else {}
    fields = options_in(args, field_names(MatchingConfig) - {"method", "method_options"})
    fields["similarity_options"] = json_option("similarity_options", args.similarity_options)
    return fields | sizes | {"vision_config": vision, "text_config": text}


def build_single_stream_model(processor: Any, choice: Choice, args: Any) -> Any:
    """A fresh single-stream model, with pretrained encoders where options name them.

    Args:
        processor: Its processor.
        choice: The method.
        args: `SingleStreamArguments`.
    """
    names = _encoder_paths(args)
    vision = _vision_config(processor, names[0], [32, 64, 128, 128])
    words = processor.tokenizer
    text = (
        load_text_config(names[1])
        if names[1]
        else BertConfig(
            vocab_size=len(words),
            hidden_size=args.hidden_size,
            num_hidden_layers=args.text_hidden_layers,
            num_attention_heads=args.num_attention_heads,
            intermediate_size=2 * args.hidden_size,
            max_position_embeddings=words.model_max_length,
            initializer_range=args.initializer_range,
            pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        )
    )
    boxes = 0 if args.box_geometry == "none" else BOX_SIZE
    sizes = {} if vision else {"region_size": processor.image_processor.region_size - boxes}
    shape = field_names(RcarConfig) - {*RcarConfig.constants, "method", "method_options"}
    fields = options_in(args, shape) | sizes | stream_constants(choice, args)
    fields["intermediate_size"] = args.intermediate_size or 4 * args.hidden_size
    if args.stream_start == "text":
        sizes_of_text = (*STREAM_SIZES, "layer_norm_eps")
        fields |= {name: getattr(text, name) for name in sizes_of_text if hasattr(text, name)}
    model = build_pair_model(choice.name, **fields, vision_config=vision, text_config=text)
    model.load_backbones(*names)
    return model

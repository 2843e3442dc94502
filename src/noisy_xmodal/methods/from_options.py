"""Processors and models of the training scripts for pairs, by their options and their data."""

import dataclasses
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    BertConfig,
    ResNetConfig,
    ViTImageProcessorPil,
)
from transformers.utils import logging

from ..data import DatasetError, append_boxes
from ..data.boxes import BOX_SIZE
from ..data.columns import REGIONS
from ..entry.errors import load_part
from ..entry.options import json_option
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.processing_matching import RegionFeatureProcessor
from ..models.ncr.configuration_ncr import NcrConfig
from ..models.rcar.configuration_rcar import RcarConfig
from ..models.rcar.processing_rcar import RcarProcessor
from ..modules import train_word_tokenizer
from ..modules.adapters import check_peft
from ..modules.backbones import output_size
from ..modules.pretrained import encoder_path, load_text_config, load_tokenizer
from ..modules.text_limits import set_max_length
from ..options import Rule, settle_unread, unread
from ..training.script import Choice
from .backbone_options import backbone_fields, open_backbone, settle_backbone, try_backbone
from .building import PARTS, build_pair_model, network_config

logger = logging.get_logger(__name__)


def constant_fields(choice: Choice, values: Mapping[str, Any], args: Any) -> dict[str, Any]:
    """Fields of a config for the constants of a method that the options of a script set.

    Args:
        choice: The method, and which options were typed.
        values: Values of the options that are constants of some method, by name.
        args: The options of the script, with `method_options`.

    Raises:
        ValueError: If the method has no such constant, or `method_options` is not a JSON object.
    """
    options = json_option("method_options", args.method_options)
    typed = {name: values[name] for name in sorted(choice.typed & set(values))}
    if choice.method.constants_in_config:
        return {**values, **options, **typed}
    for name in typed:
        if name not in choice.method.options:
            raise ValueError(f"--{name} is no option of --method {choice.name}: leave it out.")
    options |= typed
    return {"method_options": options} if options else {}


def check_constants(choice: Choice, fields: Mapping[str, Any]) -> None:
    """Refuse values of constants that a method does not take, before the data are read.

    Args:
        choice: The method.
        fields: From `constant_fields`.

    Raises:
        ValueError: See `Method.read_constants`.
    """
    if choice.method.constants_in_config:
        assert choice.method.config_class is not None
        choice.method.config_class(**fields)
    else:
        choice.method().read_constants(SimpleNamespace(**fields))


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
        ValueError: If its package is not installed, or its outputs have no size.
    """
    vision, text = _encoder_paths(args)
    if vision is not None:
        output_size(load_part(AutoConfig, vision))
        load_part(AutoImageProcessor, vision, backend="pil")
    if text is not None:
        load_text_config(text)
        load_tokenizer(text)


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


_OF_WORDS = Rule(
    lambda options: (
        options.text_model_name_or_path is None
        and getattr(options, "backbone_name_or_path", None) is None
    ),
    "the text encoder is a pretrained one, which has words of its own. Leave it out.",
)
_OF_TARGETS = Rule(
    lambda options: options.robust,
    "without --robust no pair is divided and no target rectified. Leave it out.",
)


def settle_matching_options(data: Any, model: Any, training: Any, choice: Choice) -> None:
    """Refuse options of `train_ncr.py` that nothing reads; those of a recipe get their defaults.

    Args:
        data: `PairArguments`.
        model: `MatchingArguments`.
        training: `RobustTrainingArguments`.
        choice: The method, and which options were typed.

    Raises:
        ValueError: If a person typed one.
    """
    beside = {
        "backbone_config": settle_backbone(model, training, choice),
        "vision_config": model.vision_model_name_or_path,
        "text_config": model.text_model_name_or_path,
        "robust": training.robust,
    }
    settle_unread(data, vars(model), type(data), {"min_word_frequency": _OF_WORDS}, choice.typed)
    config_class: Any = network_config(choice.method)
    if config_class is NcrConfig:
        targets = ("co_rectify", "co_divide", "rectification", "soft_margin", "curve")
        settle_unread(model, beside, NcrConfig, dict.fromkeys(targets, _OF_TARGETS), choice.typed)
    captioner = Rule(
        lambda _: "captioner_size" in choice.method.shape,
        f"--method {choice.name} trains no captioner. Leave it out.",
    )
    own = {"captioner_size": captioner, "box_column": _OF_BOXES}
    settle_unread(model, beside, type(model), own, choice.typed)
    settle_unread(model, beside, NcrConfig, config_class.rules, choice.typed)
    check_constants(choice, _constants(choice, model))
    if model.similarity_options is not None:  # a backbone has none
        json_option("similarity_options", model.similarity_options)
    if "lora" in (model.vision_training, model.text_training):
        check_peft()
    if beside["backbone_config"] is not None:
        idle = unread(vars(model) | beside, {}, MatchingConfig.rules)
        for name in idle.keys() & vars(model).keys():
            setattr(model, name, None)  # the record of a run lists what was read


def fit_region_norm(train: Dataset, model: Any, choice: Choice) -> None:
    """Leave out a recipe's batch norm over region positions where the data have other regions.

    Args:
        train: The training split.
        model: `MatchingArguments`; `similarity_options` may change.
        choice: The method, and which options were typed.
    """
    if model.similarity_options is None or "similarity_options" in choice.typed:
        return
    options = json_option("similarity_options", model.similarity_options)
    expected = options.pop("num_regions", None)
    found = len(train.with_format("numpy")[0][REGIONS]) if REGIONS in train.column_names else "no"
    if expected not in (None, found):
        model.similarity_options = json.dumps(options)
        logger.warning(
            f"--recipe {choice.recipe} has a batch norm over {expected} regions, and the first "
            f"image has {found} regions: a layer norm takes its place."
        )


_MASKS = Rule(
    lambda options: options.mlm_epochs > 0, "no words are masked (--mlm_epochs). Leave it out."
)
_REFURBISHES = Rule(
    lambda options: options.robust, "without --robust no label is refurbished. Leave it out."
)
_OF_A_FRESH_STREAM = Rule(
    lambda options: options.stream_start == "fresh",
    "the layers have the sizes of the text encoder, from which they start. Leave it out.",
)
_OF_A_TEXT_MODEL = Rule(
    lambda options: options.text_model_name_or_path is not None,
    "there is no pretrained text encoder. Give --text_model_name_or_path too, or leave it out.",
)
_OF_BOXES = Rule(
    lambda options: options.box_geometry != "none",
    "no boxes are read. Give --box_geometry too, or leave it out.",
)
_STREAM_SIZES = ("hidden_size", "num_attention_heads", "intermediate_size")
_OF_SHORTLISTS = Rule(
    lambda options: options.shortlist_model_name_or_path is not None,
    "there are no shortlists. Give --shortlist_model_name_or_path too, or leave it out.",
)
_STREAM_RULES = {
    "negatives": _OF_SHORTLISTS,
    "text_hidden_layers": _OF_WORDS,
    **dict.fromkeys(("text_training", "stream_start"), _OF_A_TEXT_MODEL),
    **dict.fromkeys(_STREAM_SIZES, _OF_A_FRESH_STREAM),
    "vision_training": Rule(
        lambda options: options.vision_model_name_or_path is not None,
        "there is no pretrained vision model. Give --vision_model_name_or_path too, or leave it "
        "out.",
    ),
    **dict.fromkeys(("masking", "mask_probability", "mask_weight"), _MASKS),
    **dict.fromkeys(("refurbishment", "prediction", "mixture"), _REFURBISHES),
    "box_column": _OF_BOXES,
}
_TRAINING_RULES = {
    "encoder_learning_rate": Rule(
        lambda options: (
            (options.vision_model_name_or_path is not None and options.vision_training == "full")
            or options.stream_start == "text"
            or (options.text_model_name_or_path is not None and options.text_training == "full")
        ),
        "no pretrained encoder is trained. Leave it out.",
    )
}
_SCORING_RULES = dict.fromkeys(("shortlist_size", "shortlist_weight"), _OF_SHORTLISTS)


def settle_stream_options(
    data: Any, model: Any, scoring: Any, training: Any, choice: Choice
) -> None:
    """The same for `train_rcar.py`, see `settle_matching_options`.

    Args:
        data: `PairArguments`.
        model: `SingleStreamArguments`.
        scoring: `ScoringArguments`.
        training: `RcarTrainingArguments`.
        choice: The method, and which options were typed.

    Raises:
        ValueError: If a person typed one.
    """
    beside = vars(training) | vars(scoring) | vars(model)
    for options, rules in (
        (data, {"min_word_frequency": _OF_WORDS}),
        (model, _STREAM_RULES),
        (scoring, _SCORING_RULES),
        (training, _TRAINING_RULES),
    ):
        settle_unread(options, beside, type(options), rules, choice.typed)


def append_read_boxes(dataset: Any, model: Any, choice: Choice) -> None:
    """Append the boxes that a matching model reads to the region features of every split.

    A recipe with layers over regions, or with boxes, does without them where the data has none.

    Args:
        dataset: The splits by name; changed in place.
        model: `MatchingArguments`; changed in place.
        choice: The method, and which options were typed.

    Raises:
        DatasetError: If boxes were asked for and are missing, or do not match the regions.
    """
    if model.region_layers is None:  # a backbone has layers of its own
        return
    columns = dataset["train"].column_names
    if REGIONS not in columns and "region_layers" not in choice.typed:
        model.region_layers = 0
    is_read = model.region_layers > 0 and model.box_column in columns
    if not is_read and "box_geometry" not in choice.typed:
        model.box_geometry = "none"
    if model.box_geometry != "none":
        for split, rows in dataset.items():
            dataset[split] = append_boxes(rows, split, model.box_column)


def _options_in(args: Any, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(args).items() if name in names}


def _field_names(config_class: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class)}


def _constants(choice: Choice, args: Any) -> dict[str, Any]:
    """The fields of the config of a matching model that are constants of the method."""
    names = _field_names(NcrConfig) - _field_names(MatchingConfig)
    return constant_fields(choice, _options_in(args, names), args)


def build_matching_model(processor: Any, choice: Choice, args: Any) -> Any:
    """A fresh matching model, or two, with pretrained encoders where options name them.

    Args:
        processor: Its processor.
        choice: The method.
        args: `MatchingArguments`.
    """
    names = _encoder_paths(args)
    constants = _constants(choice, args)
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
    fields = _options_in(args, _field_names(MatchingConfig) - {"method", "method_options"})
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
    constants = set(RcarConfig.constants)
    shape = _field_names(RcarConfig) - constants - {"method", "method_options"}
    fields = _options_in(args, shape) | sizes
    fields |= constant_fields(choice, _options_in(args, constants), args)
    fields["intermediate_size"] = args.intermediate_size or 4 * args.hidden_size
    if args.stream_start == "text":
        sizes_of_text = (*_STREAM_SIZES, "layer_norm_eps")
        fields |= {name: getattr(text, name) for name in sizes_of_text if hasattr(text, name)}
    model = build_pair_model(choice.name, **fields, vision_config=vision, text_config=text)
    model.load_backbones(*names)
    return model

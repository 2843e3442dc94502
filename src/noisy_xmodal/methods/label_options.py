"""Processors and models of the training script for classes, by its options."""

from typing import Any

from datasets import Dataset
from transformers import AutoConfig, AutoImageProcessor

from ..arguments.labels import CONSTANTS as LABEL_CONSTANTS
from ..arguments.labels import METHOD_RULES
from ..data import DatasetError, noise_protocol
from ..entry.errors import load_part
from ..models.common_space.processing_common_space import CommonSpaceProcessor
from ..models.encoder_pair.modeling_encoder_pair import EncoderPairModel
from ..models.encoder_pair.names import encoder_names, load_encoder_pair
from ..models.matching.modeling_matching import MatchingModel
from ..models.sharing import Installed
from ..models.two_towers import NotTwoTowersError, load_two_towers, text_padding
from ..modules.pretrained import encoder_path, load_tokenizer
from ..options import settle_unread
from ..training.script import Choice
from .building import PARTS, network_config
from .constants import check_constants, constant_fields, options_in
from .dmcm import Dmcm


def settle_label_options(args: Any, training: Any, choice: Choice) -> None:
    """Refuse options of `train_dmcm.py` that nothing reads.

    Args:
        args: `LabelMethodArguments`.
        training: `LabelTrainingArguments`.
        choice: The method, and which options were typed.

    Raises:
        ValueError: If a person typed one, or a constant of the method is out of its range.
    """
    settle_unread(args, vars(training), type(args), METHOD_RULES, choice.typed)
    check_constants(choice, _constants(choice, args))


def load_label_backbone(args: Any) -> Any:
    """The pretrained model of `--backbone_name_or_path`, or None without it.

    Args:
        args: `LabelMethodArguments`.

    Raises:
        ValueError: If the model has no vector per picture and per text.
        OSError: If a model or a part of it is missing.
    """
    name = args.backbone_name_or_path
    if name is None:
        return None
    pair = encoder_names(name)
    if pair is not None:
        return load_encoder_pair(*pair)[0]
    model = load_two_towers(name)[0]
    model = model.backbone if isinstance(model, MatchingModel) else model
    if model is None or (isinstance(model, Installed) and not isinstance(model, EncoderPairModel)):
        raise NotTwoTowersError(
            f"--backbone_name_or_path {name} is a model that a method of this "
            "library trained: give a pretrained model such as CLIP, or imagenet+minilm."
        )
    return model


def build_label_processor(choice: Choice, args: Any) -> CommonSpaceProcessor:
    """A processor of vectors, or the one of the backbone.

    Args:
        choice: The method.
        args: `LabelMethodArguments`.
    """
    kind, name = PARTS[network_config(choice.method)][1], args.backbone_name_or_path
    if name is None:
        return kind()
    vision, text = map(encoder_path, encoder_names(name) or (name, name))
    return kind(
        load_part(AutoImageProcessor, vision, backend="pil"),
        load_tokenizer(text),
        padding=text_padding(load_part(AutoConfig, text)),
    )


def label_fields(choice: Choice, args: Any, train: Dataset, backbone: Any = None) -> dict[str, Any]:
    """The fields of a model for classes that options set, see `build_label_model`.

    Args:
        choice: The method.
        args: `LabelMethodArguments`.
        train: The training split, for `--noise_rate known`.
        backbone: The pretrained model, see `load_label_backbone`.

    Raises:
        ValueError: If the method has no such constant, or a value is impossible.
    """
    shape, fields = choice.method.shape, dict[str, Any]()
    if args.hidden_size is not None:
        fields["hidden_sizes"] = [args.hidden_size] * len(shape.get("hidden_sizes", [0, 0]))
    if args.embedding_size is not None:
        fields["embedding_size"] = args.embedding_size
    if backbone is not None:
        fields["backbone_config"] = backbone.config
        fields["freeze_backbone"] = args.freeze_backbone
    if choice.method is Dmcm and args.noise_rate == "known":
        fields["noise_rate"] = _known_rate(train)
    return fields | _constants(choice, args)


def _constants(choice: Choice, args: Any) -> dict[str, Any]:
    """The fields that are constants of the method, but for a noise rate that the data knows."""
    values = options_in(args, LABEL_CONSTANTS)
    values = {name: value for name, value in values.items() if value is not None}
    if choice.method is Dmcm:
        if values.get("noise_rate") in ("estimated", "known"):
            del values["noise_rate"]
        elif "noise_rate" in values:
            values["noise_rate"] = _number(args.noise_rate)
        if "clean_threshold" in values:
            values["selection"] = "threshold"
    return constant_fields(choice, values, args)


def _number(noise_rate: str) -> float:
    try:
        return float(noise_rate)
    except ValueError as error:
        raise ValueError(
            f"--noise_rate is {noise_rate!r}: give a share such as 0.4, known or estimated."
        ) from error


def _known_rate(train: Dataset) -> float:
    """The share that the noise protocol of the data asks for."""
    protocol = noise_protocol(train)
    if protocol is None or protocol.get("ratio") is None:
        raise DatasetError(
            "--noise_rate known: the data carries no noise protocol. Give a number, or estimated."
        )
    return float(protocol["ratio"])

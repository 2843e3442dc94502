"""Options of the training scripts for pairs: which have no effect, and what depends on the data."""

import json
from typing import Any

import torch
from datasets import Dataset
from transformers.utils import logging

from ..data import append_boxes
from ..data.columns import REGIONS
from ..entry.options import json_option
from ..models.matching.configuration_matching import MatchingConfig
from ..models.ncr.configuration_ncr import NcrConfig
from ..modules.adapters import check_peft
from ..modules.similarity import build_similarity
from ..options import Rule, settle_unread, unread
from ..training.script import Choice
from .backbone_options import settle_backbone
from .building import network_config
from .constants import check_constants, matching_constants, stream_constants

logger = logging.get_logger(__name__)

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
        ValueError: If a person typed one, a constant of the method is out of its range, or the
            similarity head or an option of it does not exist.
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
    check_constants(choice, matching_constants(choice, model))
    if model.similarity_options is not None:  # a backbone has none
        options = json_option("similarity_options", model.similarity_options)
        with torch.device("meta"):  # refuses an unknown head or option before the data are read
            build_similarity(model.similarity, hidden_size=model.hidden_size, **options)
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
#: Sizes of a stream that starts from the layers of a text model.
STREAM_SIZES = ("hidden_size", "num_attention_heads", "intermediate_size")
_OF_SHORTLISTS = Rule(
    lambda options: options.shortlist_model_name_or_path is not None,
    "there are no shortlists. Give --shortlist_model_name_or_path too, or leave it out.",
)
_STREAM_RULES = {
    "negatives": _OF_SHORTLISTS,
    "text_hidden_layers": _OF_WORDS,
    **dict.fromkeys(("text_training", "stream_start"), _OF_A_TEXT_MODEL),
    **dict.fromkeys(STREAM_SIZES, _OF_A_FRESH_STREAM),
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
        ValueError: If a person typed one, or a constant of the method is out of its range.
    """
    beside = vars(training) | vars(scoring) | vars(model)
    for options, rules in (
        (data, {"min_word_frequency": _OF_WORDS}),
        (model, _STREAM_RULES),
        (scoring, _SCORING_RULES),
        (training, _TRAINING_RULES),
    ):
        settle_unread(options, beside, type(options), rules, choice.typed)
    check_constants(choice, stream_constants(choice, model))


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

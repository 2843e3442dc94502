"""A pretrained two-tower model as the network, by the options of the training scripts."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedConfig

from ..arguments.matching import (
    ADAPTER_LEARNING_RATE,
    BACKBONE_LEARNING_RATE,
    FROZEN_LEARNING_RATE,
)
from ..entry.options import OptionError
from ..models.encoder_pair.configuration_encoder_pair import EncoderPairConfig
from ..models.encoder_pair.names import encoder_names, encoder_pair_parts
from ..models.matching.modeling_matching import MatchingModel
from ..models.matching.processing_matching import MatchingProcessor
from ..models.sharing import Installed
from ..models.two_towers import two_tower_config, two_tower_path, two_tower_processor
from ..modules.adapters import adapters_apart
from ..modules.pretrained import encoder_path
from ..modules.tower_outputs import NotTwoTowersError
from ..training.script import Choice


@dataclass(frozen=True)
class Backbone:
    """A pretrained two-tower model, whose weights are not yet read.

    Attributes:
        name: The value of `--backbone_name_or_path`.
        config: Its configuration.
        processor: Its image processor and tokenizer.
        folders: Folder or Hub id of the model, or of both encoders of a pair.
    """

    name: str
    config: PreTrainedConfig
    processor: MatchingProcessor
    folders: tuple[str, ...]

    def load_weights(self, network: MatchingModel) -> None:
        """Replace the initial weights of a network; the projections of a pair stay new."""
        if len(self.folders) == 1:
            network.load_backbones(both=self.folders[0])
        else:
            with adapters_apart(network):
                network.get_submodule("backbone").load_encoders(*self.folders)


def open_backbone(model: Any) -> Backbone | None:
    """The two-tower model that `--backbone_name_or_path` names; None without one.

    Args:
        model: `MatchingArguments`; `hidden_size` is that of the joint space of a new pair.

    Raises:
        NotTwoTowersError: If it is another kind of model.
        OSError: If it does not exist, or has no tokenizer or no image processor.
    """
    name = getattr(model, "backbone_name_or_path", None)
    if name is None:
        return None
    processor: MatchingProcessor
    pair = encoder_names(name)
    if pair is not None:
        config, processor = encoder_pair_parts(*pair, model.hidden_size)
        folders: tuple[str, ...] = encoder_path(pair[0]), encoder_path(pair[1])
    else:
        folders = (two_tower_path(encoder_path(name)),)
        config, kind = two_tower_config(folders[0])
        _refuse_own(name, config, kind)
        processor = two_tower_processor(folders[0], config)
    return Backbone(name, config, processor, folders)


def _refuse_own(name: str, config: Any, kind: type) -> None:
    if not issubclass(kind, Installed):
        return
    if not isinstance(config, EncoderPairConfig):
        raise NotTwoTowersError(
            f"--backbone_name_or_path {name} is a {kind.__name__}, which a method of this library "
            "trained: give a two-tower model of transformers, such as CLIP or SigLIP."
        )
    if config.projection_size is None:
        raise NotTwoTowersError(
            f"--backbone_name_or_path {name} is a pair of encoders without a joint space: give "
            "VISION+TEXT, such as imagenet+minilm, which gets new projections."
        )


def settle_backbone(model: Any, training: Any, choice: Choice) -> Any:
    """Check `--backbone_name_or_path` and what stands beside it, and set the learning rate.

    Args:
        model: `MatchingArguments`.
        training: `RobustTrainingArguments`; its learning rate is that of a backbone if none was
            typed.
        choice: The method, and which options were typed.

    Returns:
        The configuration of the backbone; None without one.

    Raises:
        NotTwoTowersError: If it is another kind of model.
        OptionError: If an option or the method does not suit a backbone.
        OSError: If it does not exist, or has no tokenizer or no image processor.
    """
    backbone = open_backbone(model)
    if backbone is None:
        return None
    for option in ("vision_model_name_or_path", "text_model_name_or_path"):
        if getattr(model, option) is not None:
            raise OptionError(
                f"--{option} does nothing beside --backbone_name_or_path, which has encoders of "
                "its own: leave one of them out."
            )
    head = choice.method.shape.get("similarity", "cosine")
    if head != "cosine":
        raise OptionError(
            f"--method {choice.name} is the similarity head {head!r}, and the backbone has its "
            "own: take another method, such as vse++ or ncr."
        )
    _settle_training(backbone, model, training, choice.typed)
    return backbone.config


def _settle_training(backbone: Backbone, model: Any, training: Any, typed: set[str]) -> None:
    """Set what is trained of a backbone, and how fast, where it was not typed.

    A model that has learned a joint space is trained in full at a small rate; adapters, and the
    projections of frozen towers, at a larger one. It tells right pairs from wrong ones already, so
    there is no warm-up. A new pair has projections, which learn at the rate of the recipe.
    """
    sides = ("vision_training", "text_training")
    is_new = len(backbone.folders) == 2
    for name in sides:
        if not is_new and name not in typed:
            setattr(model, name, "full")
    rate = "encoder_learning_rate" if is_new else "learning_rate"
    rates = {"full": BACKBONE_LEARNING_RATE, "lora": ADAPTER_LEARNING_RATE}
    if not is_new:
        rates["frozen"] = FROZEN_LEARNING_RATE
        if "warmup_epochs" not in typed:
            training.warmup_epochs = 0
    suited = [rates[way] for name in sides if (way := getattr(model, name)) in rates]
    if rate not in typed and suited:
        setattr(training, rate, min(suited))


def backbone_fields(backbone: Backbone, model: Any) -> dict[str, Any]:
    """The fields of a `MatchingConfig` with a backbone.

    Args:
        backbone: From `open_backbone`.
        model: `MatchingArguments`.
    """
    names = ("vision_training", "text_training", "lora_rank")
    values = {name: getattr(model, name) for name in names}
    read = {name: value for name, value in values.items() if value is not None}
    return {"backbone_config": backbone.config, **read}


def try_backbone(model: Any, processor: Any, name: str) -> None:
    """Run a backbone on one picture and one text: not every model of two towers has vectors.

    Args:
        model: The model with the backbone; in training mode afterwards.
        processor: Its processor.
        name: Name of the backbone.

    Raises:
        NotTwoTowersError: If it fails.
    """
    inputs = processor(images=Image.new("RGB", (64, 64)), text="a")
    try:
        with torch.inference_mode():
            model.eval()(**inputs)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise NotTwoTowersError(
            f"--backbone_name_or_path {name} gives no vector of a picture and of a text, for "
            f"example because a tower has no pooled output ({error}): give another model."
        ) from error
    finally:
        model.train()

"""How the pretrained encoders inside a model are trained: their learning rates, their memory.

Source of rates that fall from layer to layer: Howard and Ruder, "Universal Language Model
Fine-tuning for Text Classification", ACL 2018, section 3.2.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from ..modules.encoder_layers import layers_below_top
from .arguments import RobustTrainingArguments

#: Optimizers that choose the groups of parameters themselves.
_OWN_GROUPS = ("galore", "apollo", "lomo", "adalomo", "muon", "dion")


def check_encoder_arguments(model: Any, args: RobustTrainingArguments) -> None:
    """Refuse options about pretrained encoders that have no effect on a model.

    Args:
        model: The model.
        args: Its training arguments.

    Raises:
        ValueError: If an option has no effect.
    """
    name = rate_option(args)
    if name is not None:
        value = getattr(args, name)
        encoders = [part for part in _encoders(model).values() if _is_trained(part)]
        if not encoders:
            raise ValueError(
                f"`{name}` is {value:g}: it is for the pretrained encoders of a model, and none is "
                "trained here. Leave it out, or name an encoder and train it."
            )
        optim = str(getattr(args.optim, "value", args.optim))
        if optim.startswith(_OWN_GROUPS):
            raise ValueError(
                f"`{name}` is {value:g}: the optimizer {optim} has one rate for all weights. Leave "
                "it out, or choose another `optim`, such as adamw_torch."
            )
        for encoder in encoders:
            if args.layer_decay != 1 and not layers_below_top(encoder):
                raise ValueError(
                    f"`layer_decay` is {args.layer_decay:g}: a {type(encoder).__name__} has no "
                    "numbered layers. Leave it out."
                )
    if args.gradient_checkpointing and (args.gradient_checkpointing_kwargs or {}).get(
        "use_reentrant"
    ):
        raise ValueError(
            "`gradient_checkpointing_kwargs` has `use_reentrant` True: with it layers above frozen "
            "ones have no gradients. Leave it out."
        )
    if args.gradient_checkpointing and not any(
        hasattr(part, "gradient_checkpointing") and _is_trained(part) for part in model.modules()
    ):
        raise ValueError(
            "`gradient_checkpointing` is True: it is for transformer layers, and none is trained "
            "here. Leave it out. For less memory lower `per_device_train_batch_size`, or use "
            "`bf16`."
        )


def rate_option(args: RobustTrainingArguments) -> str | None:
    """The option that gives pretrained encoders learning rates of their own; None if none does."""
    if args.layer_decay != 1:
        return "layer_decay"
    return None if args.encoder_learning_rate is None else "encoder_learning_rate"


def parameter_groups(
    model: Any, args: RobustTrainingArguments, decayed: Collection[str]
) -> list[dict[str, Any]]:
    """Parameters in groups of equal learning rate and weight decay, for an optimizer.

    Args:
        model: The model.
        args: Its training arguments.
        decayed: Names of the parameters with weight decay.

    Returns:
        The groups, the largest rate of the encoders after those of the other parts; `encoder` says
        whether a group is of encoders.
    """
    top = args.learning_rate if args.encoder_learning_rate is None else args.encoder_learning_rate
    rates: dict[str, float] = {}
    for path, encoder in _encoders(model).items():
        below = layers_below_top(encoder)
        for name, _ in encoder.named_parameters():
            rates[f"{path}.{name}"] = top * args.layer_decay ** below.get(name, 0)
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            weight_decay = args.weight_decay if name in decayed else 0.0
            key = (name in rates, rates.get(name, args.learning_rate), weight_decay)
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": groups[key], "lr": key[1], "weight_decay": key[2], "encoder": key[0]}
        for key in sorted(groups, key=lambda key: (key[0], -key[1], -key[2]))
    ]


def encoder_rates(groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The present learning rates of pretrained encoders, for the log.

    Args:
        groups: Groups of an optimizer.

    Returns:
        The rates of the top layers and of the lowest layers; empty if encoders have no rates of
        their own.
    """
    rates = [float(group["lr"]) for group in groups if group.get("encoder")]
    if not rates:
        return {}
    return {"encoder_learning_rate": max(rates), "lowest_learning_rate": min(rates)}


def _encoders(model: Any) -> dict[str, nn.Module]:
    return model.pretrained_encoders() if hasattr(model, "pretrained_encoders") else {}


def _is_trained(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())

"""What a run is made of: a checkpoint is gone on from with the same pairs, words and options only.

What is believed of a pair goes by its position, and what is learnt of a word by its id. Both are
another's if the data has changed since. So each checkpoint carries digests of the pairs, of the
validation split that chooses the best one, and of the words, in `identity.safetensors`; it holds
the options and the model's config anyway.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..data.digests import Digests, digest_of
from ..modules.processor_facts import flat_json
from .files import read_json

IDENTITY_NAME = "identity.safetensors"
ARGUMENTS_NAME = "training_args.json"

#: Fields of a config that say how it was written, or that the Trainer takes from the tokenizer.
_NOT_OF_THE_MODEL = frozenset(
    (
        *("_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"),
        *("pad_token_id", "bos_token_id", "eos_token_id"),
    )
)

#: Differences that are told.
_SHOWN = 3
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class RunIdentity:
    """Digests of what a run is made of.

    Attributes:
        items: Digests of its items, (n_items,), by "unit: property", such as
            "training pair: caption"; the properties of a unit have one order.
        facts: Other values, by name.
    """

    items: Mapping[str, Digests]
    facts: Mapping[str, str]

    def save(self, folder: str | Path) -> None:
        """Write it into a checkpoint folder."""
        header = {"facts": json.dumps({name: _short(fact) for name, fact in self.facts.items()})}
        save_file(dict(self.items), str(Path(folder) / IDENTITY_NAME), metadata=header)

    def differences(self, folder: str | Path) -> list[str] | None:
        """What is another's in a checkpoint, a phrase each; None where it does not say.

        Raises:
            ValueError: If its file is damaged.
        """
        path = Path(folder) / IDENTITY_NAME
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="np") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                items = {name: file.get_tensor(name) for name in file.offset_keys()}
        except (SafetensorError, ValueError, KeyError) as error:
            raise ValueError(
                f"{path} is damaged ({error}): resume from another checkpoint."
            ) from error
        found = [
            _item_difference(name, items[name], digests)
            for name, digests in self.items.items()
            if name in items
        ]
        counts = [phrase for phrase in found if phrase and phrase.startswith("there are")]
        others = [phrase for phrase in found if phrase and not phrase.startswith("there are")]
        return [
            *dict.fromkeys(counts),
            *others,
            *(
                f"{name} is {_short(fact)}, it was {facts[name]}"
                for name, fact in self.facts.items()
                if name in facts and facts[name] != _short(fact)
            ),
        ]


def option_differences(folder: str | Path, options: Mapping[str, Any]) -> list[str]:
    """The options of a run that are others than those of a checkpoint, a phrase each.

    Args:
        folder: The checkpoint.
        options: Values by name, as `to_sanitized_dict` gives them; those that decide what the steps
            so far were.
    """
    path = Path(folder) / ARGUMENTS_NAME
    kept = read_json(path) if path.is_file() else {}
    return [
        f"`{name}` is {value} and was {kept[name]}"
        for name, value in options.items()
        if name in kept and kept[name] != value
    ]


def config_differences(folder: str | Path, config: Any) -> list[str]:
    """The fields of a model's config that are others than those of a checkpoint, a phrase each.

    Args:
        folder: The checkpoint.
        config: The config of this run's model.
    """
    kept = flat_json(type(config).from_pretrained(str(folder)).to_json_string(use_diff=False))
    own = flat_json(config.to_json_string(use_diff=False))
    return [
        f"`{name}` of the model is {_short(value)} and was {_short(kept[name])}"
        for name, value in own.items()
        if name in kept
        and name.split(".")[-1] not in _NOT_OF_THE_MODEL
        and json.loads(kept[name]) != json.loads(value)  # 10 is 10.0
    ]


def listed(phrases: list[str]) -> str:
    """The first of some phrases, and how many more there are."""
    more = f", and {len(phrases) - _SHOWN} more" if len(phrases) > _SHOWN else ""
    return "; ".join(phrases[:_SHOWN]) + more


def _item_difference(name: str, kept: Digests, own: Digests) -> str | None:
    unit, what = name.split(": ")
    if kept.shape != own.shape:
        units = f"{unit}es" if unit.endswith("s") else f"{unit}s"
        return f"there are {len(own):,} {units}, and the checkpoint is of {len(kept):,}"
    other = np.flatnonzero(kept != own)
    if not len(other):
        return None
    more = f", as {len(other) - 1:,} more of {len(own):,} have" if len(other) > 1 else ""
    moved = np.array_equal(np.sort(kept), np.sort(own))
    order = " (they are the same ones in another order)" if moved else ""
    return f"{unit} {other[0]} has another {what}{more}{order}"


def _short(fact: str) -> str:
    return fact if len(fact) <= _LONGEST_VALUE else f"#{digest_of(fact):016x}"

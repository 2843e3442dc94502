"""Identity of a run: a checkpoint can only be resumed with the same pairs, words and options.

Pair state is indexed by position, and word embeddings by id. Both would be wrong if the data had
changed. Each checkpoint therefore has digests of the pairs, of the validation split that selects
the best model, and of the words, in `identity.safetensors`, besides the options and the config.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ..data.digests import Digests, digest_of, text_digests
from ..files import read_json
from ..modules.processor_facts import flat_json, processor_facts, words_by_id
from .chosen_metric import validation_parts

IDENTITY_NAME = "identity.safetensors"
ARGUMENTS_NAME = "training_args.json"

#: Config fields about how it was saved, or that the Trainer copies from the tokenizer.
_IGNORED_FIELDS = frozenset(
    (
        *("_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"),
        *("pad_token_id", "bos_token_id", "eos_token_id"),
    )
)

_MAX_PHRASES = 3
_MAX_LENGTH = 60


@dataclass(frozen=True)
class RunIdentity:
    """Digests of the data and values of the settings of a run.

    Attributes:
        items: Digests of items, (n_items,), by "unit: property", such as "training pair: caption";
            the properties of a unit have the same order.
        facts: Other values by name.
    """

    items: Mapping[str, Digests]
    facts: Mapping[str, str]

    def save(self, folder: str | Path) -> None:
        """Write the identity to a checkpoint folder."""
        header = {"facts": json.dumps({name: _short(fact) for name, fact in self.facts.items()})}
        save_file(dict(self.items), str(Path(folder) / IDENTITY_NAME), metadata=header)

    def differences(self, folder: str | Path) -> list[str]:
        """Differences from a checkpoint, a phrase each."""
        with safe_open(str(Path(folder) / IDENTITY_NAME), framework="np") as file:
            facts = json.loads(file.metadata()["facts"])
            items = {name: file.get_tensor(name) for name in file.offset_keys()}
        phrases = [
            _item_difference(name, items[name], digests)
            for name, digests in self.items.items()
            if name in items
        ]
        counts = [phrase for phrase in phrases if phrase and phrase.startswith("there are")]
        others = [phrase for phrase in phrases if phrase and not phrase.startswith("there are")]
        return [
            *dict.fromkeys(counts),
            *others,
            *(
                f"{name} is {_short(fact)} and was {facts[name]}"
                for name, fact in self.facts.items()
                if name in facts and facts[name] != _short(fact)
            ),
        ]


def identity_of_run(trainer: Any) -> RunIdentity:
    """The identity of a trainer's run; it includes a validation split that selects the best model.

    Args:
        trainer: A `RobustTrainer`.
    """
    splits = {"training": trainer.train_dataset}
    if trainer.args.load_best_model_at_end and trainer.eval_dataset is not None:
        parts = validation_parts(trainer.eval_dataset)
        splits |= {f"validation {name}".rstrip(): part for name, part in parts.items()}
    items = {
        f"{split} {name}": digests
        for split, samples in splits.items()
        for name, digests in samples.identity().items()
    }
    items |= {f"training {name}": own for name, own in trainer.method.identity().items()}
    processor = trainer.saved_processor()
    items["word id: word"] = text_digests(words_by_id(processor))
    args = trainer.args
    facts = {"number of processes": str(args.world_size)}
    if args.gather_negatives:  # any number of them trains what one trains
        n_pairs = args.per_device_train_batch_size * args.world_size
        facts = {"number of pairs in a batch of all processes": str(n_pairs)}
    facts["clean probabilities of an audit"] = "none"
    if trainer.audit is not None:
        digest = digest_of(trainer.audit.tobytes())
        facts["clean probabilities of an audit"] = f"#{digest:016x}"
    if trainer.first_weights:
        contents = (part.numpy().tobytes() for part in trainer.first_weights.values())
        facts["first weights"] = f"#{digest_of(*contents):016x}"
    return RunIdentity(items, facts | processor_facts(processor))


def option_differences(folder: str | Path, options: Mapping[str, Any]) -> list[str]:
    """Options of a run that differ from those of a checkpoint, a phrase each.

    Args:
        folder: The checkpoint.
        options: Values by name, from `to_sanitized_dict`, of options that affect the steps so far.
    """
    previous = read_json(Path(folder) / ARGUMENTS_NAME)
    return [
        f"`{name}` is {value} and was {previous[name]}"
        for name, value in options.items()
        if name in previous and previous[name] != value
    ]


def config_differences(folder: str | Path, config: Any) -> list[str]:
    """Config fields of a model that differ from those of a checkpoint, a phrase each.

    Args:
        folder: The checkpoint.
        config: The config of this run's model.
    """
    previous = flat_json(type(config).from_pretrained(str(folder)).to_json_string(use_diff=False))
    current = flat_json(config.to_json_string(use_diff=False))
    return [
        f"`{name}` of the model is {_short(value)} and was {_short(previous[name])}"
        for name, value in current.items()
        if name in previous
        and name.split(".")[-1] not in _IGNORED_FIELDS
        and json.loads(previous[name]) != json.loads(value)  # 10 is 10.0
    ]


def listed(phrases: list[str]) -> str:
    """The first phrases, and the number of the others."""
    n_more = len(phrases) - _MAX_PHRASES
    return "; ".join(phrases[:_MAX_PHRASES]) + (f", and {n_more} more" if n_more > 0 else "")


def _item_difference(name: str, previous: Digests, current: Digests) -> str | None:
    unit, what = name.split(": ")
    if previous.shape != current.shape:
        units = f"{unit}es" if unit.endswith("s") else f"{unit}s"
        return f"there are {len(current):,} {units}, but the checkpoint has {len(previous):,}"
    changed = np.flatnonzero(previous != current)
    if not len(changed):
        return None
    notes = [f"also {len(changed) - 1:,} more of {len(current):,}"] if len(changed) > 1 else []
    if np.array_equal(np.sort(previous), np.sort(current)):
        notes.append("the same items in another order")
    return f"{unit} {changed[0]} has another {what}" + (f" ({'; '.join(notes)})" if notes else "")


def _short(fact: str) -> str:
    return fact if len(fact) <= _MAX_LENGTH else f"#{digest_of(fact):016x}"

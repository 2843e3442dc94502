"""The settings of a processor as strings, to compare two processors."""

import json
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

from .pixels import PIXELS_VERSION


def processor_facts(processor: Any) -> dict[str, str]:
    """All settings that affect the inputs of a model, except the vocabulary.

    Args:
        processor: A processor; one of feature vectors has no tokenizer.

    Returns:
        Values as JSON by names such as "image_processor.image_mean" and "tokenizer.normalizer".
        They do not depend on the last call of the tokenizer.
    """
    facts = flat_json(processor.to_json_string()) | {"conversion of pictures": str(PIXELS_VERSION)}
    tokenizer = processor.tokenizer
    if tokenizer is None:
        return facts
    for name in ("model_max_length", "padding_side", "pad_token_id"):
        facts[f"tokenizer.{name}"] = json.dumps(getattr(tokenizer, name))
    if hasattr(tokenizer, "backend_tokenizer"):
        facts |= {f"tokenizer.{name}": value for name, value in _rules(tokenizer).items()}
    return facts


def words_by_id(processor: Any) -> list[str]:
    """The words of a processor's tokenizer by id; an empty list without a tokenizer."""
    if processor.tokenizer is None:
        return []
    ids = processor.tokenizer.get_vocab()
    words = [""] * (max(ids.values(), default=-1) + 1)
    for word, number in ids.items():
        words[number] = word
    return words


def _rules(tokenizer: Any) -> dict[str, str]:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    rules = json.loads(backend.to_str())
    if isinstance(rules["model"].get("vocab"), dict):
        del rules["model"]["vocab"]  # `words_by_id` has it
    return {name: json.dumps(value) for name, value in rules.items()}


def flat_json(text: str) -> dict[str, str]:
    """The values of a JSON object of objects, as JSON, by names such as "a.b"."""
    return dict(_flat(json.loads(text)))


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", json.dumps(value)

"""Words of a query that a model has never seen, which its answers say nothing about."""

from typing import Any


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """What to tell of the words that a tokenizer does not know, in a line; empty if it knows all.

    Args:
        tokenizer: Of transformers. One that spells words out, as CLIP's does, knows all.
        text: The query.
    """
    if tokenizer.unk_token_id is None or not tokenizer.is_fast:
        return []
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = found["input_ids"], found["offset_mapping"]
    unknown = [
        text[start:end]
        for token, (start, end) in zip(ids, spans, strict=True)
        if token == tokenizer.unk_token_id
    ]
    if not ids:
        return ["The query has no word in it, so the answers say nothing about it."]
    if not unknown:
        return []
    names = ", ".join(dict.fromkeys(unknown))
    if len(unknown) == len(ids):
        return [
            f"The model knows no word of the query ({names}): its answers say nothing about it."
        ]
    return [f"The model does not know these words of the query: {names}."]

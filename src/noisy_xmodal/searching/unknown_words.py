"""Warnings about words of a query that are not in the model's vocabulary."""

from typing import Any


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """A warning about the unknown words of a query; empty if there are none.

    Args:
        tokenizer: A transformers tokenizer; subword tokenizers, such as CLIP's, know all words.
        text: The query.
    """
    if tokenizer.unk_token_id is None or not tokenizer.is_fast:
        return []
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = encoding["input_ids"], encoding["offset_mapping"]
    unknown = [
        text[start:end]
        for token, (start, end) in zip(ids, spans, strict=True)
        if token == tokenizer.unk_token_id
    ]
    if not ids:
        return ["The query has no word, so the answers are arbitrary."]
    if not unknown:
        return []
    names = ", ".join(dict.fromkeys(unknown))
    if len(unknown) == len(ids):
        return [f"The model knows no word of the query ({names}), so the answers are arbitrary."]
    return [f"The model does not know these words of the query: {names}."]

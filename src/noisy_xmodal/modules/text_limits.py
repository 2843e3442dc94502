"""How many tokens of a text a model reads, and how many texts lose words by it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

#: Tokens that a tokenizer trained on captions reads at least, and at most unless it is told.
SHORTEST, LONGEST = 64, 256

_NO_LIMIT = 10**6  # tokenizers without a limit name one beyond this
_AT_ONCE = 10_000


@dataclass(frozen=True)
class CutTexts:
    """How many of some texts are longer than what is read of them.

    Attributes:
        n_cut: Texts of which the end is not read.
        n_texts: All texts.
        limit: Tokens that are read of a text, those around it included; None without a limit.
    """

    n_cut: int
    n_texts: int
    limit: int | None

    def line(self, kind: str = "captions") -> str:
        """What to tell a person.

        Args:
            kind: What the texts are, in the plural.
        """
        return (
            f"{self.n_cut:,} of {self.n_texts:,} {kind} have more than {self.limit} tokens; what "
            "comes after is not read."
        )

    def facts(self) -> dict[str, Any]:
        """The attributes, ready for JSON."""
        return asdict(self)


def token_limit(processor: Any) -> int | None:
    """Tokens that a processor reads of a text; None where it has no limit.

    Args:
        processor: A processor with a tokenizer. A `max_length` of its own goes before the
            tokenizer's.
    """
    limit = getattr(processor, "max_length", None) or processor.tokenizer.model_max_length
    return None if limit >= _NO_LIMIT else int(limit)


def count_cut(processor: Any, texts: Iterable[str]) -> CutTexts:
    """Count the texts of which a processor cuts the end.

    Args:
        processor: See `token_limit`.
        texts: The texts.
    """
    limit = token_limit(processor)
    n_cut = n_texts = 0
    for length in token_counts(processor.tokenizer, texts):
        n_texts += 1
        n_cut += limit is not None and length > limit
    return CutTexts(n_cut, n_texts, limit)


def token_counts(tokenizer: Any, texts: Iterable[str]) -> Iterator[int]:
    """The number of tokens of each text, those around it included, without cutting it.

    Args:
        tokenizer: Any tokenizer.
        texts: The texts; some thousands are in memory at once.
    """
    waiting = iter(texts)
    while block := list(islice(waiting, _AT_ONCE)):
        options = {"truncation": False, "padding": False, "verbose": False}
        found = tokenizer(block, return_attention_mask=False, **options)
        yield from map(len, found["input_ids"])


def limit_tokens(tokenizer: Any, limit: int | None) -> None:
    """Cut texts at so many tokens from now on, unless they are cut earlier already.

    Args:
        tokenizer: The tokenizer, whose `model_max_length` is set.
        limit: What can be read; None for no limit.
    """
    if limit is not None and tokenizer.model_max_length > limit:
        tokenizer.model_max_length = limit


def shorten_to(tokenizer: Any, max_seq_length: int | None) -> None:
    """Set the limit of a pretrained tokenizer to what a person asked for.

    Args:
        tokenizer: The tokenizer, whose `model_max_length` is set.
        max_seq_length: Tokens to read of a text; None leaves the tokenizer as it is.

    Raises:
        ValueError: If the tokenizer reads fewer.
    """
    if max_seq_length is None:
        return
    if max_seq_length > tokenizer.model_max_length:
        raise ValueError(
            f"--max_seq_length is {max_seq_length}, and the text encoder reads "
            f"{tokenizer.model_max_length} tokens: give no more than these"
        )
    tokenizer.model_max_length = max_seq_length

"""Maximum lengths of texts, and how many texts are truncated."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

#: Bounds of the default maximum length of a tokenizer that is trained on captions.
MIN_DEFAULT_LENGTH, MAX_DEFAULT_LENGTH = 64, 256

_NO_LIMIT = 10**6  # tokenizers without a limit have a larger `model_max_length`
_BLOCK_SIZE = 10_000


@dataclass(frozen=True)
class TruncationCount:
    """How many texts are truncated.

    Attributes:
        n_cut: Number of truncated texts.
        n_texts: Number of texts.
        limit: Maximum number of tokens, special tokens included; None without a limit.
    """

    n_cut: int
    n_texts: int
    limit: int | None

    def message(self, name: str = "captions") -> str:
        """A message for the user.

        Args:
            name: A plural noun for the texts.
        """
        return (
            f"{self.n_cut:,} of {self.n_texts:,} {name} have more than {self.limit} tokens and are "
            "truncated."
        )

    def to_dict(self) -> dict[str, Any]:
        """The attributes, ready for JSON."""
        return asdict(self)


def token_limit(processor: Any) -> int | None:
    """Maximum number of tokens of a text; None without a limit.

    Args:
        processor: A processor with a tokenizer.
    """
    limit = processor.tokenizer.model_max_length
    return None if limit >= _NO_LIMIT else int(limit)


def count_truncated(processor: Any, texts: Iterable[str]) -> TruncationCount:
    """Count the texts that a processor truncates.

    Args:
        processor: See `token_limit`.
        texts: The texts.
    """
    limit = token_limit(processor)
    n_cut = n_texts = 0
    for length in token_counts(processor.tokenizer, texts):
        n_texts += 1
        n_cut += limit is not None and length > limit
    return TruncationCount(n_cut, n_texts, limit)


def token_counts(tokenizer: Any, texts: Iterable[str]) -> Iterator[int]:
    """The number of tokens of each text without truncation, special tokens included.

    Args:
        tokenizer: Any tokenizer.
        texts: The texts; ten thousand are in memory at a time.
    """
    iterator = iter(texts)
    options = {"truncation": False, "padding": False, "verbose": False}
    while block := list(islice(iterator, _BLOCK_SIZE)):
        encoding = tokenizer(block, return_attention_mask=False, **options)
        yield from map(len, encoding["input_ids"])


def limit_tokens(tokenizer: Any, limit: int | None) -> None:
    """Lower the maximum length of a tokenizer to a limit.

    Args:
        tokenizer: The tokenizer, whose `model_max_length` is set.
        limit: Maximum number of tokens; None for no limit.
    """
    if limit is not None and tokenizer.model_max_length > limit:
        tokenizer.model_max_length = limit


def set_max_length(tokenizer: Any, max_seq_length: int | None) -> None:
    """Set the maximum length of a pretrained tokenizer from the option `--max_seq_length`.

    Args:
        tokenizer: The tokenizer, whose `model_max_length` is set.
        max_seq_length: Maximum number of tokens; None leaves the tokenizer unchanged.

    Raises:
        ValueError: If it exceeds the tokenizer's maximum.
    """
    if max_seq_length is None:
        return
    if max_seq_length > tokenizer.model_max_length:
        raise ValueError(
            f"--max_seq_length is {max_seq_length}, and the text encoder has a maximum of "
            f"{tokenizer.model_max_length} tokens: give at most that number"
        )
    tokenizer.model_max_length = max_seq_length

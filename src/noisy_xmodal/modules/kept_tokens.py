"""Token ids of training texts, which are tokenized once instead of in every epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .text_limits import token_limit

_IDS, _MASK = "input_ids", "attention_mask"


class KeptTokens:
    """Does what a processor does with texts, and keeps the token ids of each text.

    A batch is equal to that of the processor. A text takes about 200 bytes of memory.

    Args:
        processor: Called as `processor(text=texts, return_tensors="pt")`. Its texts are kept if it
            has a tokenizer and an attribute `padding`, True or "max_length", pads on the right, and
            returns only `input_ids` and perhaps `attention_mask`.
        max_texts: Number of texts to keep; further ones are tokenized each time.
    """

    def __init__(
        self, processor: Callable[..., Mapping[str, Any]], max_texts: int = 1_000_000
    ) -> None:
        self._processor = processor
        self._max_texts = max_texts
        self._rows: dict[str, bytes] = {}  # int32 ids without padding
        self._names: list[str] = []  # names of the processor's outputs
        self._padding = getattr(processor, "padding", None)
        self._tokenizer: Any = getattr(processor, "tokenizer", None)
        pads_right = getattr(self._tokenizer, "padding_side", None) == "right"
        self._keeps = pads_right and self._padding in (True, "max_length")

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Tokenize and pad texts.

        Args:
            texts: The texts of a batch.

        Returns:
            `input_ids` (n_texts, length) and what else the processor returns.

        Raises:
            ValueError: As the processor does.
        """
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if missing and self._keeps:
            self._keeps = self._keep(missing)
        if not all(text in self._rows for text in texts):
            return dict(self._processor(text=list(texts), return_tensors="pt"))
        return self._padded([self._rows[text] for text in texts])

    def _keep(self, texts: list[str]) -> bool:
        """Keep the ids of further texts; whether more can be kept."""
        if len(self._rows) + len(texts) > self._max_texts:
            return False
        inputs = self._processor(text=texts, return_tensors="pt")
        self._names = list(inputs)
        needed = {_IDS, _MASK} if self._padding is True else {_IDS}
        if not needed <= set(inputs) <= {_IDS, _MASK}:
            return False
        ids = inputs[_IDS].numpy().astype(np.int32)  # (n_texts, length)
        mask = inputs[_MASK].numpy() if _MASK in inputs else np.ones_like(ids)
        lengths = mask.sum(axis=1)  # (n_texts,)
        for text, row, length in zip(texts, ids, lengths.tolist(), strict=True):
            self._rows[text] = row[:length].tobytes()
        return True

    def _padded(self, rows: list[bytes]) -> dict[str, Tensor]:
        """A batch of the ids of some texts."""
        itemsize = np.dtype(np.int32).itemsize
        lengths = np.array([len(row) // itemsize for row in rows])  # (n_texts,)
        width = lengths.max()
        if self._padding == "max_length":
            width = token_limit(self._processor) or width
        padding = self._tokenizer.pad_token_id
        ids = np.full((len(rows), width), padding, np.int64)  # (n_texts, width)
        mask = np.arange(width) < lengths[:, None]  # (n_texts, width)
        ids[mask] = np.frombuffer(b"".join(rows), np.int32)
        inputs = {_IDS: torch.from_numpy(ids), _MASK: torch.from_numpy(mask.astype(np.int64))}
        return {name: inputs[name] for name in self._names}

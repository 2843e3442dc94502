"""What frozen text encoders make of texts: computed once, kept on disk, attached to the encoder."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..modules.pair_scoring import text_inputs
from ..modules.stored_outputs import TextOutputs, token_digests
from .cache import cache_folder, network_digest, stored_rows

#: Texts that are tokenized at once.
_BLOCK_SIZE = 1024
#: Rows that are computed at once; each sentence has one, each token as well.
_ROWS = {"sentences": 64, "tokens": 1024}


def store_text_outputs(
    model: Any,
    processor: Any,
    texts: Sequence[str],
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> None:
    """Give the frozen text encoder of a model its outputs for texts; other models stay as they are.

    The file of the outputs is named after the encoder's weights and the token ids of the texts, so
    that other runs and processes reuse it. An interrupted run goes on where it stopped.

    Args:
        model: Any model, in any mode.
        processor: Its processor.
        texts: The texts, in any order.
        cache_dir: Folder of the cache; that of `datasets` by default.
        progress: Whether to show a progress bar.
    """
    encoder = getattr(model, "frozen_text_encoder", None)
    if encoder is None or not len(texts):
        return
    digests, lengths, order = _distinct(processor, texts)
    if all(row is not None for row in encoder.stored.read(digests)):
        return
    is_sentence = encoder.words is not None
    counts = np.ones_like(lengths) if is_sentence else lengths
    starts = np.cumsum(counts) - counts  # (n_texts,)
    kind = "sentences" if is_sentence else "tokens"
    path = cache_folder(cache_dir) / f"{network_digest(encoder.backbone, digests, kind)}.npy"
    device = encoder.projection.weight.device

    def make(start: int, end: int) -> np.ndarray:
        first, last = np.searchsorted(starts, (start, end - 1), side="right") - 1
        inputs = text_inputs(processor, [texts[row] for row in order[first : last + 1]])
        ids, mask = (inputs[name].to(device) for name in ("input_ids", "attention_mask"))
        rows = encoder.output_rows(ids, mask)
        return np.concatenate(rows)[start - starts[first] :][: end - start]

    n_rows = int(counts.sum())
    rows = stored_rows(path, n_rows, make, _ROWS[kind], "text outputs", progress)
    ascending = np.argsort(digests)
    outputs = TextOutputs(digests[ascending], starts[ascending], counts[ascending], rows)
    encoder.stored.add(path.name, outputs)


def _distinct(
    processor: Any, texts: Sequence[str]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts by token ids, from short to long.

    Returns:
        Their digests, numbers of tokens and positions in `texts`, (n_distinct,) each.
    """
    parts = []
    for start in range(0, len(texts), _BLOCK_SIZE):
        inputs = text_inputs(processor, texts[start : start + _BLOCK_SIZE])
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        parts.append((token_digests(ids, mask), mask.sum(dim=1).numpy()))
    digests, lengths = map(np.concatenate, zip(*parts, strict=True))
    digests, order = np.unique(digests, return_index=True)  # by digest
    by_length = np.argsort(lengths[order], kind="stable")
    return digests[by_length], lengths[order][by_length], order[by_length]

"""What frozen text encoders make of texts: computed once, kept on disk, attached to the encoder.

An encoder has a folder in the cache, named after its weights. A part of it, `NAME.npy`, has the
outputs of some texts, and `NAME.texts.npy` their digests and lengths. Texts that no part has become
a new part, so other seeds, noise rates and splits of the same captions compute nothing again.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.digests import combined_digest
from ..files import atomic_write
from ..modules.pair_scoring import text_inputs
from ..modules.stored_outputs import StoredOutputs, TextOutputs, token_digests
from .cache import cache_folder, complete_rows, network_digest, stored_rows

#: Texts that are tokenized at once.
_BLOCK_SIZE = 1024
#: Rows that are computed at once; each text has one, or each of its tokens.
_ROWS = {"sentences": 64, "pooled": 64, "tokens": 1024}
_ENDING = ".texts.npy"


def store_text_outputs(
    model: Any,
    processor: Any,
    texts: Sequence[str],
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> None:
    """Give the frozen text encoder of a model its outputs for texts; other models stay as they are.

    Other runs and processes reuse the files. An interrupted run goes on where it stopped.

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
    stored, kind = encoder.stored, encoder.stored_kind
    digests, lengths, order = _distinct(processor, texts)
    if stored.has(digests).all():
        return
    folder = cache_folder(cache_dir) / f"{kind}-{network_digest(encoder.backbone)}"
    _attach_parts(stored, folder)
    missing = ~stored.has(digests)
    if not missing.any():
        return
    digests, lengths, order = digests[missing], lengths[missing], order[missing]
    if kind != "tokens":
        lengths = np.ones_like(lengths)
    starts = np.cumsum(lengths) - lengths  # (n_texts,)
    device = encoder.backbone.device

    def make(start: int, end: int) -> np.ndarray:
        first, last = np.searchsorted(starts, (start, end - 1), side="right") - 1
        inputs = text_inputs(processor, [texts[row] for row in order[first : last + 1]])
        ids, mask = (inputs[name].to(device) for name in ("input_ids", "attention_mask"))
        rows = np.concatenate(encoder.output_rows(ids, mask))
        return rows[start - starts[first] :][: end - start]

    name, n_rows = combined_digest(digests), int(lengths.sum())
    stored_rows(folder / f"{name}.npy", n_rows, make, _ROWS[kind], "text outputs", progress)
    with atomic_write(folder / f"{name}{_ENDING}", shared=True) as aside, aside.open("wb") as file:
        np.save(file, np.stack([digests, lengths.astype(np.uint64)]), allow_pickle=False)
    _attach_parts(stored, folder)


def _attach_parts(stored: StoredOutputs, folder: Path) -> None:
    """Attach the complete parts of a folder."""
    for path in sorted(folder.glob(f"*{_ENDING}")):
        digests, counts = np.load(path, allow_pickle=False)
        lengths = counts.astype(np.int64)
        name = path.name.removesuffix(_ENDING)
        rows = complete_rows(folder / f"{name}.npy", int(lengths.sum()))
        if rows is not None:
            starts, order = np.cumsum(lengths) - lengths, np.argsort(digests)
            stored.add(name, TextOutputs(digests[order], starts[order], lengths[order], rows))


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

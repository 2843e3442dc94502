"""Scores of any matching model, computed in blocks: of all pairs, or of image i with text i.

In the matrix of all pairs, a two-tower model needs one matrix product per block; other heads
compare the encodings of a block of images with those of a block of texts. Every text is encoded
once. Images are encoded once for every `TEXT_BYTES` of encoded texts, which bounds memory and costs
little compared with scoring.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..modules.list_inputs import check_list
from ..modules.pair_scoring import diagonal_scores, image_inputs, text_inputs
from .processes import gather_rows, own_rows, share_blocks
from .text_outputs import store_text_outputs

#: Maximum memory of encoded texts.
TEXT_BYTES = 512 * 2**20


class ScoringModel(Protocol):
    """The interface of a model for evaluation; `MatchingModel` and `NcrModel` implement it."""

    @property
    def is_two_tower(self) -> bool:
        """Whether a score is the inner product of an image vector and a text vector."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    training: bool

    def train(self, mode: bool = True) -> Any:
        """Switch between training and eval mode."""

    def encode_image(self, **inputs: Tensor) -> Any:
        """Encode a block of images."""

    def encode_text(self, **inputs: Tensor) -> Any:
        """Encode a block of texts."""

    def score(self, image: Any, text: Any) -> Tensor:
        """Compare two blocks of encodings, (n_images, n_texts)."""

    def get_image_features(self, **inputs: Tensor) -> Tensor:
        """Image vectors of a two-tower model."""

    def get_text_features(self, **inputs: Tensor) -> Tensor:
        """Text vectors of a two-tower model."""


def score_matrix(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    block_size: int = 64,
    progress: bool = False,
    own: bool = False,
) -> np.ndarray:
    """Score all images against all texts in eval mode.

    Within `shared_evaluation` the processes share the blocks of images, and each gets all scores,
    or those of its `own_rows` alone.

    Args:
        model: The model; its mode is restored afterwards.
        processor: Its processor.
        images: Images or region features; slicing must give a list.
        texts: Captions.
        block_size: Images and texts per block; bounds memory.
        progress: Whether to show a progress bar.
        own: Whether a process returns the rows that it has computed alone.

    Returns:
        Scores (n_images, n_texts), float32.

    Raises:
        ValueError: If `images` or `texts` is not a list.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    if len(texts) > block_size:
        store_text_outputs(model, processor, texts, progress=progress)
    columns = np.arange(len(texts)) if model.is_two_tower else length_order(texts)  # (n_texts,)

    def score(image: Any, text: Any, *_: np.ndarray) -> Tensor:
        return image @ text.T if model.is_two_tower else model.score(image, text)

    rows = np.arange(len(images))
    return score_blocks(
        *(model, processor, images, texts, rows, columns, score, block_size, progress), own
    )


def pair_scores(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[Any],
    block_size: int = 64,
) -> np.ndarray:
    """Score image i with text i in eval mode.

    Args:
        model: The model; its mode is restored afterwards.
        processor: Its processor.
        images: Images, their paths, region features or vectors; slicing must give a list.
        texts: One caption or one vector per image.
        block_size: Pairs per block; bounds memory.

    Returns:
        Scores (n_pairs,), float32: the inner product of a two-tower model's vectors, RCAR's
        log-odds, or the score of another head.

    Raises:
        ValueError: If there is no pair, or the numbers of images and texts differ.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    if len(images) != len(texts) or not len(images):
        raise ValueError(
            f"there are {len(images)} images and {len(texts)} texts: give one text per image"
        )
    blocks = []
    with eval_mode(model):
        for start in range(0, len(images), block_size):
            rows = slice(start, start + block_size)
            sides = image_inputs(processor, images[rows]), text_inputs(processor, texts[rows])
            image, text = (to_device(side, model.device) for side in sides)
            blocks.append(diagonal_scores(model, image, text).cpu().numpy())  # (n_rows,)
    return np.concatenate(blocks)


def encode(
    model: ScoringModel, processor: Any, side: Literal["image", "text"], items: Sequence[Any]
) -> Any:
    """Encode a block of images or texts; vectors if the model has two towers.

    Args:
        model: The model, on whose device the encodings are; its mode is not changed.
        processor: Its processor.
        side: "image" or "text".
        items: Images, region features, vectors or texts.
    """
    inputs = (image_inputs if side == "image" else text_inputs)(processor, items)
    name = f"get_{side}_features" if model.is_two_tower else f"encode_{side}"
    return getattr(model, name)(**to_device(inputs, model.device))


def to_device(values: Any, device: torch.device | str) -> Any:
    """Move a tensor, or all tensors of a dict or of nested tuples, to a device."""
    if isinstance(values, Tensor):
        return values.to(device)
    if isinstance(values, Mapping):
        return {name: to_device(value, device) for name, value in values.items()}
    parts = [to_device(part, device) for part in values]
    return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)


@contextmanager
def eval_mode(model: ScoringModel) -> Iterator[None]:
    """Eval mode without gradients; the model's mode is restored at exit."""
    was_training = model.training
    model.train(False)
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def length_order(texts: Sequence[str]) -> np.ndarray:
    """Positions of the texts from the shortest to the longest, (n_texts,)."""
    # The number of words is precise enough, and avoids tokenizing every text twice.
    return np.argsort([len(text.split()) for text in texts], kind="stable")


def score_blocks(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    rows: np.ndarray,
    columns: np.ndarray,
    score: Callable[[Any, Any, np.ndarray, np.ndarray], Tensor],
    block_size: int,
    progress: bool = False,
    own: bool = False,
) -> np.ndarray:
    """Encode some images and texts in eval mode and score every block with every block.

    Args:
        model: The model; its mode is restored afterwards.
        processor: Its processor.
        images: Images or region features; slicing must give a list.
        texts: Captions.
        rows: Positions of the images, ascending, (n_rows,); the processes share their blocks.
        columns: Positions of the texts, in the order of their blocks, (n_columns,).
        score: Function of the encodings of a block of images and of a block of texts, and their
            positions, that returns scores (n_block_rows, n_block_columns).
        block_size: Images and texts per block.
        progress: Whether to show a progress bar.
        own: Whether a process returns the rows that it has computed alone.

    Returns:
        Scores (n_rows, n_texts), float32; NaN for the texts that are not in `columns`.
    """
    part = own_rows(len(rows), block_size)
    scores = np.full((part.stop - part.start, len(texts)), np.nan, dtype=np.float32)
    total = len(scores) * len(columns)
    with (
        eval_mode(model),
        tqdm(total=total, desc="scoring", unit="pair", leave=False, disable=not progress) as bar,
    ):
        for text_blocks in _text_parts(model, processor, texts, columns, block_size):
            part_columns = np.concatenate([text_columns for text_columns, _ in text_blocks])
            for start in range(0, len(scores), block_size):
                block = rows[part][start : start + block_size]  # (n_block_rows,)
                image = encode(model, processor, "image", _read(images, block))
                lines = []  # on the device, where one block need not wait for the one before
                for text_columns, text in text_blocks:
                    lines.append(score(image, text, block, text_columns).float())
                    bar.update(len(block) * len(text_columns))
                values = torch.cat(lines, dim=1).cpu().numpy()  # (n_block_rows, n_part_columns)
                scores[start : start + len(block), part_columns] = values
    if own:
        return scores
    return gather_rows(torch.from_numpy(scores), len(rows), block_size, model.device).numpy()


def _text_parts(
    model: ScoringModel, processor: Any, texts: Sequence[str], columns: np.ndarray, block_size: int
) -> Iterator[list[tuple[np.ndarray, Any]]]:
    """Blocks of positions with their encodings, up to `TEXT_BYTES` at a time.

    Vectors of a two-tower model are small: they are all encoded at once, shared by the processes.
    """

    def encode_texts(rows: slice) -> Any:
        return encode(model, processor, "text", [texts[column] for column in columns[rows]])

    n, part, n_bytes = len(columns), [], 0
    if model.is_two_tower and n:
        vectors = share_blocks(encode_texts, n, block_size, model.device)  # (n_texts, size)
        # Cloned, because sums may depend on the memory alignment.
        blocks = [block.clone() for block in vectors.split(block_size)]  # (n_columns, size) each
        starts = range(0, n, block_size)
        yield [(columns[s : s + block_size], b) for s, b in zip(starts, blocks, strict=True)]
        return
    for start in range(0, n, block_size):
        rows = slice(start, start + block_size)
        part.append((columns[rows], encode_texts(rows)))
        n_bytes += _n_bytes(part[-1][1])
        if n_bytes >= TEXT_BYTES:
            yield part
            part, n_bytes = [], 0
    if part:
        yield part


def _n_bytes(encodings: Any) -> int:
    """Size of a tensor or of nested tuples of tensors."""
    if isinstance(encodings, Tensor):
        return encodings.nbytes
    return sum(_n_bytes(part) for part in encodings)


def _read(images: Sequence[Any], rows: np.ndarray) -> Sequence[Any]:
    if rows[-1] - rows[0] == len(rows) - 1:  # consecutive rows are read as a slice
        return images[rows[0] : rows[-1] + 1]
    return [images[row] for row in rows]

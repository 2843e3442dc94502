"""Vectors of pictures and texts from fixed functions, for use without a pretrained network.

Each vector depends on its own picture or text alone, so new ones can be described later. A
pretrained backbone describes both far better.
"""

from collections.abc import Iterable

import datasets
import numpy as np
from datasets.utils import tqdm
from numpy.typing import NDArray
from PIL import Image
from sklearn.feature_extraction.text import HashingVectorizer

from ..modules.pixels import to_rgb
from .columns import (
    CAPTIONS,
    IMAGE,
    IMAGE_FEATURES,
    REGIONS,
    TEXT_FEATURES,
    column_blocks,
    column_values,
    with_columns,
)
from .pictures import open_picture, stored_pictures
from .regions import region_arrays, vector_column, vector_feature

CELLS = 8
ORIENTATIONS = 8
IMAGE_DIM = CELLS * CELLS * (ORIENTATIONS + 3)
WORD_DIM, CHARACTER_DIM = 128, 384
TEXT_DIM = WORD_DIM + CHARACTER_DIM

_SIZE = 64  # side length of a resized picture, in pixels
_FAINT = 0.01  # gradients well below this hardly contribute to their cell

_VECTORIZERS = (
    HashingVectorizer(
        n_features=WORD_DIM, token_pattern=r"\w+", ngram_range=(1, 2), norm=None, dtype=np.float32
    ),
    HashingVectorizer(
        n_features=CHARACTER_DIM,
        analyzer="char_wb",
        ngram_range=(3, 5),
        norm=None,
        dtype=np.float32,
    ),
)


def picture_features(picture: Image.Image) -> NDArray[np.float32]:
    """Describes a picture by its edge orientations and colours.

    The picture is resized to 64 x 64 pixels and split into 8 x 8 cells. Each cell has a histogram
    of 8 gradient orientations (opposite directions count as one, weights are gradient magnitudes,
    the norm is 1) and its mean red, green and blue, subtracted from white.

    Args:
        picture: A picture of any size and mode; composed by `to_rgb`.

    Returns:
        The histograms of all cells, row by row, then their colours: (704,), each from 0 to 1.
    """
    picture = to_rgb(picture)
    if picture.size != (_SIZE, _SIZE):
        picture = picture.resize((_SIZE, _SIZE))
    colours = np.asarray(picture, dtype=np.float32) / 255  # (64, 64, 3)
    down, right = np.gradient(colours.mean(axis=2))  # (64, 64) each
    turn = np.mod(np.arctan2(down, right), np.pi) * (ORIENTATIONS / np.pi)  # (64, 64)
    distance = np.abs(turn[..., None] - np.arange(ORIENTATIONS))
    shares = np.maximum(0, 1 - np.minimum(distance, ORIENTATIONS - distance))  # of the nearest two
    histograms = _cell_means(np.hypot(down, right)[..., None] * shares)  # (64 cells, 8)
    histograms /= np.sqrt(np.square(histograms).sum(axis=1, keepdims=True) + _FAINT**2)
    features = np.concatenate([histograms.ravel(), 1 - _cell_means(colours).ravel()])
    return features.astype(np.float32)


def caption_features(*captions: str) -> NDArray[np.float32]:
    """Describes a text by hashed counts of its words and parts of words.

    The first 128 numbers count words and pairs of words. The other 384 count character 3- to
    5-grams within words. A hash chooses the position and the sign. Texts with common word stems
    are therefore close to each other; synonyms are not.

    Args:
        captions: At least one caption of one picture; their counts are summed.

    Returns:
        A vector of unit norm, (512,); zeros if the captions are blank.

    Raises:
        ValueError: There is no caption.
    """
    if not captions:
        raise ValueError("caption_features got no caption: pass at least one.")
    counts = np.concatenate(
        [np.asarray(v.transform(captions).sum(axis=0)).ravel() for v in _VECTORIZERS]
    )
    norm = np.linalg.norm(counts)
    return (counts / norm if norm > 0 else counts).astype(np.float32)


def with_vectors(dataset: datasets.Dataset, split: str = "train") -> datasets.Dataset:
    """Adds a vector of each side to rows that have none.

    Region features become their mean, pictures `picture_features`, captions `caption_features`.

    Args:
        dataset: Rows that follow the column contract.
        split: Its name, for the progress bar.

    Returns:
        The rows with the additional columns `image_features` and `text_features`.
    """
    result = with_region_means(dataset)
    if IMAGE_FEATURES not in result.column_names and IMAGE in dataset.column_names:
        pictures = tqdm(stored_pictures(dataset), desc=f"Describing pictures of {split}")
        vectors = (picture_features(open_picture(row[IMAGE])) for row in pictures)
        result = _add_vectors(result, IMAGE_FEATURES, vectors)
    if TEXT_FEATURES not in dataset.column_names and CAPTIONS in dataset.column_names:
        texts = tqdm(column_values(dataset, CAPTIONS), desc=f"Describing texts of {split}")
        vectors = (caption_features(*captions) for captions in texts)
        result = _add_vectors(result, TEXT_FEATURES, vectors)
    return result


def with_region_means(dataset: datasets.Dataset) -> datasets.Dataset:
    """Adds the mean region features as `image_features`, unless the rows have that column."""
    if REGIONS not in dataset.column_names or IMAGE_FEATURES in dataset.column_names:
        return dataset
    means = (
        regions.mean(axis=0, dtype=np.float32)
        for _, column in column_blocks(dataset, REGIONS)
        for regions in region_arrays(column)
    )
    return _add_vectors(dataset, IMAGE_FEATURES, means)


def _add_vectors(
    dataset: datasets.Dataset, name: str, vectors: Iterable[np.ndarray]
) -> datasets.Dataset:
    matrix = np.stack(list(vectors))
    column = (vector_column(matrix), vector_feature(matrix.shape[1]))
    return with_columns(dataset, {name: column})


def _cell_means(values: np.ndarray) -> np.ndarray:
    """Means over the cells of (64, 64, channels): (64 cells, channels)."""
    step, channels = _SIZE // CELLS, values.shape[2]
    cells = values.reshape(CELLS, step, CELLS, step, channels)
    return cells.mean(axis=(1, 3)).reshape(-1, channels)

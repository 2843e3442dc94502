"""Vectors of pictures and texts that need no pretrained network, only fixed functions.

They know of no other picture and no other text, so that they serve for new ones too. A pretrained
backbone describes both far better; these make rows usable where there is none.
"""

import datasets
import numpy as np
from datasets.utils import tqdm
from numpy.typing import NDArray
from PIL import Image
from sklearn.feature_extraction.text import HashingVectorizer

from ..modules.pixels import on_white
from .columns import CAPTIONS, IMAGE, IMAGE_FEATURES, REGIONS, TEXT_FEATURES, column_values
from .pictures import open_picture, stored_pictures
from .regions import region_arrays, vector_column

CELLS = 8
ORIENTATIONS = 8
IMAGE_DIM = CELLS * CELLS * (ORIENTATIONS + 3)
WORD_DIM, CHARACTER_DIM = 128, 384
TEXT_DIM = WORD_DIM + CHARACTER_DIM

_SIZE = 64  # pixels of a side that a picture is taken at
_FAINT = 0.01  # gradients well below this leave their cell almost empty
_BLOCK_ROWS = 512

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
    """Describes a picture by the directions of its edges and by its colours.

    The picture is taken at 64 x 64 pixels and cut into 8 x 8 cells. A cell gives a histogram of
    gradient orientations (8 of them, the opposite direction being the same; weighted by the
    strength of the gradient, scaled to unit norm) and its mean red, green and blue, counted down
    from white.

    Args:
        picture: Of any size and mode, seen as `on_white` makes it.

    Returns:
        The histograms of all cells, row by row, then their colours: (704,), each from 0 to 1.
    """
    picture = on_white(picture)
    if picture.size != (_SIZE, _SIZE):
        picture = picture.resize((_SIZE, _SIZE))
    colours = np.asarray(picture, dtype=np.float32) / 255  # (64, 64, 3)
    down, right = np.gradient(colours.mean(axis=2))  # (64, 64) each
    turn = np.mod(np.arctan2(down, right), np.pi) * (ORIENTATIONS / np.pi)  # (64, 64)
    apart = np.abs(turn[..., None] - np.arange(ORIENTATIONS))
    shares = np.maximum(0, 1 - np.minimum(apart, ORIENTATIONS - apart))  # of two orientations
    histograms = _cell_means(np.hypot(down, right)[..., None] * shares)  # (64 cells, 8)
    histograms /= np.sqrt(np.square(histograms).sum(axis=1, keepdims=True) + _FAINT**2)
    features = np.concatenate([histograms.ravel(), 1 - _cell_means(colours).ravel()])
    return features.astype(np.float32)


def caption_features(*captions: str) -> NDArray[np.float32]:
    """Describes a text by its words and parts of words, hashed.

    The first 128 numbers count words and pairs of words, the other 384 count the runs of 3 to 5
    characters within words; a hash says which number, and with which sign. So relatives that share
    a stem are near each other, and synonyms are not.

    Args:
        captions: What is said of one picture, at least one; their counts are summed.

    Returns:
        A vector of unit norm, (512,); zeros where the captions are blank.

    Raises:
        ValueError: No caption is given.
    """
    if not captions:
        raise ValueError("caption_features got no caption: give at least one.")
    counts = np.concatenate(
        [np.asarray(v.transform(captions).sum(axis=0)).ravel() for v in _VECTORIZERS]
    )
    norm = np.linalg.norm(counts)
    return (counts / norm if norm > 0 else counts).astype(np.float32)


def with_vectors(dataset: datasets.Dataset, split: str = "train") -> datasets.Dataset:
    """Gives rows a vector of each side, where they have none.

    Region features become their mean, pictures `picture_features`, captions `caption_features`.

    Args:
        dataset: Rows by the column contract.
        split: Its name, for the progress bar.

    Returns:
        The rows, with `image_features` and `text_features` beside what they had.
    """
    result = with_region_means(dataset)
    if IMAGE_FEATURES not in result.column_names and IMAGE in dataset.column_names:
        pictures = tqdm(stored_pictures(dataset), desc=f"Describing pictures of {split}")
        vectors = [picture_features(open_picture(row[IMAGE])) for row in pictures]
        result = _with_column(result, IMAGE_FEATURES, np.stack(vectors))
    if TEXT_FEATURES not in dataset.column_names and CAPTIONS in dataset.column_names:
        texts = tqdm(column_values(dataset, CAPTIONS), desc=f"Describing texts of {split}")
        vectors = [caption_features(*captions) for captions in texts]
        result = _with_column(result, TEXT_FEATURES, np.stack(vectors))
    return result


def with_region_means(dataset: datasets.Dataset) -> datasets.Dataset:
    """Gives rows of region features their mean as `image_features`, unless they have some."""
    if REGIONS not in dataset.column_names or IMAGE_FEATURES in dataset.column_names:
        return dataset
    rows = dataset.select_columns([REGIONS]).with_format("arrow")
    means = []
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS].column(REGIONS)
        means += [regions.mean(axis=0, dtype=np.float32) for regions in region_arrays(block)]
    return _with_column(dataset, IMAGE_FEATURES, np.stack(means))


def _with_column(
    dataset: datasets.Dataset, name: str, vectors: NDArray[np.float32]
) -> datasets.Dataset:
    feature = datasets.List(datasets.Value("float32"), length=vectors.shape[1])
    done = dataset.add_column(name, vector_column(vectors), feature=feature)
    done.info.description = dataset.info.description
    return done


def _cell_means(values: np.ndarray) -> np.ndarray:
    """Means over the cells of (64, 64, channels): (64 cells, channels)."""
    step, channels = _SIZE // CELLS, values.shape[2]
    cells = values.reshape(CELLS, step, CELLS, step, channels)
    return cells.mean(axis=(1, 3)).reshape(-1, channels)

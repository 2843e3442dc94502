"""A made-up world that can be learned in seconds: pictures of concepts and captions that name them.

An image shows three of its concepts; its regions are noisy copies of their vectors, its captions
name them in any order. Captions are exchanged between images for noise.
"""

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noisy_xmodal import PairDataset
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.noise import CompleteMismatch, Pairs

N_CONCEPTS, REGION_SIZE = 20, 12


def toy_pairs(
    n_images: int = 60,
    noise: CompleteMismatch | None = None,
    seed: int = 0,
    captions_per_image: int = 2,
    n_concepts: int = N_CONCEPTS,
) -> datasets.Dataset:
    """Rows by the column contract, with region features and the oracle."""
    rng = np.random.default_rng(seed)
    vectors = np.random.default_rng(99).normal(size=(n_concepts, REGION_SIZE))
    shown = np.stack([rng.choice(n_concepts, 3, replace=False) for _ in range(n_images)])
    regions = vectors[shown] + 0.1 * rng.normal(size=(n_images, 3, REGION_SIZE))
    captions = [
        " and ".join(f"concept{c}" for c in rng.permutation(shown[image]))
        for image in range(n_images)
        for _ in range(captions_per_image)
    ]
    pairs = Pairs.from_counts([captions_per_image] * n_images)
    if noise is not None:
        pairs = noise.apply(pairs, rng)
    rows = pairs.rows()
    features = datasets.Features(
        {
            "image_id": datasets.Value("string"),
            "regions": region_feature(REGION_SIZE),
            "captions": datasets.List(datasets.Value("string")),
            "is_noisy": datasets.List(datasets.Value("bool")),
        }
    )
    return datasets.Dataset.from_dict(
        {
            "image_id": [str(image) for image in range(n_images)],
            "regions": regions.astype(np.float32).tolist(),
            "captions": [[captions[c] for c in row] for row in rows],
            "is_noisy": [pairs.is_noisy[row].tolist() for row in rows],
        },
        features=features,
    )


def audit_table_of(path: Path, pairs: PairDataset, probability: np.ndarray) -> Path:
    """A table as an audit writes it, worst first, with a clean probability of each pair."""
    order = np.argsort(probability)
    ids, rows, captions = pairs.dataset["image_id"], pairs.row_of_pair, pairs.captions()
    columns = {
        "pair_id": order,
        "image_id": [ids[rows[pair]] for pair in order],
        "caption": [captions[pair] for pair in order],
        "clean_probability": probability[order],
    }
    pq.write_table(pa.table(columns), path)
    return path

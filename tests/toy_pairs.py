"""A made-up world that can be learned in seconds: pictures of concepts and captions that name them.

An image shows three of its concepts; its regions are noisy copies of their vectors, its captions
name them in any order. Captions are exchanged between images for noise.
"""

import datasets
import numpy as np

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

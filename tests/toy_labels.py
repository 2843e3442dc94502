"""A made-up world of pairs with classes: vectors around a centre a class, in either modality."""

import datasets
import numpy as np

from noisy_xmodal import inject_noise

N_CLASSES, IMAGE_SIZE, TEXT_SIZE = 4, 6, 5


def toy_labels(
    n_pairs: int = 120, noise: str | None = None, seed: int = 0, spread: float = 0.7
) -> datasets.Dataset:
    """Rows with both vectors; the class centres are the same for every seed.

    Args:
        n_pairs: Number of rows, classes in turn.
        noise: Noise on the labels, such as "sym_40".
        seed: Seed of the rows and of the noise.
        spread: Standard deviation around a centre.
    """
    centres = np.random.default_rng(7).standard_normal((N_CLASSES, IMAGE_SIZE + TEXT_SIZE))
    rng = np.random.default_rng(seed)
    labels = np.arange(n_pairs) % N_CLASSES
    vectors = centres[labels] + spread * rng.standard_normal((n_pairs, IMAGE_SIZE + TEXT_SIZE))
    kind = datasets.ClassLabel(names=[f"class {k}" for k in range(N_CLASSES)])
    rows = datasets.Dataset.from_dict(
        {
            "image_features": vectors[:, :IMAGE_SIZE].astype(np.float32),
            "text_features": vectors[:, IMAGE_SIZE:].astype(np.float32),
            "image_id": [str(row) for row in range(n_pairs)],
            "image_label": labels,
            "text_label": labels,
            "true_label": labels,
        },
        features=datasets.Features(
            {
                "image_features": datasets.List(datasets.Value("float32"), length=IMAGE_SIZE),
                "text_features": datasets.List(datasets.Value("float32"), length=TEXT_SIZE),
                "image_id": datasets.Value("string"),
                **dict.fromkeys(("image_label", "text_label", "true_label"), kind),
            }
        ),
    )
    return rows if noise is None else inject_noise(rows, noise, seed=seed)

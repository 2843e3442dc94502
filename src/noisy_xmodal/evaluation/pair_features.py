"""[CLS] features of the training pairs and of constructed negatives, drawn in two dimensions.

Source: Guo and Ding, FITEE 2023, Fig. 5b. If a model has not fitted the noise, its features of
wrong pairs are near those of the negatives and not near those of the right pairs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import PairDataset
from ..modules.pair_scoring import image_inputs, text_inputs
from ..training.plots import plot_tsne
from .scoring import eval_mode, to_device


def pair_features(
    model: Any,
    processor: Any,
    pairs: PairDataset,
    image_rows: np.ndarray,
    pair_ids: np.ndarray,
    block_size: int = 64,
) -> np.ndarray:
    """[CLS] features of images with captions, in eval mode.

    Args:
        model: An `RcarModel`; its mode is restored afterwards.
        processor: Its processor.
        pairs: The dataset of the images and captions.
        image_rows: Row of each image, (n,).
        pair_ids: Pair of each caption, (n,).
        block_size: Pairs per block.

    Returns:
        (n, hidden), float32.
    """
    captions, features = pairs.captions(), []
    with eval_mode(model):
        for start in range(0, len(pair_ids), block_size):
            block = slice(start, start + block_size)
            texts = [captions[pair_id] for pair_id in pair_ids[block].tolist()]
            images = pairs.visuals(image_rows[block].tolist())
            inputs = image_inputs(processor, images) | text_inputs(processor, texts)
            own = torch.arange(len(texts), device=model.device)
            output = model(**to_device(inputs, model.device), pairs=torch.stack([own, own], dim=1))
            features.append(output.pair_features.float().cpu().numpy())
    return np.concatenate(features)


def draw_pair_features(
    path: str | Path,
    model: Any,
    processor: Any,
    pairs: PairDataset,
    seed: int = 0,
    n_of_each: int = 500,
) -> None:
    """Draw the [CLS] features of right pairs, wrong pairs and constructed negatives by t-SNE.

    Args:
        path: PNG to write; the points are written to the JSON file of the same name.
        model: An `RcarModel`.
        processor: Its processor.
        pairs: The training pairs; without an oracle, right and wrong pairs are one group.
        seed: Seed of the sample and of t-SNE.
        n_of_each: Maximum number of pairs per group.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    is_noisy = pairs.is_noisy
    groups = (
        {"given pairs": order}
        if is_noisy is None
        else {
            "right pairs (oracle)": order[~is_noisy[order]],
            "wrong pairs (oracle)": order[is_noisy[order]],
        }
    )
    ids = {name: members[:n_of_each] for name, members in groups.items() if len(members)}
    rows = {name: pairs.row_of_pair[members] for name, members in ids.items()}
    texts = order[:n_of_each]
    shifts = rng.integers(1, pairs.n_images, len(texts))
    images = (pairs.row_of_pair[texts] + shifts) % pairs.n_images
    ids["constructed negatives"], rows["constructed negatives"] = texts, images
    features = pair_features(
        model, processor, pairs, np.concatenate([*rows.values()]), np.concatenate([*ids.values()])
    )
    numbers = np.repeat(np.arange(len(ids)), [len(members) for members in ids.values()])
    plot_tsne(path, features, numbers, list(ids), seed, max_points=len(features))

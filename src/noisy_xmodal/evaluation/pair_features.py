"""Features of the training pairs and of constructed negatives, drawn in two dimensions.

The feature of a pair is [CLS] of a cross-encoder, or the vector that a similarity head compares it
by (`pair_vectors`). If a model has not fitted the noise, its features of wrong pairs are near those
of the negatives and not near those of the right pairs. Source: Guo and Ding, FITEE 2023, Fig. 5.
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
    """Features of images with captions, in eval mode.

    Args:
        model: A model that `has_pair_features`; its mode is restored afterwards.
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
            sides = image_inputs(processor, images), text_inputs(processor, texts)
            image, text = (to_device(side, model.device) for side in sides)
            if hasattr(model, "score_pairs"):
                own = torch.arange(len(texts), device=model.device)
                pairs_of_all = torch.stack([own, own], dim=1)
                own_features = model(**image, **text, pairs=pairs_of_all).pair_features
            else:
                encoded = model.encode_image(**image), model.encode_text(**text)
                own_features = model.head.pair_vectors(*encoded)
            features.append(own_features.float().cpu().numpy())
    return np.concatenate(features)


def has_pair_features(model: Any) -> bool:
    """Whether a model has one feature vector for each pair."""
    head = getattr(model, "head", None)
    return hasattr(model, "score_pairs") or hasattr(head, "pair_vectors")


def draw_pair_features(
    path: str | Path,
    model: Any,
    processor: Any,
    pairs: PairDataset,
    seed: int = 0,
    n_of_each: int = 500,
) -> None:
    """Draw the features of right pairs, wrong pairs and constructed negatives by t-SNE.

    Args:
        path: PNG to write; the points are written to the JSON file of the same name.
        model: A model that `has_pair_features`.
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

"""Pictures of a run on pairs with captions, which the card shows."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from ..data import PairDataset
from ..evaluation import plot_retrieval_examples, retrieval_examples, score_matrix
from ..evaluation.pair_features import draw_pair_features
from ..files import write_json
from ..modules.pair_scoring import output_scores

_MOST_IMAGES = 100


def draw_pairs(trainer: Any, rows: Dataset) -> None:
    """Draw the best model's pairs in a plane, and what it finds among some images and captions.

    Args:
        trainer: The trainer, with a single-stream model.
        rows: The split to search, of which the first 100 images are taken.
    """
    draw_features(trainer)
    out, seed = Path(trainer.args.output_dir), trainer.args.seed
    model, processor = trainer.model, trainer.saved_processor()
    pairs = PairDataset(rows.select(range(min(_MOST_IMAGES, len(rows)))))
    scores = score_matrix(model, processor, pairs.images, pairs.captions())
    values = output_scores(model, torch.from_numpy(scores)).numpy()
    examples = retrieval_examples(scores, pairs, seed=seed, values=values)
    write_json(out / "retrieved.json", examples)
    plot_retrieval_examples(out / "retrieved.png", examples, pairs)


def draw_features(trainer: Any) -> None:
    """Draw the features of training pairs and of constructed negatives by the best model.

    Args:
        trainer: The trainer, with a model that has one feature vector for each pair.
    """
    path = Path(trainer.args.output_dir) / "features.png"
    model, processor = trainer.model, trainer.saved_processor()
    try:
        draw_pair_features(path, model, processor, trainer.train_dataset, trainer.args.seed)
    except ValueError as error:
        print(f"features.png is not drawn: {error}")

"""Weights of pairs in training, against steps made by hand."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import set_seed

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.data import PairCollator, PairDataset
from noisy_xmodal.losses import info_nce_loss
from noisy_xmodal.training.objectives import InfoNceObjective
from noisy_xmodal.training.weighted_trainer import WeightedTrainer
from toy_pairs import REGION_SIZE, toy_pairs

RATE = 0.1


@pytest.fixture(scope="module")
def pairs() -> PairDataset:
    return PairDataset(toy_pairs(4))


def make_trainer(pairs: PairDataset, out: Path, weights: np.ndarray | None) -> WeightedTrainer:
    """All pairs are one batch, and plain gradient descent makes one step of it."""
    set_seed(0)
    processor = NcrProcessor(
        RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(pairs.captions())
    )
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_encoder="words",
        word_size=8,
        hidden_size=8,
        dropout=0.0,
        similarity="cosine",
    )
    model = MatchingModel(config)
    args = RobustTrainingArguments(
        str(out),
        robust=False,
        warmup_epochs=0,
        num_train_epochs=1,
        per_device_train_batch_size=len(pairs),
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1e9,
        disable_tqdm=True,
        use_cpu=True,
        save_strategy="no",
        eval_strategy="no",
        load_best_model_at_end=False,
        plot_divisions=False,
        report_to="none",
    )
    descent = torch.optim.SGD(model.parameters(), lr=RATE)
    return WeightedTrainer(
        model,
        args,
        InfoNceObjective(),
        pairs,
        weights,
        processing_class=processor,
        optimizers=(descent, None),
    )


def step_by_hand(
    trainer: WeightedTrainer, pairs: PairDataset, weights: np.ndarray
) -> MatchingModel:
    """The model after one step on the weighted mean of the losses of all pairs."""
    model = copy.deepcopy(trainer.model).train()
    batch = PairCollator(trainer.processing_class)([pairs[i] for i in range(len(pairs))])
    rows = torch.from_numpy(pairs.row_of_pair)
    inputs = {k: v for k, v in batch.items() if k not in ("pair_id", "image_row")}
    losses = info_nce_loss(model(**inputs).logits_per_image, rows[:, None] != rows[None])
    (torch.from_numpy(weights).float() * losses).mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= RATE * parameter.grad
    return model


@pytest.mark.parametrize("weighted", [True, False])
def test_a_step_is_that_of_the_weighted_losses(
    weighted: bool, pairs: PairDataset, tmp_path: Path
) -> None:
    weights = np.array([0.0, 1.0, 0.5, 0.2, 0.0, 0.9, 1.0, 0.3])
    trainer = make_trainer(pairs, tmp_path, weights if weighted else None)
    expected = step_by_hand(trainer, pairs, weights if weighted else np.ones(8)).state_dict()
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    moved = 0.0
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)
        moved = max(moved, float((value - before[name]).abs().max()))
    assert moved > 1e-3


def test_a_pair_without_weight_still_is_a_negative(pairs: PairDataset, tmp_path: Path) -> None:
    weights = np.array([0.0] + [1.0] * 7)
    trainer = make_trainer(pairs, tmp_path, weights)
    word = trainer.processing_class.tokenizer.convert_tokens_to_ids(pairs.captions()[0].split()[0])
    model = step_by_hand(trainer, pairs, weights)
    moved = model.state_dict()
    (name,) = [
        n for n, v in moved.items() if v.shape == (len(trainer.processing_class.tokenizer), 8)
    ]
    assert (moved[name][word] != trainer.model.state_dict()[name][word]).any()


@pytest.mark.parametrize("shape", [(7,), (8, 1), ()])
def test_other_shapes_are_refused(
    shape: tuple[int, ...], pairs: PairDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"pair_weights has the shape .* each of 8 pairs"):
        make_trainer(pairs, tmp_path, np.ones(shape))

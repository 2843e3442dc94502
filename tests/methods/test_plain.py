"""Plain training of one network, and with an audit against steps made by hand."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import set_seed

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.data import PairCollator, PairDataset
from noisy_xmodal.losses import hardest_triplet_loss, info_nce_loss, mean_triplet_loss
from noisy_xmodal.methods import Plain, Scan, VsePlusPlus
from toy_pairs import REGION_SIZE, toy_pairs

RATE = 0.1


@pytest.fixture(scope="module")
def pairs() -> PairDataset:
    return PairDataset(toy_pairs(4))


def make_trainer(pairs: PairDataset, out: Path, weights: np.ndarray | None) -> RobustTrainer:
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
        method_options={"objective": "infonce"},
    )
    model = MatchingModel(config)
    args = RobustTrainingArguments(
        str(out),
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
    return RobustTrainer(
        model,
        args,
        Plain(),
        pairs,
        processing_class=processor,
        optimizers=(descent, None),
        audit=weights,
    )


def step_by_hand(trainer: RobustTrainer, pairs: PairDataset, weights: np.ndarray) -> MatchingModel:
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
    with pytest.raises(ValueError, match=r"`audit` has the shape .* each of 8 pairs"):
        make_trainer(pairs, tmp_path, np.ones(shape))


# Without an audit


def make_unweighted(
    out: Path,
    method: Plain,
    similarity: str = "cosine",
    constants: dict[str, Any] | None = None,
    **options: Any,
) -> RobustTrainer:
    """One tiny network on the made-up world."""
    set_seed(0)
    train = toy_pairs()
    words = [caption for row in train["captions"] for caption in row]
    processor = MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_size=24,
        hidden_size=24,
        similarity=similarity,
        method_options=constants or {},
    )
    arguments = {"num_train_epochs": 4, "warmup_epochs": 1, "per_device_train_batch_size": 32}
    arguments |= {"learning_rate": 1e-2, "disable_tqdm": True, "use_cpu": True}
    return RobustTrainer(
        MatchingModel(config),
        RobustTrainingArguments(output_dir=str(out), plot_divisions=False, **arguments | options),
        method,
        train,
        eval_dataset=toy_pairs(20, seed=1),
        processing_class=processor,
    )


def test_plain_training_of_one_network_learns(tmp_path: Path) -> None:
    for method, similarity, constants in (
        (VsePlusPlus(), "cosine", {}),
        (Scan(), "scan_t2i", {}),
        (Plain(), "cosine", {"objective": "infonce"}),
    ):
        out = tmp_path / method.title
        trainer = make_unweighted(out, method, similarity, constants)
        before = trainer.evaluate()["eval_rsum"]
        trainer.train()
        assert trainer.evaluate()["eval_rsum"] > before + 50, method.title
        assert not (out / "divisions").exists()
        assert "loss" not in trainer.pair_state


def test_warm_up_and_later_loss_are_the_objectives_own(tmp_path: Path) -> None:
    trainer = make_unweighted(tmp_path, Plain(), constants={"margin": 0.3})
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    rows = batch["image_row"]
    inputs = {k: v for k, v in batch.items() if k not in ("pair_id", "image_row", "peer")}
    scores = trainer.model(**inputs).scores
    shared_texts = trainer.train_dataset.shared_texts
    given = shared_texts.match(rows[:, None].numpy(), batch["pair_id"][None].numpy())
    negatives = ~torch.from_numpy(given)
    for epoch, loss in ((0, mean_triplet_loss), (1, hardest_triplet_loss)):
        trainer.state.epoch = epoch
        expected = loss(scores, 0.3, negatives).mean()
        assert torch.allclose(trainer.compute_loss(trainer.model, batch), expected)


def test_a_division_that_cannot_be_left_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`robust` is False: the method divides nothing"):
        make_unweighted(tmp_path, Plain(), robust=False)

"""The trainer on one network: plain baselines, and the division alone."""

import numpy as np
import torch
from transformers import set_seed

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    MatchingTrainer,
    RegionFeatureProcessor,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.losses import hardest_triplet_loss, mean_triplet_loss
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training.objectives import InfoNceObjective, TripletObjective
from toy_pairs import REGION_SIZE, toy_pairs


def make_trainer(out, objective, noise=None, similarity="cosine", **options):
    """One tiny network on the made-up world."""
    set_seed(0)
    train = toy_pairs(noise=noise)
    words = [caption for row in train["captions"] for caption in row]
    processor = MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_size=24,
        hidden_size=24,
        similarity=similarity,
    )
    arguments = {"num_train_epochs": 4, "warmup_epochs": 1, "per_device_train_batch_size": 32}
    arguments |= {"learning_rate": 1e-2, "disable_tqdm": True, "use_cpu": True}
    return MatchingTrainer(
        MatchingModel(config),
        RobustTrainingArguments(output_dir=str(out), plot_divisions=False, **arguments | options),
        objective=objective,
        train_dataset=train,
        eval_dataset=toy_pairs(20, seed=1),
        processing_class=processor,
    )


def test_plain_training_of_one_network_learns(tmp_path):
    for name, similarity, objective in (
        ("vse++", "cosine", TripletObjective()),
        ("scan", "scan_t2i", TripletObjective()),
        ("infonce", "cosine", InfoNceObjective()),
    ):
        trainer = make_trainer(tmp_path / name, objective, similarity=similarity, robust=False)
        before = trainer.evaluate()["eval_rsum"]
        trainer.train()
        assert trainer.evaluate()["eval_rsum"] > before + 50, name


def test_warm_up_and_later_loss_are_the_objectives_own(tmp_path):
    trainer = make_trainer(tmp_path, TripletObjective(margin=0.3), robust=False)
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


def test_equal_texts_of_other_images_are_no_negatives(tmp_path):
    trainer = make_trainer(tmp_path, TripletObjective(), robust=False)
    pairs = trainer.train_dataset
    captions, rows = pairs.captions(), pairs.row_of_pair
    n_images = rows.max() + 1
    given = [{c for c, r in zip(captions, rows, strict=True) if r == i} for i in range(n_images)]
    n_masked = 0
    for batch in trainer.get_train_dataloader():
        ids = batch["pair_id"].tolist()
        assert batch["image_row"].tolist() == rows[ids].tolist()
        made = trainer.make_batch(0, {k: batch[k] for k in ("pair_id", "image_row")})
        expected = [[captions[j] not in given[rows[i]] for j in ids] for i in ids]
        assert made.negatives.tolist() == expected
        n_masked += int((rows[ids][:, None] != rows[ids]).sum()) - int(made.negatives.sum())
    assert n_masked > 0


def test_division_alone_leaves_noisy_pairs_as_negatives(tmp_path):
    trainer = make_trainer(tmp_path, InfoNceObjective(), CompleteMismatch(0.4, "caption"))
    trainer.train()
    batch = next(iter(trainer.get_train_dataloader()))
    weights = trainer.sample_weights(
        trainer.make_batch(0, {k: batch[k] for k in ("pair_id", "image_row")})
    )
    np.testing.assert_array_equal(
        weights, trainer.pair_state["is_clean"][0][batch["pair_id"].numpy()]
    )
    assert 0 < weights.sum() < len(weights)


def test_without_progress_bars_every_epoch_is_reported_in_words(tmp_path, capsys):
    noise = CompleteMismatch(0.4)
    make_trainer(tmp_path, InfoNceObjective(), noise, num_train_epochs=2).train()
    printed = capsys.readouterr().out
    assert "epoch  1.0  judged noisy" in printed
    assert "truly 40.0%" in printed
    assert printed.count("validation rSum") == 2

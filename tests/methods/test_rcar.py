"""RCAR's training: its equations against slow recomputation, its phases, and what it refuses."""

import json
import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import (
    BertConfig,
    ResNetConfig,
    TrainerCallback,
    ViTImageProcessorPil,
    set_seed,
)

from noisy_xmodal import (
    MatchingProcessor,
    PairDataset,
    RcarConfig,
    RcarModel,
    RcarProcessor,
    RcarTrainingArguments,
    RegionFeatureProcessor,
    RobustTrainer,
    train_word_tokenizer,
)
from noisy_xmodal.data import DatasetError, append_boxes
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.methods import Rcar, rcar
from noisy_xmodal.methods.rcar import RcarBatch
from noisy_xmodal.methods.similar_pairs import SimilarPairs
from noisy_xmodal.metrics import retrieval_metrics
from noisy_xmodal.modules.text_limits import TruncationCount
from noisy_xmodal.noise import CompleteMismatch, Division
from noisy_xmodal.training import loss_course
from tiny_rcar import pair_inputs
from toy_pairs import REGION_SIZE, audit_table_of, toy_pairs

NOISE = CompleteMismatch(0.4, "caption")
#: Neither validation nor checkpoints.
BARE = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
TARGETS = ("loss", "prediction", "clean_probability", "is_clean", "target")


def tokenizer(**options: Any):
    words = [caption for row in toy_pairs()["captions"] for caption in row]
    return train_word_tokenizer(words, **{"mask": True} | options)


def make_trainer(
    out: Path,
    train: datasets.Dataset | None = None,
    processor: RcarProcessor | None = None,
    callbacks=(),
    method: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    n_concepts: int = 20,
    similar: SimilarPairs | None = None,
    **options: Any,
) -> RobustTrainer:
    """A tiny RCAR on the made-up world, 4 steps an epoch."""
    set_seed(0)
    if train is None:
        train = toy_pairs(16, noise=NOISE, n_concepts=n_concepts)
    if processor is None:
        processor = RcarProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer())
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"initializer_range": 0.2}
    regions = {} if "vision_config" in (method or {}) else {"region_size": REGION_SIZE}
    text = {"vocab_size": len(processor.tokenizer), "num_hidden_layers": 1} | (text or {})
    text = {"max_position_embeddings": 16} | text
    config = RcarConfig(
        **{
            "num_hidden_layers": 1,
            "text_config": BertConfig(**sizes | text),
        }
        | sizes
        | regions
        | (method or {})
    )
    arguments = {
        "num_train_epochs": 5,
        "warmup_epochs": 2,
        "mlm_epochs": 3,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "disable_tqdm": True,
        "use_cpu": True,
        "plot_divisions": False,
        "track_losses": False,
    }
    return RobustTrainer(
        RcarModel(config),
        RcarTrainingArguments(output_dir=str(out), **arguments | options),
        Rcar(similar),
        train,
        eval_dataset=toy_pairs(6, seed=1, n_concepts=n_concepts),
        processing_class=processor,
        callbacks=callbacks,
    )


def weights(trainer: RobustTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((out / name).read_text())


@pytest.fixture(scope="module")
def trainer(tmp_path_factory) -> RobustTrainer:
    """A trainer that has not trained; each test puts what it needs into its pair state."""
    return make_trainer(tmp_path_factory.mktemp("untrained"))


def test_the_table_of_an_audit_says_which_labels_are_refurbished(tmp_path):
    train = toy_pairs(16, noise=NOISE)
    pairs = PairDataset(train)
    table = audit_table_of(tmp_path / "audit.parquet", pairs, np.where(pairs.is_noisy, 0.0, 1.0))
    trainer = make_trainer(tmp_path / "run", train, audit_table=str(table), num_train_epochs=4)
    trainer.train()
    targets, predictions = (trainer.pair_state[name][0] for name in ("target", "prediction"))
    np.testing.assert_array_equal(targets, np.where(pairs.is_noisy, predictions >= 0.5, 1))


# What it learns


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> RobustTrainer:
    """Eight epochs of warm-up and two with refurbished labels, in a world of eight concepts."""
    trainer = make_trainer(
        tmp_path_factory.mktemp("learned"),
        train=toy_pairs(140, noise=NOISE, n_concepts=8),
        n_concepts=8,
        method={
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "negatives_per_positive": 5,
        },
        text={"hidden_size": 32, "num_hidden_layers": 0, "hidden_dropout_prob": 0.0},
        num_train_epochs=10,
        warmup_epochs=8,
        mlm_epochs=0,
        per_device_train_batch_size=16,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_steps=8,
        track_losses=True,
        **BARE,
    )
    trainer.train()
    return trainer


def test_the_posterior_finds_the_wrong_pairs(learned):
    out = Path(learned.args.output_dir)
    divisions = rows_of(out, "divisions/divisions.json")
    assert [row["epoch"] for row in divisions] == [8, 9]
    assert max(row["auroc"] for row in divisions) > 0.8
    last = rows_of(out, "divisions/refurbishments.json")[-1]
    assert last["refurbished_precision"] > 0.8
    assert last["refurbished_recall"] > 0.15


def test_it_learns_to_retrieve_from_noisy_pairs(learned):
    test = toy_pairs(40, seed=2, n_concepts=8)
    blind = retrieval_metrics(np.random.default_rng(0).random((40, 80)), np.arange(80) // 2)
    assert learned.evaluator(learned.model, test)["rsum"] > 3 * blind["rsum"]


def test_the_losses_of_wrong_pairs_part_from_those_of_right_ones(learned):
    rows = rows_of(Path(learned.args.output_dir), "losses.json")
    assert [row["epoch"] for row in rows] == list(range(10))
    assert abs(rows[0]["rcar"]["auroc"] - 0.5) < 0.15
    assert rows[-1]["rcar"]["auroc"] > 0.7
    assert rows[-1]["rcar"]["wrong"]["p50"] > 1.5 * rows[-1]["rcar"]["right"]["p50"]
    assert (rows[-1]["rcar"]["right"]["count"], rows[-1]["rcar"]["wrong"]["count"]) == (168, 112)


def test_labels_are_eq_11_by_hand(learned):
    state = {name: learned.pair_state[name][0] for name in TARGETS}
    assert learned.pair_state.shape == (1, 280)
    for i in range(280):
        z = 1 if state["prediction"][i] >= 0.5 else 0
        w = 1 - state["clean_probability"][i]
        assert state["target"][i] == (1 if (1 - w) * 1 + w * z >= 0.5 else 0)
        assert state["prediction"][i] == pytest.approx(math.exp(-state["loss"][i]))
        assert state["is_clean"][i] == (w <= 0.5)
    assert 0 < state["target"].sum() < 280


def test_the_saved_model_gives_the_same_metrics(learned, tmp_path):
    learned.save_model(str(tmp_path))
    again = RcarModel.from_pretrained(tmp_path)
    validation = toy_pairs(6, seed=1, n_concepts=8)
    assert learned.evaluator(again, validation) == learned.evaluator(learned.model, validation)


# Eq. 2, 3 and 12


def made_up_batch(anchor: list[int], n_pairs: int = 5) -> tuple[Any, RcarBatch, torch.Tensor]:
    """Logits of pairs and of masked words, their batch, and where words are masked."""
    input_ids = torch.randint(5, 11, (n_pairs, 4))
    is_masked = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]])
    is_masked = is_masked[:n_pairs].bool()
    output = SimpleNamespace(
        pair_logits=2 * torch.randn(n_pairs + len(anchor), 2),
        word_logits=2 * torch.randn(int(is_masked.sum()), 11),
    )
    batch = RcarBatch(
        peer=0,
        pair_id=torch.arange(n_pairs),
        negatives=~torch.eye(n_pairs, dtype=torch.bool),
        inputs={"input_ids": input_ids},
        anchor=torch.tensor(anchor, dtype=torch.long),
        is_masked=is_masked,
    )
    return output, batch, is_masked


def slow_matching(output: Any, anchor: list[int], targets: list[float]) -> list[float]:
    """Half the loss of each pair and half the mean of its negatives'."""
    logits, found = output.pair_logits.tolist(), []
    for i, target in enumerate(targets):
        total = math.exp(logits[i][0]) + math.exp(logits[i][1])
        right = math.exp(logits[i][1]) / total
        loss = -target * math.log(right) - (1 - target) * math.log(1 - right)
        made = []
        for k, made_for in enumerate(anchor, len(targets)):
            if made_for == i:
                total = math.exp(logits[k][0]) + math.exp(logits[k][1])
                made.append(-math.log(math.exp(logits[k][0]) / total))
        found.append((loss + (sum(made) / len(made) if made else 0)) / 2)
    return found


def slow_words(output: Any, batch: RcarBatch, is_masked: torch.Tensor) -> list[float]:
    n_pairs, n_masked = len(is_masked), int(is_masked.sum())
    found, position = [0.0] * n_pairs, 0
    for i in range(n_pairs):
        for k in range(is_masked.shape[1]):
            if is_masked[i, k]:
                logits = output.word_logits[position].tolist()
                word = int(batch.inputs["input_ids"][i, k])
                share = math.exp(logits[word]) / sum(map(math.exp, logits))
                found[i] -= math.log(share) * n_pairs / n_masked
                position += 1
    return found


#: For which pair each negative is made, and how many are made for a pair that has some.
ANCHORS = pytest.mark.parametrize(
    ("anchor", "per_positive"),
    [
        ([0, 1, 2, 3, 4], 1),
        ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], 2),
        ([0, 0, 0, 3, 3, 3], 3),
        ([], 1),
    ],
    ids=["one each", "two each", "three for some", "none"],
)


@ANCHORS
@pytest.mark.parametrize(
    "targets", [[1, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0.9, 0.3, 0.0, 1.0, 0.5]], ids=str
)
def test_matching_losses_are_eq_12(trainer, monkeypatch, anchor, per_positive, targets):
    monkeypatch.setattr(trainer.method.constants, "negatives_per_positive", per_positive)
    output, batch, _ = made_up_batch(anchor)
    losses = trainer.method.matching_losses(output, batch, torch.tensor(targets, dtype=torch.float))
    assert losses.tolist() == pytest.approx(slow_matching(output, anchor, targets), rel=1e-5)


@pytest.mark.parametrize("per_positive", [1, 3])
def test_both_classes_weigh_alike_whatever_the_number_of_negatives(
    trainer, monkeypatch, per_positive
):
    monkeypatch.setattr(trainer.method.constants, "negatives_per_positive", per_positive)
    anchor = [i for i in range(5) for _ in range(per_positive)]
    output, batch, _ = made_up_batch(anchor)
    found = trainer.method.matching_losses(output, batch, torch.ones(5)).mean()
    labels = torch.tensor([1] * 5 + [0] * len(anchor))
    losses = functional.cross_entropy(output.pair_logits, labels, reduction="none")
    torch.testing.assert_close(found, (losses[:5].mean() + losses[5:].mean()) / 2)


def test_constructed_negatives_stay_wrong_whatever_the_labels_of_the_pairs(trainer):
    anchor = [0, 1, 2, 3, 4]
    output, batch, _ = made_up_batch(anchor)
    output.pair_logits.requires_grad_()
    for value in (0.0, 1.0):
        output.pair_logits.grad = None
        trainer.method.matching_losses(output, batch, torch.full((5,), value)).sum().backward()
        gradient = output.pair_logits.grad
        assert (gradient[5:, 0] < 0).all(), "a step makes 'not aligned' likelier"
        assert ((gradient[:5, 1] < 0) == (value == 1)).all()


def test_word_losses_are_eq_3(trainer):
    output, batch, is_masked = made_up_batch([])
    losses = trainer.method.word_losses(output, batch, is_masked)
    assert losses.tolist() == pytest.approx(slow_words(output, batch, is_masked), rel=1e-5)
    words = batch.inputs["input_ids"][is_masked]
    expected = functional.cross_entropy(output.word_logits, words)
    torch.testing.assert_close(losses.mean(), expected)


@pytest.mark.parametrize("is_sum", [False, True])
def test_processes_that_share_a_batch_have_its_loss_on_average(trainer, monkeypatch, is_sum):
    anchor, reduce = [0, 0, 1, 3, 4], torch.sum if is_sum else torch.mean
    output, batch, is_masked = made_up_batch(anchor)
    method, targets = trainer.method, torch.linspace(0, 1, 5)

    def total(output, batch, targets, is_masked):
        losses = method.matching_losses(output, batch, targets) * batch.share
        return reduce(losses + method.word_losses(output, batch, is_masked))

    whole = total(output, batch, targets, is_masked)
    given, negatives = output.pair_logits.split([5, len(anchor)])
    monkeypatch.setattr(rcar, "n_processes", lambda: 2)
    totals = []
    for own in (torch.arange(5) < 3, torch.arange(5) >= 3):
        monkeypatch.setattr(rcar, "own_in_batch", lambda *_, own=own: own)
        part, *logits, masked = rcar._own_share(
            batch, given, negatives, {"is_masked": is_masked}, is_sum
        )
        part = replace(part, inputs={"input_ids": batch.inputs["input_ids"][own]})
        words = output.word_logits[own[is_masked.nonzero()[:, 0]]]
        part_output = SimpleNamespace(pair_logits=torch.cat(logits), word_logits=words)
        totals.append(total(part_output, part, targets[own], masked["is_masked"]))
    torch.testing.assert_close(sum(totals) / 2, whole)


def test_without_masked_words_there_is_no_loss_of_words(trainer):
    output, batch, is_masked = made_up_batch([])
    output.word_logits = output.word_logits[:0]
    losses = trainer.method.word_losses(output, batch, torch.zeros_like(is_masked))
    assert losses.tolist() == [0.0] * 5


@ANCHORS
@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("targets", [None, [0.9, 0.3, 0.0, 1.0, 0.5]], ids=str)
def test_the_loss_of_a_pair_is_both_tasks_together(
    trainer, monkeypatch, anchor, per_positive, weight, targets
):
    monkeypatch.setattr(trainer.method.constants, "negatives_per_positive", per_positive)
    monkeypatch.setattr(trainer.method.constants, "mask_weight", weight)
    monkeypatch.setattr(trainer, "_tracked", {})
    output, batch, is_masked = made_up_batch(anchor)

    def losses_of(batch: RcarBatch) -> torch.Tensor:
        if targets is None:
            return trainer.method.warm_up_loss(output, batch)
        return trainer.method.both_losses(output, batch, torch.tensor(targets))

    matching = slow_matching(output, anchor, targets or [1] * 5)
    words = slow_words(output, batch, is_masked)
    both = [a + weight * b for a, b in zip(matching, words, strict=True)]
    found = losses_of(batch)
    assert found.tolist() == pytest.approx(both, rel=1e-5)
    without_words = RcarBatch(**vars(batch) | {"is_masked": None})
    found = losses_of(without_words)
    assert found.tolist() == pytest.approx(matching, rel=1e-5)


def collated(trainer: RobustTrainer, pair_ids: list[int]) -> dict[str, torch.Tensor]:
    return trainer.data_collator(trainer.train_dataset.__getitems__(pair_ids))


@pytest.mark.parametrize("learns_words", [True, False])
def test_a_step_reads_given_pairs_first_and_then_negatives(trainer, monkeypatch, learns_words):
    monkeypatch.setattr(trainer.method, "learns_words", learns_words)
    model = trainer.model.eval()
    inputs = collated(trainer, [0, 1, 5, 8, 9, 30])
    seen = {}
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        (output,), (batch,) = trainer._run_networks(model, dict(inputs))
    hook.remove()
    assert seen["pairs"][:6].tolist() == [[i, i] for i in range(6)]
    assert batch.anchor.tolist() == list(range(6))
    rows = inputs["image_row"]
    for logits, (i, t) in zip(output.pair_logits, seen["pairs"].tolist(), strict=True):
        with torch.no_grad():
            alone = model(**pair_inputs(inputs, i, t))
        torch.testing.assert_close(logits[1] - logits[0], alone.logits_per_image[0, 0])
    for made_for, (i, t) in zip(batch.anchor.tolist(), seen["pairs"][6:].tolist(), strict=True):
        assert made_for in (i, t)
        assert rows[i] != rows[t]
    assert (batch.is_masked is not None) == ("masked_input_ids" in seen) == learns_words
    if learns_words:
        mask_id = trainer.processing_class.tokenizer.mask_token_id
        assert torch.equal(seen["masked_input_ids"] == mask_id, batch.is_masked)
        kept = ~batch.is_masked
        assert torch.equal(seen["masked_input_ids"][kept], inputs["input_ids"][kept])
        assert output.word_logits.shape == (int(batch.is_masked.sum()), len(tokenizer()))
        assert mask_id not in seen["input_ids"]


def test_a_batch_of_one_image_trains_on_its_pairs_alone(trainer):
    (output,), (batch,) = trainer._run_networks(trainer.model, collated(trainer, [4, 5]))
    assert output.pair_logits.shape == (2, 2)
    assert len(batch.anchor) == 0
    assert trainer.method.warm_up_loss(output, batch).isfinite().all()
    trainer._tracked.clear()


def test_the_loss_pass_judges_every_pair_by_itself(trainer):
    found = trainer.loss_pass()
    inputs = collated(trainer, list(range(32)))
    trainer.model.eval()
    for i in range(32):
        with torch.no_grad():
            score = trainer.model(**pair_inputs(inputs, i, i)).scores[0, 0]
        assert found["prediction"][0, i] == pytest.approx(float(score), rel=1e-5)
        assert found["loss"][0, i] == pytest.approx(-math.log(score), rel=1e-5)
    assert found["loss"].shape == found["prediction"].shape == (1, 32)


def test_the_loss_pass_draws_no_random_numbers_and_restores_training_mode(trainer):
    trainer.model.train()
    before = torch.get_rng_state()
    first, second = trainer.loss_pass(), trainer.loss_pass()
    assert torch.equal(before, torch.get_rng_state())
    assert trainer.model.training
    for name in ("loss", "prediction"):
        np.testing.assert_array_equal(first[name], second[name])


# Eq. 4 to 11


def put(trainer: RobustTrainer, losses: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Labels by made-up losses and predictions of the 32 pairs, through the mixture."""
    (division,) = trainer.method.divide(losses[None])
    trainer.pair_state.keep_division([division])
    trainer.pair_state["prediction"] = prediction[None]
    targets = trainer.method.targets()
    assert targets.shape == (1, 32)
    assert np.isfinite(division.clean_probability).all()
    assert np.isfinite(targets).all()
    return targets[0]


@pytest.mark.parametrize("refurbishment", ["hard", "soft"])
def test_labels_follow_prediction_and_noise_probability(trainer, monkeypatch, refurbishment):
    monkeypatch.setattr(trainer.method.constants, "refurbishment", refurbishment)
    rng = np.random.default_rng(0)
    prediction, clean = rng.random((2, 1, 32))
    prediction[0, :4], clean[0, :4] = [0.5, 0.5, 0.2, 0.2], [0.2, 0.5, 0.5, 0.2]
    trainer.pair_state["prediction"] = prediction
    trainer.pair_state.keep_division([Division(clean[0], clean[0] >= 0.5)])
    targets = trainer.method.targets()
    for i in range(32):
        z, w = prediction[0, i], 1 - clean[0, i]
        if refurbishment == "soft":
            assert targets[0, i] == pytest.approx((1 - w) + w * z)
        else:
            assert targets[0, i] == (0 if z < 0.5 and w > 0.5 else 1)
    assert 0 < (targets < 0.5).sum() < 32


@pytest.mark.parametrize(("n_relabelled", "warns"), [(32, True), (20, True), (19, False)])
def test_a_model_that_doubts_most_pairs_causes_a_warning(trainer, caplog, n_relabelled, warns):
    trainer.pair_state["prediction"] = np.full((1, 32), 0.3)
    clean = np.where(np.arange(32) < n_relabelled, 0.1, 0.9)
    trainer.pair_state.keep_division([Division(clean, clean >= 0.5)])
    with caplog.at_level(logging.WARNING, logger="noisy_xmodal"):
        assert (trainer.method.targets() == 0).sum() == n_relabelled
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warns
    if warns:
        share = round(100 * n_relabelled / 32)
        assert messages[0].startswith(f"{share}% of the pairs are relabelled as not aligned")
        assert "`warmup_epochs`" in messages[0]


@pytest.mark.parametrize("mixture", ["beta", "gaussian"])
@pytest.mark.parametrize("n_wrong", [4, 13])
def test_pairs_of_clearly_higher_losses_are_relabelled_and_no_others(
    trainer, monkeypatch, mixture, n_wrong
):
    monkeypatch.setattr(trainer.method.constants, "mixture", mixture)
    rng = np.random.default_rng(0)
    is_wrong = rng.permutation(32) < n_wrong
    losses = np.where(is_wrong, rng.normal(3.0, 0.3, 32), np.abs(rng.normal(0.2, 0.08, 32)))
    targets = put(trainer, losses, np.exp(-losses))
    np.testing.assert_array_equal(targets == 0, is_wrong)


@pytest.mark.parametrize("mixture", ["beta", "gaussian"])
def test_pairs_that_the_model_believes_keep_their_labels(trainer, monkeypatch, mixture):
    monkeypatch.setattr(trainer.method.constants, "mixture", mixture)
    losses = np.minimum(np.random.default_rng(0).exponential(0.1, 32), 0.69)
    targets = put(trainer, losses, np.exp(-losses))
    assert (targets == 1).all()


def test_equal_losses_relabel_nothing_and_say_so(trainer):
    with pytest.warns(UserWarning, match="All pairs count as clean"):
        targets = put(trainer, np.full(32, 2.0), np.full(32, math.exp(-2.0)))
    assert (targets == 1).all()


@pytest.mark.parametrize("outlier", [9.0, 1e6])
def test_one_large_loss_among_equal_ones_relabels_nothing(trainer, outlier):
    losses = np.full(32, 0.3)
    losses[7] = outlier
    with pytest.warns(UserWarning, match="equal after clipping.*All pairs count as clean"):
        targets = put(trainer, losses, np.exp(-losses))
    assert (targets == 1).all()


def test_one_huge_loss_moves_no_other_label(trainer):
    rng = np.random.default_rng(1)
    is_wrong = np.arange(32) % 3 == 0
    losses = np.where(is_wrong, rng.normal(3.0, 0.3, 32), np.abs(rng.normal(0.2, 0.08, 32)))
    losses[0] = 4.0
    expected = put(trainer, losses, np.exp(-losses))
    losses[0] = 1e6
    np.testing.assert_array_equal(put(trainer, losses, np.exp(-losses)), expected)
    np.testing.assert_array_equal(expected == 0, is_wrong)


@pytest.mark.parametrize("mixture", ["beta", "gaussian"])
def test_pairs_that_are_all_doubted_leave_finite_labels(trainer, monkeypatch, mixture):
    """A mixture must divide them all the same: those of lower losses keep their labels."""
    monkeypatch.setattr(trainer.method.constants, "mixture", mixture)
    losses = np.random.default_rng(0).normal(3.0, 0.2, 32)
    targets = put(trainer, losses, np.exp(-losses))
    assert set(targets) <= {0.0, 1.0}
    assert targets[losses.argmin()] == 1
    assert (np.diff(targets[np.argsort(losses)]) <= 0).all()


@pytest.mark.parametrize("loss_range", [(0, 100), (5, 95), (20, 80)])
def test_losses_are_normalised_by_the_percentiles_of_the_config(trainer, monkeypatch, loss_range):
    monkeypatch.setattr(trainer.method.constants, "loss_range", loss_range)
    losses = np.random.default_rng(0).gamma(2.0, 0.5, (1, 32))
    (division,) = trainer.method.divide(losses)
    ordered = np.sort(losses[0])
    for found, percent in zip(
        (division.posterior.lowest_loss, division.posterior.highest_loss), loss_range, strict=True
    ):
        place = percent / 100 * 31
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        assert found == pytest.approx(low + (high - low) * (place - math.floor(place)))
    assert (np.diff(division.clean_probability[np.argsort(losses[0])]) <= 0).all()


@pytest.mark.parametrize("prediction", ["epoch", "batch"])
@pytest.mark.parametrize("refurbishment", ["hard", "soft"])
def test_a_step_aims_at_the_labels_of_the_epoch_or_of_its_own_output(
    trainer, monkeypatch, prediction, refurbishment
):
    monkeypatch.setattr(trainer.method.constants, "prediction", prediction)
    monkeypatch.setattr(trainer.method.constants, "refurbishment", refurbishment)
    rng = np.random.default_rng(0)
    trainer.pair_state["prediction"], clean = rng.random((2, 1, 32))
    trainer.pair_state.keep_division([Division(clean[0], clean[0] >= 0.5)])
    trainer.pair_state["target"] = trainer.method.targets()
    output, batch, _ = made_up_batch([0, 1, 2, 3, 4])
    output.pair_logits.requires_grad_()
    pair_id = torch.tensor([7, 0, 31, 12, 5])
    batch = RcarBatch(**vars(batch) | {"pair_id": pair_id})
    monkeypatch.setattr(trainer.method, "both_losses", lambda output, batch, labels: labels)
    targets = trainer.method.loss(output, batch)
    assert not targets.requires_grad
    for k, i in enumerate(pair_id.tolist()):
        z, w = trainer.pair_state["prediction"][0, i], 1 - clean[0, i]
        if prediction == "batch":
            z = float(output.pair_logits[k].detach().softmax(dim=0)[1])
        hard = 0.0 if z < 0.5 and w > 0.5 else 1.0
        expected = hard if refurbishment == "hard" else (1 - w) + w * z
        assert float(targets[k]) == pytest.approx(expected, abs=1e-6)


# Phases


class Spy:
    """Notes what the model reads in each epoch, by mode, and which epochs refurbish labels."""

    def __init__(self) -> None:
        self.masked: dict[str, list[tuple[int, bool]]] = {"train": [], "eval": []}
        self.refurbished: list[int] = []
        self.aimed: list[int] = []

    def attach(self, trainer: RobustTrainer) -> None:
        def read(module, args, kwargs):
            mode = "train" if module.training else "eval"
            self.masked[mode].append((self.epoch(trainer), "masked_input_ids" in kwargs))

        method, epoch = trainer.method, partial(self.epoch, trainer)
        refurbish, aim = method.targets, method.loss
        trainer.model.register_forward_pre_hook(read, with_kwargs=True)
        method.targets = lambda: self.refurbished.append(epoch()) or refurbish()
        method.loss = lambda *of: self.aimed.append(epoch()) or aim(*of)

    @staticmethod
    def epoch(trainer: RobustTrainer) -> int:
        return trainer.state.global_step // 4


@pytest.mark.parametrize(("mlm_epochs", "warmup_epochs"), [(0, 1), (3, 1), (2, 3)])
def test_words_are_masked_first_and_labels_refurbished_after_the_warm_up(
    tmp_path, mlm_epochs, warmup_epochs
):
    """Without masked words, a tokenizer without a mask token will do."""
    words = tokenizer(mask=mlm_epochs > 0)
    trainer = make_trainer(
        tmp_path,
        processor=RcarProcessor(RegionFeatureProcessor(REGION_SIZE), words),
        num_train_epochs=4,
        mlm_epochs=mlm_epochs,
        warmup_epochs=warmup_epochs,
        **BARE,
    )
    spy = Spy()
    spy.attach(trainer)
    trainer.train()
    assert spy.masked["train"] == [(e, e < mlm_epochs) for e in range(4) for _ in range(4)]
    assert spy.masked["eval"], "the loss pass reads pairs by forward"
    assert not any(masked for _, masked in spy.masked["eval"])
    assert spy.refurbished == list(range(warmup_epochs, 4))
    assert spy.aimed == [e for e in range(warmup_epochs, 4) for _ in range(4)]
    logs = [row for row in trainer.state.log_history if "loss" in row]
    assert ["word_loss" in row for row in logs] == [e < mlm_epochs for e in range(4)]
    for row in logs:
        both = row["matching_loss"] + row.get("word_loss", 0.0)
        assert row["loss"] == pytest.approx(both, rel=1e-4)
    divided = [row["epoch"] for row in rows_of(tmp_path, "divisions/divisions.json")]
    assert divided == list(range(warmup_epochs, 4))


def test_plain_training_keeps_the_course_of_the_losses_and_divides_nothing(tmp_path):
    trainer = make_trainer(
        tmp_path,
        robust=False,
        num_train_epochs=2,
        warmup_epochs=7,
        mlm_epochs=1,
        track_losses=True,
        **BARE,
    )
    trainer.train()
    assert [row["epoch"] for row in rows_of(tmp_path, "losses.json")] == [0, 1]
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "is_clean" not in trainer.pair_state
    assert "target" not in trainer.pair_state
    assert not (tmp_path / "divisions").exists()


def test_without_the_course_the_loss_pass_begins_with_the_refurbisher(tmp_path):
    trainer = make_trainer(tmp_path, num_train_epochs=3, **BARE)
    assert [trainer.method.passes_at(epoch) for epoch in range(3)] == [False, False, True]
    trainer.train()
    assert not (tmp_path / "losses.json").exists()
    assert [row["epoch"] for row in rows_of(tmp_path, "divisions/divisions.json")] == [2]


@pytest.mark.parametrize(
    "method",
    [
        {"prediction": "batch", "refurbishment": "soft", "masking": "bert"},
        {"mixture": "gaussian", "negative_side": "text", "loss_range": (0, 100)},
        {"negatives_per_positive": 2, "negative_side": "image", "mask_probability": 0.5},
    ],
    ids=lambda method: "-".join(map(str, method)),
)
def test_every_variant_trains(tmp_path, method):
    trainer = make_trainer(
        tmp_path, method=method, num_train_epochs=2, warmup_epochs=1, mlm_epochs=1, **BARE
    )
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    for name in ("class_token", "encoder.layers.0.query_key_value.weight", "word_head.bias"):
        assert not torch.equal(after[name], before[name]), name
    assert all(value.isfinite().all() for value in after.values())
    assert math.isfinite(trainer.evaluate()["eval_rsum"])


def test_hard_negatives_come_from_the_similarities(tmp_path, monkeypatch):
    n_pairs = 32
    vectors = np.eye(n_pairs, dtype=np.float32)
    # Caption j is that of the image of j, and seems to be that of the next pair but one, too.
    twins = vectors + np.roll(vectors, 2, axis=1)
    similar = SimilarPairs(twins[::2] + twins[1::2], vectors, np.arange(n_pairs) // 2, 50.0)
    trainer = make_trainer(tmp_path, similar=similar, method={"negatives_per_positive": 4}, **BARE)
    pairs = trainer.train_dataset
    assert len(pairs) == n_pairs
    inputs = trainer.data_collator(pairs.__getitems__(range(12)))
    _, given = trainer.method.prepare(trainer.task.make_batch(inputs), is_training=True)
    images, texts = given["pairs"][12:].unbind(dim=1)
    is_twin = texts // 2 == images // 2 + 1
    assert 0.3 < is_twin.double().mean() < 0.9
    assert len(trainer.method.identity()["pair: similarities"]) == n_pairs


def test_a_frozen_text_encoder_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    trainer = make_trainer(
        tmp_path, method={"text_training": "frozen"}, num_train_epochs=1, robust=False, mlm_epochs=1
    )
    before = weights(trainer)
    read = []
    trainer.model.text_encoder.backbone.register_forward_hook(
        lambda module, args, kwargs, output: read.append(kwargs["input_ids"]), with_kwargs=True
    )
    trainer.train()
    after = weights(trainer)
    for name, tensor in before.items():
        is_frozen = name.startswith("text_encoder.backbone.")
        if is_frozen or ".pooler." in name:
            assert torch.equal(after[name], tensor), name
    assert not torch.equal(after["class_token"], before["class_token"])
    mask = trainer.processing_class.tokenizer.mask_token_id
    n_masked = [int((ids == mask).any(dim=1).sum()) for ids in read]
    assert sum(map(len, read)) <= 2 * 32 + 12, "each text once, and with masked words"
    assert sum(n_masked) > 0


def test_a_model_with_box_geometry_trains(tmp_path):
    def with_boxes(dataset: datasets.Dataset) -> datasets.Dataset:
        corners = np.random.default_rng(0).random((len(dataset), 3, 2, 2))
        boxes = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=2)
        return append_boxes(
            dataset.add_column("boxes", boxes.tolist(), feature=region_feature(4, "float64"))
        )

    trainer = make_trainer(
        tmp_path,
        train=with_boxes(toy_pairs(16, noise=NOISE)),
        processor=RcarProcessor(RegionFeatureProcessor(REGION_SIZE + 4), tokenizer()),
        method={"box_geometry": "7d"},
        num_train_epochs=2,
        warmup_epochs=1,
        mlm_epochs=1,
        **BARE,
    )
    before = weights(trainer)["box_projection.weight"]
    trainer.train()
    assert not torch.equal(trainer.model.box_projection.weight, before)
    metrics = trainer.evaluate(with_boxes(toy_pairs(6, seed=1)))
    assert math.isfinite(metrics["eval_rsum"])


def test_a_model_that_reads_pixels_trains(tmp_path):
    rng = np.random.default_rng(0)
    columns = toy_pairs(8, noise=NOISE).remove_columns("regions")
    pictures = [
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(8)
    ]
    train = datasets.Dataset.from_dict(
        columns.to_dict() | {"image": pictures},
        features=datasets.Features(columns.features | {"image": datasets.Image()}),
    )
    trainer = make_trainer(
        tmp_path,
        train=train,
        processor=RcarProcessor(
            ViTImageProcessorPil(size={"height": 16, "width": 16}), tokenizer()
        ),
        method={
            "vision_config": ResNetConfig(
                embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"
            )
        },
        num_train_epochs=2,
        warmup_epochs=1,
        mlm_epochs=1,
        **BARE,
    )
    before = weights(trainer)
    trainer.train()
    name = "image_encoder.backbone.embedder.embedder.convolution.weight"
    assert not torch.equal(trainer.model.state_dict()[name], before[name])
    assert math.isfinite(trainer.evaluate(train)["eval_rsum"])


# Killed and resumed


class KilledError(Exception):
    """Stands for the signal that ends a process."""


class Kill(TrainerCallback):
    """Ends training at a step, as a signal would: nothing of the trainer runs after it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KilledError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RobustTrainer:
    """20 steps in one go: words masked until step 12, labels refurbished from step 8 on."""
    options = {"seed": 1, "track_losses": True}
    trainer = make_trainer(tmp_path_factory.mktemp("whole"), save_total_limit=None, **options)
    trainer.train()
    return trainer


def saved_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return RcarModel.from_pretrained(folder).state_dict()


EVERY_OTHER_STEP = {
    "save_strategy": "steps",
    "save_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
}


@pytest.mark.parametrize(
    ("kill_at", "saving"),
    [
        (7, EVERY_OTHER_STEP),  # inside an epoch of masked words
        (9, {}),  # behind the checkpoint at the end of the warm-up
        (13, {}),  # behind the checkpoint at the end of the masked words, with refurbished labels
        (19, EVERY_OTHER_STEP),  # inside the last epoch
    ],
)
def test_killed_runs_resume_to_the_same_weights_divisions_and_labels(
    whole, tmp_path, monkeypatch, kill_at, saving
):
    monkeypatch.setattr(loss_course, "plot_loss_course", lambda *_: None)  # slow
    options = {"seed": 1, "track_losses": True} | saving
    killed = make_trainer(tmp_path, callbacks=[Kill(kill_at)], **options)
    with pytest.raises(KilledError):
        killed.train()
    again = make_trainer(tmp_path, **options)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == whole.state.global_step == 20
    for name in TARGETS:
        np.testing.assert_array_equal(again.pair_state[name], whole.pair_state[name])
    expected, found = (saved_weights(run.last_checkpoint()) for run in (whole, again))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    for name in ("divisions/divisions.json", "divisions/refurbishments.json", "losses.json"):
        assert rows_of(tmp_path, name) == rows_of(Path(whole.args.output_dir), name)


def test_until_the_warm_up_ends_robust_training_is_plain_training(whole, tmp_path):
    options = {"seed": 1, "save_total_limit": None}
    plain = make_trainer(tmp_path, callbacks=[Kill(13)], robust=False, **options)
    with pytest.raises(KilledError):
        plain.train()
    for step, same in ((8, True), (12, False)):
        expected = saved_weights(Path(whole.args.output_dir) / f"checkpoint-{step}")
        found = saved_weights(tmp_path / f"checkpoint-{step}")
        assert all(torch.equal(value, found[name]) for name, value in expected.items()) == same


@pytest.mark.parametrize("oracle", ["lying", "missing"])
def test_oracle_changes_nothing_in_training(whole, tmp_path, oracle):
    honest = toy_pairs(16, noise=NOISE)
    train = honest.remove_columns("is_noisy")
    if oracle == "lying":
        lies = [[not flag for flag in row] for row in honest["is_noisy"]]
        train = train.add_column("is_noisy", lies, feature=honest.features["is_noisy"])
    trainer = make_trainer(tmp_path, train=train, seed=1, **BARE)
    trainer.train()
    expected = saved_weights(whole.last_checkpoint())
    assert all(torch.equal(value, expected[name]) for name, value in weights(trainer).items())
    for name in TARGETS:
        np.testing.assert_array_equal(trainer.pair_state[name], whole.pair_state[name])


def test_output_holds_no_pickle(whole):
    files = [path for path in Path(whole.args.output_dir).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".png", ".py"}
    assert Path(whole.args.output_dir) / "losses.png" in files


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_epochs": 30}, "`warmup_epochs` is 30 and `num_train_epochs` 30: no epoch"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must not be negative"),
        ({"mlm_epochs": 31}, "`mlm_epochs` is 31 and `num_train_epochs` 30: give 0 to 30"),
        ({"mlm_epochs": -1}, "`mlm_epochs` is -1 and `num_train_epochs` 30: give 0 to 30"),
        ({"num_train_epochs": 5}, "`warmup_epochs` is 7 and `num_train_epochs` 5"),
        ({"num_train_epochs": 8}, "`mlm_epochs` is 10 and `num_train_epochs` 8"),
        ({"per_device_train_batch_size": 1}, "`per_device_train_batch_size` is 1: .*at least 2"),
    ],
)
def test_phases_and_batches_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        RcarTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)


def test_the_default_recipe_is_that_of_the_paper(tmp_path):
    arguments = RcarTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert (arguments.num_train_epochs, arguments.mlm_epochs) == (30, 10)
    assert (arguments.warmup_epochs, arguments.per_device_train_batch_size) == (7, 64)
    assert (arguments.learning_rate, arguments.lr_scheduler_type) == (3e-5, "cosine")


def test_a_tokenizer_of_more_words_than_the_model_is_refused(tmp_path):
    n_words = len(tokenizer())
    with pytest.raises(ValueError, match=f"knows {n_words} words and the model {n_words - 1}: "):
        make_trainer(tmp_path, text={"vocab_size": n_words - 1})
    make_trainer(tmp_path, text={"vocab_size": n_words + 5})


def test_another_processor_is_refused(tmp_path):
    processor = MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer())
    with pytest.raises(ValueError, match="RcarProcessor, found a MatchingProcessor"):
        make_trainer(tmp_path, processor=processor)


def test_masked_words_need_a_mask_token(tmp_path):
    processor = RcarProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer(mask=False))
    with pytest.raises(ValueError, match=r"no mask token.*mask=True.*`mlm_epochs` to 0"):
        make_trainer(tmp_path, processor=processor)
    make_trainer(tmp_path, processor=processor, mlm_epochs=0)


def test_one_image_alone_is_refused(tmp_path):
    train = toy_pairs(1, captions_per_image=9)
    with pytest.raises(DatasetError, match="'train' has one image: a wrong pair needs another"):
        make_trainer(tmp_path, train=train)


def test_long_captions_are_cut_counted_and_trained_on(tmp_path, caplog):
    train = toy_pairs(16, noise=NOISE)
    long = [
        [" and ".join(["concept1"] * 40) if row in (3, 5) else row_captions[0], row_captions[1]]
        for row, row_captions in enumerate(train["captions"])
    ]
    train = train.remove_columns("captions").add_column(
        "captions", long, feature=train.features["captions"]
    )
    with caplog.at_level(logging.WARNING, logger="noisy_xmodal"):
        trainer = make_trainer(
            tmp_path, train=train, num_train_epochs=1, warmup_epochs=0, mlm_epochs=1, **BARE
        )
    (message,) = [r.getMessage() for r in caplog.records if "captions" in r.getMessage()]
    assert message.startswith("2 of 32 training captions have more than 16 tokens and are")
    assert trainer.cut_texts == TruncationCount(2, 32, 16)
    trainer.train()
    assert trainer.state.global_step == 4
    assert trainer.processing_class.tokenizer.model_max_length == 16


def test_captions_that_fit_cause_no_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="noisy_xmodal"):
        make_trainer(tmp_path)
    assert not [r for r in caplog.records if "captions" in r.getMessage()]

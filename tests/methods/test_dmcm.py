"""DMCM's training: its equations against slow recomputation, its divisions, what it refuses."""

import json

import numpy as np
import pytest
import torch
from transformers import set_seed

from label_trainers import tiny_label_model
from noisy_xmodal import (
    DmcmConfig,
    DmcmProcessor,
    LabelTrainingArguments,
    RobustTrainer,
    build_label_model,
)
from noisy_xmodal.data import LabelDataset
from noisy_xmodal.losses import classification_loss, multimodal_contrastive_loss
from noisy_xmodal.methods import LABEL_METHODS, Dmcm
from noisy_xmodal.noise import BetaMixture, clean_posterior
from toy_labels import N_CLASSES, toy_labels


def make_trainer(out, train=None, fields=None, **options):
    """A tiny DMCM on the made-up world."""
    set_seed(0)
    pairs = LabelDataset(toy_labels(noise="sym_40") if train is None else train)
    sizes = {"hidden_sizes": [12], "embedding_size": 8}
    model = build_label_model("dmcm", pairs, **sizes | (fields or {}))
    arguments = {
        "num_train_epochs": 4,
        "warmup_epochs": 1,
        "per_device_train_batch_size": 30,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "use_cpu": True,
        "plot_divisions": False,
    }
    return RobustTrainer(
        model,
        LabelTrainingArguments(output_dir=str(out), **arguments | options),
        Dmcm(),
        pairs,
        eval_dataset=toy_labels(40, seed=1),
        processing_class=DmcmProcessor(),
    )


def one_batch(trainer):
    inputs = trainer.train_dataset.__getitems__(list(range(20)))
    batch = trainer.task.make_batch(inputs)
    return trainer.model(**batch.inputs), batch


def set_division(trainer, is_clean):
    trainer.pair_state["is_clean"] = is_clean.astype(np.uint8)


def slow_class_loss(logits, label, rho=0.7):
    """Eq. 3 of one sample with a soft label, in plain numbers."""
    p = torch.softmax(logits.detach().double(), dim=0)
    of_label = float((p * label).sum())
    return (1 - of_label**rho) / (len(p) - float((p**rho).sum())) + 1 - of_label


def test_class_losses_are_eq_3_for_every_sample(tmp_path):
    trainer = make_trainer(tmp_path)
    output, batch = one_batch(trainer)
    found = trainer.method.class_losses(output, batch)
    for row, (logits, labels) in enumerate(
        (
            (output.image_class_logits, batch.image_label),
            (output.text_class_logits, batch.text_label),
        )
    ):
        for i, label in enumerate(labels):
            expected = slow_class_loss(logits[i], torch.eye(N_CLASSES)[label])
            assert float(found[row, i].detach()) == pytest.approx(expected, abs=1e-6)


def test_warm_up_is_the_class_loss_alone(tmp_path):
    trainer = make_trainer(tmp_path, warmup_epochs=3)
    trainer.state.epoch = 2
    output, batch = one_batch(trainer)
    expected = trainer.method.class_losses(output, batch).sum(dim=0)
    assert torch.equal(trainer.method.warm_up_loss(output, batch), expected)
    inputs = trainer.train_dataset.__getitems__(list(range(20)))
    torch.testing.assert_close(trainer.compute_loss(trainer.model, inputs), expected.mean())


def test_loss_is_eq_8_with_noisy_samples_replaced_by_eq_6(tmp_path):
    """Every clean sample is the same row, so that the partners of the noisy ones are known."""
    rows = toy_labels(noise="sym_40").select([5] * 8 + list(range(12)))
    trainer = make_trainer(tmp_path, train=rows.select([*range(20), *range(20)]))
    trainer.state.epoch = 2
    is_clean = np.zeros(trainer.pair_state.shape)
    is_clean[:, :8] = 1
    set_division(trainer, is_clean)
    output, batch = one_batch(trainer)
    found = trainer.method.loss(output, batch)
    contrastive = multimodal_contrastive_loss(output.image_embeds, output.text_embeds)
    images, texts = batch.inputs["image_features"], batch.inputs["text_features"]
    for i in range(20):
        total = 0.0
        for features, labels, modality in (
            (images, batch.image_label, "image"),
            (texts, batch.text_label, "text"),
        ):
            weight = 1.0 if i < 8 else 0.1
            mixed = weight * features[i] + (1 - weight) * features[0]
            one_hot = torch.eye(N_CLASSES)
            label = weight * one_hot[labels[i]] + (1 - weight) * one_hot[labels[0]]
            outputs = getattr(trainer.model, f"encode_{modality}")(
                **{f"{modality}_features": mixed[None]}
            )
            total += slow_class_loss(trainer.model.class_logits(outputs)[0].detach(), label)
        expected = 0.85 * total + 0.15 * float(contrastive[i].detach())
        assert float(found[i].detach()) == pytest.approx(expected, abs=1e-5)


def test_mixing_takes_clean_samples_in_turn(tmp_path):
    trainer = make_trainer(tmp_path, fields={"mixing_weight": 0.25})
    features = torch.arange(12.0)[:, None].expand(12, 3)
    targets = torch.arange(12) % N_CLASSES
    is_clean = torch.tensor([True, False, False, True] * 3)
    at, mixed, labels = trainer.method.mix(features, targets, is_clean)
    assert at.tolist() == [1, 2, 5, 6, 9, 10]
    partners = (mixed[:, 0] - 0.25 * at) / 0.75
    assert sorted(partners.tolist()) == [0.0, 3.0, 4.0, 7.0, 8.0, 11.0]  # every one, once
    for row, i, partner in zip(labels, at, partners, strict=True):
        expected = torch.zeros(N_CLASSES)
        expected[targets[i]] += 0.25
        expected[targets[int(partner)]] += 0.75
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("all_clean", [True, False])
def test_nothing_is_mixed_where_all_or_none_is_clean(tmp_path, all_clean):
    trainer = make_trainer(tmp_path)
    trainer.state.epoch = 2
    set_division(trainer, np.full(trainer.pair_state.shape, all_clean))
    output, batch = one_batch(trainer)
    losses = trainer.method.class_losses(output, batch)
    assert torch.equal(trainer.method.mixed_losses(output, batch, losses), losses)


def test_gradients_flow_through_mixed_and_clean_samples(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.state.epoch = 2
    set_division(trainer, np.arange(240).reshape(2, 120) % 3 == 0)
    output, batch = one_batch(trainer)
    trainer.method.loss(output, batch).sum().backward()
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_plain_training_is_lambda_of_one(tmp_path):
    weights = []
    for name, fields, options in (
        ("plain", {}, {"robust": False}),
        ("unmixed", {"mixing_weight": 1.0}, {}),
    ):
        trainer = make_trainer(tmp_path / name, fields=fields, **options)
        trainer.train()
        weights.append(trainer.model.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


def test_both_modalities_are_scaled_together_and_divided_apart(tmp_path):
    fields = {"selection": "rate", "noise_rate": 0.3}
    trainer = make_trainer(tmp_path, fields=fields)
    rng = np.random.default_rng(0)
    losses = np.stack([rng.beta(2, 9, 120), 0.3 + 0.6 * rng.beta(3, 3, 120)])
    low, high = losses.min(), losses.max()
    for row, division in zip(losses, trainer.method.divide(losses), strict=True):
        expected = clean_posterior(row, BetaMixture(), bounds=(low, high))
        np.testing.assert_array_equal(division.clean_probability, expected.probability)
        assert division.is_clean.sum() == 84
        assert row[division.is_clean].max() <= row[~division.is_clean].min()


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({"selection": "rate", "noise_rate": 0.0}, 0.0),
        ({"selection": "rate", "noise_rate": 1.0}, 119 / 120),
        ({"selection": "threshold", "clean_threshold": 0.5}, None),
        ({"selection": "estimated"}, None),
        ({"selection": "estimated", "mixture": "gaussian"}, None),
    ],
)
def test_selections(tmp_path, fields, share):
    trainer = make_trainer(tmp_path, fields=fields)
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.beta(2, 20, (2, 72)), rng.beta(20, 2, (2, 48))], axis=1)
    for division in trainer.method.divide(losses):
        assert division.share_noisy == pytest.approx(0.4 if share is None else share, abs=0.02)


def test_constant_losses_make_everything_clean(tmp_path):
    trainer = make_trainer(tmp_path)
    with pytest.warns(UserWarning, match="All pairs count as clean"):
        assert all(division.is_clean.all() for division in trainer.method.divide(np.ones((2, 120))))


@pytest.mark.parametrize("scope", ["epoch", "batch"])
def test_divisions_find_wrong_labels_and_are_reported(tmp_path, scope):
    fields = {"mixture_scope": scope, "selection": "rate", "noise_rate": 0.4}
    train = toy_labels(240, "sym_40", spread=0.3)
    options = {"num_train_epochs": 12, "plot_divisions": scope == "batch"}
    trainer = make_trainer(tmp_path, train, fields, **options)
    trainer.train()
    rows = json.loads((tmp_path / "divisions/divisions.json").read_text())
    assert [(row["epoch"], row["modality"]) for row in rows] == [
        (epoch, modality) for epoch in range(1, 12) for modality in ("image", "text")
    ]
    assert min(row["auroc"] for row in rows[-2:]) > 0.8
    assert rows[-1]["share_noisy"] == pytest.approx(0.4, abs=0.01)
    assert not list(tmp_path.glob("divisions/*.png"))  # none was asked for, or there is none
    assert trainer.evaluate()["eval_map"] > 0.7


def test_batch_scope_divides_every_mini_batch(tmp_path):
    fields = {"mixture_scope": "batch", "selection": "rate", "noise_rate": 0.5}
    trainer = make_trainer(tmp_path, fields=fields)
    trainer.state.epoch = 2
    for name in ("loss", "clean_probability", "is_clean"):
        trainer.pair_state[name] = np.zeros(trainer.pair_state.shape)
    output, batch = one_batch(trainer)
    losses = trainer.method.class_losses(output, batch)
    is_clean = trainer.method.clean_samples(losses, batch)
    assert is_clean.sum(dim=1).tolist() == [10, 10]
    kept = trainer.pair_state["loss"]
    np.testing.assert_allclose(kept[:, :20], losses.detach().numpy(), rtol=1e-6)
    assert (kept[:, 20:] == 0).all()


def test_batch_scope_reports_a_last_epoch_that_is_cut_short(tmp_path):
    trainer = make_trainer(tmp_path, fields={"mixture_scope": "batch"}, num_train_epochs=2.5)
    trainer.train()
    rows = json.loads((tmp_path / "divisions/divisions.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 1, 2, 2]
    assert rows[-1]["auroc"] != rows[1]["auroc"]


def test_batch_normalisation_is_refused_where_samples_are_mixed(tmp_path):
    with pytest.raises(ValueError, match="`batch_norm` is True: the mixed samples"):
        make_trainer(tmp_path, fields={"batch_norm": True})
    make_trainer(tmp_path, fields={"batch_norm": True, "mixing_weight": 1})
    make_trainer(tmp_path, fields={"batch_norm": True}, robust=False)


def test_pairs_that_no_batch_has_are_in_no_report(tmp_path):
    fields = {"mixture_scope": "batch", "selection": "rate", "noise_rate": 0.0}
    trainer = make_trainer(tmp_path, toy_labels(110), fields, dataloader_drop_last=True)
    assert 110 % trainer.args.per_device_train_batch_size
    trainer.train()
    rows = json.loads((tmp_path / "divisions/divisions.json").read_text())
    assert rows
    assert all(row["share_noisy"] == 0 for row in rows)


def test_the_arguments_of_a_user_stay_as_they_are(tmp_path):
    args = LabelTrainingArguments(str(tmp_path), num_train_epochs=9, use_cpu=True)
    assert args.warmup_epochs == -1
    options = {"processing_class": DmcmProcessor(), "eval_dataset": toy_labels(40, seed=1)}
    for name, epochs in (("dmcm", Dmcm.recipe["warmup_epochs"]), ("mrl", 0)):
        model, method = tiny_label_model(name), LABEL_METHODS[name]()
        trainer = RobustTrainer(model, args, method, toy_labels(), **options)
        assert trainer.args.warmup_epochs == epochs
        assert args.warmup_epochs == -1


def test_options_of_the_losses_reach_them(tmp_path):
    printed = {"ngce_form": "expected", "mae_form": "l1", "rho": 0.3}
    trainer = make_trainer(tmp_path, fields={"class_loss_options": printed})
    logits, soft = torch.randn(5, N_CLASSES), torch.full((5, N_CLASSES), 0.25)
    expected = classification_loss("ngce+mae", **printed)(logits, soft)
    assert torch.equal(trainer.method.class_loss(logits, soft), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selection": "rate"}, "`noise_rate` None"),
        ({"selection": "rate", "noise_rate": 1.2}, r"`noise_rate` must be in \[0, 1\]"),
        ({"beta": 2.0}, "`beta`"),
        ({"mixing_weight": -0.1}, "`mixing_weight`"),
        ({"contrastive_temperature": 0}, "`contrastive_temperature`"),
        ({"classifier": "none"}, "class logits"),
        ({"mixture_scope": "run"}, "mixture_scope"),
        ({"mixture": "gamma"}, "mixture"),
    ],
)
def test_impossible_constants_are_refused(fields, message):
    with pytest.raises(Exception, match=message):  # some come from the strict dataclass
        DmcmConfig(**fields)


def test_unknown_loss_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match=r"'mse'.*choose from"):
        make_trainer(tmp_path, fields={"class_loss": "ngce+mse"})


def test_batch_scope_still_logs_the_loss_of_every_epoch(tmp_path):
    trainer = make_trainer(tmp_path, fields={"mixture_scope": "batch"}, num_train_epochs=3)
    trainer.train()
    assert [row["epoch"] for row in trainer.state.log_history if "loss" in row] == [1, 2, 3]


def test_without_mixing_batches_are_not_divided(tmp_path):
    fields = {"mixture_scope": "batch", "mixing_weight": 1.0}
    make_trainer(tmp_path, fields=fields, num_train_epochs=2).train()
    assert not (tmp_path / "divisions").exists()


def test_a_noise_rate_is_a_selection_by_rate():
    assert DmcmConfig(noise_rate=0.3).selection == "rate"
    assert DmcmConfig().selection == "estimated"

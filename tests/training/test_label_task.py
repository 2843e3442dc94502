"""What all methods for pairs with classes share: scaling, batches, arguments, evaluation."""

import logging
import math

import numpy as np
import pytest
import torch

from label_trainers import make_label_trainer, tiny_label_model
from noisy_xmodal import LabelDataset, LabelTrainingArguments, RobustTrainer, build_label_model
from noisy_xmodal.data import DatasetError
from noisy_xmodal.methods import LABEL_METHODS
from noisy_xmodal.modules.text_limits import TruncationCount
from noisy_xmodal.training.label_task import WholeBatches
from tiny_backbones import backbone_config, picture_dataset, picture_processor
from toy_labels import IMAGE_SIZE, toy_labels

# The arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_scaling", "standard"),
        ("warmup_epochs", -1),
        ("num_train_epochs", 100),
        ("per_device_train_batch_size", 100),
        ("learning_rate", 1e-4),
        ("adam_beta1", 0.5),
        ("adam_beta2", 0.999),
        ("weight_decay", 0.0),
        ("lr_scheduler_type", "cosine"),
        ("max_grad_norm", 0.0),
        ("metric_for_best_model", "map"),
        ("greater_is_better", True),
    ],
)
def test_defaults_are_the_recipe_of_mrl_and_dmcm(tmp_path, name, value):
    assert getattr(LabelTrainingArguments(output_dir=str(tmp_path)), name) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_scaling": "minmax"}, "`feature_scaling` must be standard or none.*'minmax'"),
        ({"warmup_epochs": -2}, "`warmup_epochs` must not be negative"),
        ({"warmup_epochs": 5, "num_train_epochs": 5}, "no epoch is left"),
        ({"remove_unused_columns": True}, "pair ids"),
    ],
)
def test_contradicting_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        LabelTrainingArguments(output_dir=str(tmp_path), **options)


def test_learning_rate_falls_to_zero_along_a_cosine(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, logging_strategy="steps", logging_steps=1)
    trainer.train()
    rates = [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]
    expected = [0.01 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates == pytest.approx(expected)


# The scaling


def scaled_training_features(trainer):
    pairs, model = trainer.train_dataset, trainer.model
    images, texts = torch.tensor(pairs.image_features), torch.tensor(pairs.text_features)
    return model.image_scaling(images), model.text_scaling(texts)


def moved_world(constant=None):
    """The made-up world far from the origin, with numbers of very different size."""
    rows = toy_labels(noise="sym_40")
    for name, by in (("image_features", 100.0), ("text_features", 1e-3)):
        vectors = np.array(rows[name]) * by * np.arange(1, len(rows[name][0]) + 1) + 3 * by
        if constant is not None:
            vectors[:, constant] = 5.0
        kind = rows.features[name]
        rows = rows.remove_columns(name).add_column(name, vectors.tolist(), feature=kind)
    return rows


def test_scaled_training_features_have_mean_0_and_variance_1(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, train=moved_world())
    for values in scaled_training_features(trainer):
        torch.testing.assert_close(
            values.mean(dim=0), torch.zeros(values.shape[1]), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            values.square().mean(dim=0), torch.ones(values.shape[1]), atol=1e-3, rtol=0
        )


def test_number_that_never_varies_becomes_0(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, train=moved_world(constant=2))
    for values in scaled_training_features(trainer):
        assert (values[:, 2] == 0).all()
        assert (values[:, 3].abs() > 0).any()


def test_validation_is_scaled_by_the_training_split(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, eval_dataset=moved_world())
    expected = np.array(toy_labels(noise="sym_40")["image_features"])
    np.testing.assert_allclose(trainer.model.image_scaling.mean, expected.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(
        trainer.model.image_scaling.scale, 1 / expected.std(axis=0), rtol=1e-4
    )


def test_scaling_of_none_leaves_vectors_alone(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, train=moved_world(), feature_scaling="none")
    assert trainer.model.image_scaling.is_identity
    assert trainer.model.text_scaling.is_identity
    images, _ = scaled_training_features(trainer)
    np.testing.assert_array_equal(images, trainer.train_dataset.image_features)


def test_model_keeps_the_scaling_that_it_came_with(tmp_path):
    model = tiny_label_model("ce")
    model.image_scaling.fit(torch.randn(50, IMAGE_SIZE) * 4 + 2)
    before = model.image_scaling.mean.clone(), model.image_scaling.scale.clone()
    trainer = make_label_trainer("ce", tmp_path, model=model)
    assert torch.equal(trainer.model.image_scaling.mean, before[0])
    assert torch.equal(trainer.model.image_scaling.scale, before[1])
    assert not trainer.model.text_scaling.is_identity


# The batches


def test_whole_batches_are_those_of_the_pairs():
    pairs = LabelDataset(toy_labels(12, noise="sym_40"))
    batches = WholeBatches(pairs)
    found = batches.__getitems__([(7, 0), (3, 0), (7, 0)])
    assert len(batches) == 12
    assert found["pair_id"].tolist() == [7, 3, 7]
    for name in ("image", "text"):
        labels, features = getattr(pairs, f"{name}_labels"), getattr(pairs, f"{name}_features")
        assert found[f"{name}_label"].tolist() == [labels[i] for i in (7, 3, 7)]
        np.testing.assert_array_equal(found[f"{name}_features"], features[[7, 3, 7]])


def test_no_batch_holds_the_oracle(tmp_path):
    trainer = make_label_trainer("ce", tmp_path)
    names = {"pair_id", "image_label", "text_label", "image_features", "text_features"}
    assert all(set(batch) == names for batch in trainer.get_train_dataloader())


def test_every_epoch_visits_every_pair_once_in_an_order_of_its_own(tmp_path, monkeypatch):
    trainer = make_label_trainer(
        "ce",
        tmp_path,
        num_train_epochs=3,
        per_device_train_batch_size=50,
        save_strategy="no",
        eval_strategy="no",
    )
    seen = []
    make_batch = trainer.task.make_batch

    def spy(inputs, **options):
        seen.append(inputs["pair_id"].tolist())
        return make_batch(inputs, **options)

    monkeypatch.setattr(trainer.task, "make_batch", spy)
    trainer.train()
    assert [len(ids) for ids in seen] == [40] * 9
    orders = [[i for ids in seen[start : start + 3] for i in ids] for start in (0, 3, 6)]
    assert all(sorted(order) == list(range(120)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_labels_reach_the_loss_beside_their_pair(tmp_path, monkeypatch):
    trainer = make_label_trainer("ce", tmp_path, save_strategy="no", eval_strategy="no")
    pairs, checked = trainer.train_dataset, []
    loss = trainer.method.loss

    def spy(output, batch):
        ids = batch.pair_id.numpy()
        targets = trainer.method.labels(output, batch)
        np.testing.assert_array_equal(targets[0], pairs.image_labels[ids])
        np.testing.assert_array_equal(targets[1], pairs.text_labels[ids])
        np.testing.assert_array_equal(output.image_features.detach(), pairs.image_features[ids])
        np.testing.assert_array_equal(output.text_features.detach(), pairs.text_features[ids])
        checked.append(len(ids))
        return loss(output, batch)

    monkeypatch.setattr(trainer.method, "loss", spy)
    trainer.train()
    assert sum(checked) == 240


# Evaluation


def test_retrieval_of_unseen_rows_improves_on_an_easy_world(tmp_path):
    trainer = make_label_trainer(
        "ce",
        tmp_path,
        train=toy_labels(spread=0.3),
        eval_dataset=toy_labels(40, seed=1, spread=0.3),
        num_train_epochs=8,
        save_strategy="no",
        eval_strategy="no",
    )
    before = trainer.evaluate()["eval_map"]
    trainer.train()
    after = trainer.evaluate()["eval_map"]
    assert after > before + 0.2
    assert after > 0.9


def test_evaluation_takes_rows_or_pairs_of_another_split(tmp_path):
    trainer = make_label_trainer("ce", tmp_path)
    unseen = toy_labels(24, seed=5)
    trainer.model.train()
    found = trainer.evaluate(unseen, metric_key_prefix="test")
    assert trainer.model.training
    assert found == trainer.evaluate(LabelDataset(unseen), metric_key_prefix="test")
    expected = trainer.evaluator(trainer.model, unseen)
    assert found == {f"test_{name}": value for name, value in expected.items()} | {"epoch": 0}
    assert found["test_map"] == pytest.approx((found["test_i2t_map"] + found["test_t2i_map"]) / 2)


def test_evaluation_judges_by_the_labels_of_the_split(tmp_path):
    """With all rows in one class every list is right from end to end."""
    trainer = make_label_trainer("ce", tmp_path)
    rows = toy_labels(40)
    one_class = rows.select(range(0, 40, 4))
    assert trainer.evaluate(one_class)["eval_map"] == 1.0
    assert trainer.evaluate(rows)["eval_map"] < 1.0


def test_evaluation_without_rows_is_refused(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, eval_dataset=None, eval_strategy="no")
    with pytest.raises(ValueError, match="pass `eval_dataset`"):
        trainer.evaluate()


def test_bad_validation_rows_are_refused_before_training(tmp_path):
    rows = toy_labels(20).remove_columns("text_label")
    with pytest.raises(DatasetError, match=r"'validation'.*missing in one modality"):
        make_label_trainer("ce", tmp_path, eval_dataset=rows)


def test_best_checkpoint_on_validation_is_loaded_at_the_end(tmp_path):
    trainer = make_label_trainer(
        "ce", tmp_path, num_train_epochs=4, load_best_model_at_end=True, learning_rate=3e-2
    )
    trainer.train()
    found = {
        row["epoch"]: row["eval_map"] for row in trainer.state.log_history if "eval_map" in row
    }
    assert len(found) == 4
    assert trainer.evaluate()["eval_map"] == max(found.values())
    assert found[trainer.best_epoch()] == max(found.values())


def test_no_epoch_is_the_best_where_the_last_one_is_kept(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, load_best_model_at_end=False)
    trainer.train()
    assert trainer.state.best_global_step
    assert trainer.best_epoch() is None


@pytest.mark.parametrize("max_length", [12, 20])
def test_texts_that_a_backbone_does_not_read_to_their_end_are_counted(tmp_path, caplog, max_length):
    """CLIP's own limit counts where the tokenizer names a larger one."""
    rows, config = picture_dataset(9), backbone_config("clip")
    limit = config.text_config.max_position_embeddings
    texts = [["red cat"] if row % 2 else ["red cat " * limit, "a dog"] for row in range(9)]
    kind = rows.features["captions"]
    rows = rows.remove_columns("captions").add_column("captions", texts, feature=kind)
    model = build_label_model(
        "mrl", LabelDataset(rows), backbone_config=config, freeze_backbone=True, hidden_sizes=[6]
    )
    args = LabelTrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=3, use_cpu=True, disable_tqdm=True
    )
    with caplog.at_level(logging.WARNING, logger="noisy_xmodal"):
        trainer = RobustTrainer(
            model,
            args,
            LABEL_METHODS["mrl"](),
            rows,
            eval_dataset=rows,
            processing_class=picture_processor(max_length),
        )
    assert trainer.cut_texts == TruncationCount(5, 9, limit)
    assert f"5 of 9 training texts have more than {limit} tokens" in caplog.text

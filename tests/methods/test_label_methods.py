"""What every method for pairs with classes must do: train, resume, be blind to the oracle, refuse.

The equations of each method stand in its own tests.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModel, set_seed

from label_trainers import make_label_trainer, tiny_label_model, weights
from noisy_xmodal import LabelDataset, build_label_model
from noisy_xmodal.data import DatasetError
from noisy_xmodal.methods import LABEL_METHODS
from toy_labels import IMAGE_SIZE, N_CLASSES, toy_labels

WITHOUT_CLASSES = ["dcca", "dccae"]
WITH_CLASSES = [name for name in LABEL_METHODS if name not in WITHOUT_CLASSES]
ONE_EPOCH = {
    "num_train_epochs": 1,
    "warmup_epochs": 0,
    "save_strategy": "no",
    "eval_strategy": "no",
}


@dataclass
class Run:
    """A finished run of two epochs."""

    method: str
    trainer: Any
    before: dict[str, torch.Tensor]
    folder: Path


@pytest.fixture(scope="module", params=LABEL_METHODS)
def run(request, tmp_path_factory):
    """Each method, trained once; tests leave its weights alone."""
    folder = tmp_path_factory.mktemp(request.param)
    trainer = make_label_trainer(request.param, folder)
    before = weights(trainer)
    trainer.train()
    return Run(request.param, trainer, before, folder)


def assert_equal_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def evaluations(trainer):
    """Metrics by step, without what depends on the clock."""
    return [
        {key: value for key, value in row.items() if not key.endswith(("runtime", "per_second"))}
        for row in trainer.state.log_history
        if "eval_map" in row
    ]


def losses_of(trainer):
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def with_column(rows, name, values):
    kind = rows.features[name]
    return rows.remove_columns(name).add_column(name, values, feature=kind)


def test_two_epochs_are_finite_and_move_every_layer(run):
    assert len(losses_of(run.trainer)) == len(evaluations(run.trainer)) == 2
    assert np.isfinite(losses_of(run.trainer)).all()
    assert all(np.isfinite(list(row.values())).all() for row in evaluations(run.trainer))
    after = weights(run.trainer)
    assert all(torch.isfinite(value).all() for value in after.values())
    layers = [
        name
        for name, value in run.trainer.model.named_parameters()
        if value.ndim == 2 and value.requires_grad
    ]
    for part in ("image_tower", "text_tower"):
        assert f"{part}.0.weight" in layers
    for name in layers:
        assert not torch.equal(after[name], run.before[name]), name


def test_prototypes_stay_only_where_they_are_fixed(run):
    name = "classifier.weight"
    stayed = {name} if run.trainer.model.config.classifier == "fixed" else set()
    after = weights(run.trainer)
    assert {n for n in after if n == name and torch.equal(after[n], run.before[n])} == stayed


def test_loss_of_a_batch_is_the_mean_over_its_pairs(run):
    trainer = run.trainer
    trainer.model.eval()
    inputs = trainer.train_dataset.__getitems__(list(range(25)))
    set_seed(3)
    (output,), (batch,) = trainer._run_networks(trainer.model, dict(inputs))
    losses = trainer.method.loss(output, batch)
    set_seed(3)
    loss = trainer.compute_loss(trainer.model, inputs)
    assert losses.shape == (25,)
    assert float(loss.detach()) == pytest.approx(sum(losses.tolist()) / 25, rel=1e-5)


def test_resumed_run_ends_as_the_uninterrupted_one(run, tmp_path):
    first = run.folder / "checkpoint-4"
    trainer = make_label_trainer(run.method, tmp_path, model_seed=1)
    first_layer = "image_tower.0.weight"
    assert not torch.equal(weights(trainer)[first_layer], run.before[first_layer])
    trainer.train(resume_from_checkpoint=str(first))
    assert trainer.state.global_step == run.trainer.state.global_step == 8
    assert_equal_weights(weights(trainer), weights(run.trainer))
    assert evaluations(trainer) == evaluations(run.trainer)
    assert losses_of(trainer) == losses_of(run.trainer)
    assert not (tmp_path / "checkpoint-4").exists()


@pytest.mark.parametrize(
    ("method", "fields"),
    [("dmcm", {}), ("dmcm", {"mixture_scope": "batch"}), ("lcn", {}), ("dcca", {})],
    ids=["dmcm", "dmcm-batch", "lcn", "dcca"],
)
def test_run_resumed_within_an_epoch_ends_the_same(tmp_path, method, fields):
    """Epochs end at the steps 4 and 8; DMCM divides in the second."""
    saving = {"save_strategy": "steps", "save_steps": 3}
    whole = make_label_trainer(method, tmp_path / "whole", fields=fields, **saving)
    whole.train()
    for step in (3, 6):
        again = make_label_trainer(
            method, tmp_path / str(step), fields=fields, model_seed=1, save_strategy="no"
        )
        again.train(resume_from_checkpoint=str(tmp_path / f"whole/checkpoint-{step}"))
        assert again.state.global_step == whole.state.global_step == 8
        assert_equal_weights(weights(again), weights(whole))
        assert evaluations(again) == evaluations(whole)
        for name in ("loss", "clean_probability", "is_clean"):
            assert (name in again.pair_state) == (name in whole.pair_state) == (method == "dmcm")
            if method == "dmcm":
                np.testing.assert_array_equal(again.pair_state[name], whole.pair_state[name])


def test_saved_model_loads_and_gives_the_same_evaluation(run, tmp_path):
    run.trainer.save_model(str(tmp_path))
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is type(run.trainer.model)
    assert again.config.method == run.method
    assert_equal_weights(again.state_dict(), weights(run.trainer))
    unseen = toy_labels(40, seed=2)
    assert run.trainer.evaluator(again, unseen) == run.trainer.evaluator(run.trainer.model, unseen)


def test_output_holds_no_pickle(run):
    endings = {path.suffix for path in run.folder.rglob("*") if path.is_file()}
    assert endings == {".json", ".safetensors", ".py"}  # the shim


def assert_trains_as_before(run, folder, rows):
    trainer = make_label_trainer(
        run.method, folder, train=rows, save_strategy="no", eval_strategy="no"
    )
    trainer.train()
    assert_equal_weights(weights(trainer), weights(run.trainer))


def test_lying_oracle_changes_nothing_in_training(run, tmp_path):
    rows = toy_labels(noise="sym_40")
    lies = [(label + 1) % N_CLASSES for label in rows["true_label"]]
    assert_trains_as_before(run, tmp_path, with_column(rows, "true_label", lies))


@pytest.mark.parametrize("run", ["dmcm", "lcn", "dcca"], indirect=True)
def test_absent_oracle_changes_nothing_in_training(run, tmp_path):
    """In a method that divides, one that corrects and one that knows no labels."""
    rows = toy_labels(noise="sym_40").remove_columns("true_label")
    assert_trains_as_before(run, tmp_path, rows)


def test_batch_of_one_class_has_finite_losses_and_gradients(run):
    trainer = run.trainer
    trainer.model.eval()
    inputs = LabelDataset(toy_labels()).__getitems__(list(range(0, 120, N_CLASSES)))
    assert set(inputs["image_label"].tolist()) == {0}
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
    trainer.model.zero_grad()
    assert torch.isfinite(loss)
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_class_without_training_pairs_is_named_and_harms_nothing(tmp_path, caplog, method):
    rows = toy_labels()
    rows = rows.select([i for i, label in enumerate(rows["true_label"]) if label != 2])
    with caplog.at_level(logging.WARNING):
        trainer = make_label_trainer(method, tmp_path, train=rows, **ONE_EPOCH)
    assert "1 of 4 classes have no training pair (class 2)" in caplog.text
    trainer.train()
    assert all(torch.isfinite(value).all() for value in weights(trainer).values())


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_clean_labels_are_no_special_case(tmp_path, caplog, method):
    with caplog.at_level(logging.WARNING):
        trainer = make_label_trainer(
            method,
            tmp_path,
            train=toy_labels(),
            learning_rate=3e-2,
            save_strategy="no",
            eval_strategy="no",
        )
    assert "no training pair" not in caplog.text
    before = trainer.evaluate()["eval_map"]
    trainer.train()
    assert np.isfinite(losses_of(trainer)).all()
    assert trainer.evaluate()["eval_map"] > before + 0.05


@pytest.mark.parametrize("method", WITH_CLASSES)
def test_batches_of_one_pair_train(tmp_path, method):
    trainer = make_label_trainer(
        method,
        tmp_path,
        train=toy_labels(5),
        per_device_train_batch_size=1,
        **ONE_EPOCH,
    )
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not torch.equal(after["text_tower.0.weight"], before["text_tower.0.weight"])


@pytest.mark.parametrize("method", WITHOUT_CLASSES)
def test_correlation_refuses_batches_that_are_too_small(tmp_path, method):
    for size in (1, 4):
        with pytest.raises(ValueError, match=rf"more pairs than the 4 dimensions.*have {size}"):
            make_label_trainer(method, tmp_path, per_device_train_batch_size=size)
    trainer = make_label_trainer(method, tmp_path)
    trainer.model.eval()
    with pytest.raises(ValueError, match=r"1 samples for 4 dimensions.*larger batches"):
        trainer.compute_loss(trainer.model, trainer.train_dataset.__getitems__([0]))


def test_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no method 'clip'") as caught:
        build_label_model("clip", LabelDataset(toy_labels(8)))
    assert all(name in str(caught.value) for name in LABEL_METHODS)


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_unknown_option_is_refused_with_the_known_ones(tmp_path, method):
    with pytest.raises(ValueError, match="no option 'bta'") as caught:
        make_label_trainer(method, tmp_path, fields={"method_options": {"bta": 0.5}})
    known = list(LABEL_METHODS[method].options) or ["none"]
    assert str(caught.value).endswith(f"it has: {', '.join(known)}.")


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_known_options_replace_the_methods_constants(tmp_path, method):
    options = LABEL_METHODS[method].options
    defaults = {name: constant.default for name, constant in options.items()}
    for name, value in defaults.items():
        if isinstance(value, float):
            fields = {"method_options": {name: value / 2}}
            trainer = make_label_trainer(method, tmp_path, fields=fields)
            assert vars(trainer.method.constants) == {**defaults, name: value / 2}


def five_classes(n_pairs):
    rows = toy_labels(n_pairs)
    kind = datasets.ClassLabel(names=[f"class {k}" for k in range(N_CLASSES + 1)])
    for name in ("image_label", "text_label", "true_label"):
        rows = rows.cast_column(name, kind)
    return rows


@pytest.mark.parametrize("method", WITH_CLASSES)
def test_other_number_of_classes_than_the_model_has_is_refused(tmp_path, method):
    with pytest.raises(DatasetError, match=r"'train' has 5 classes and the model 4"):
        make_label_trainer(method, tmp_path, train=five_classes(60))
    with pytest.raises(DatasetError, match=r"'validation' numbers its classes otherwise"):
        make_label_trainer(method, tmp_path, eval_dataset=five_classes(20))


@pytest.mark.parametrize("method", WITHOUT_CLASSES)
def test_methods_without_classes_take_any_number_of_them(tmp_path, method):
    trainer = make_label_trainer(method, tmp_path, train=five_classes(60))
    assert trainer.train_dataset.n_classes == 5
    with pytest.raises(ValueError, match=f"{method} has no classifier"):
        trainer.model.class_logits(torch.zeros(2, 4))


def not_a_number(rows):
    vectors = np.array(rows["image_features"], dtype=np.float32)
    vectors[7, 2] = np.nan
    return with_column(rows, "image_features", vectors.tolist())


def short_vectors(rows):
    vectors = [vector[:-1] for vector in rows["image_features"]]
    return rows.remove_columns("image_features").add_column("image_features", vectors)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_a_number, r"Row 7.*NaN.*image_features"),
        (lambda rows: rows.remove_columns("text_label"), "labels are missing in one modality"),
        (lambda rows: rows.remove_columns("image_label"), "labels are missing in one modality"),
        (lambda rows: rows.remove_columns("text_features"), "text_features"),
        (lambda rows: rows.select(range(29)), "29 pairs, fewer than the 30 of one batch"),
        (short_vectors, rf"vectors of {IMAGE_SIZE - 1} \(image\)"),
        (
            lambda rows: with_column(rows, "text_label", [None, *rows["text_label"][1:]]),
            "Row 0.*no class in column 'text_label'",
        ),
    ],
    ids=["nan", "no text label", "no image label", "no texts", "too few", "sizes", "unlabelled"],
)
@pytest.mark.parametrize("method", ["dmcm", "dcca"])
def test_bad_rows_are_refused_before_training(tmp_path, method, spoil, message):
    with pytest.raises(DatasetError, match=message):
        make_label_trainer(method, tmp_path, train=spoil(toy_labels()))
    assert not list(tmp_path.iterdir())


def test_fewer_prepared_pairs_than_a_batch_are_refused(tmp_path):
    pairs = LabelDataset(toy_labels(29))
    with pytest.raises(ValueError, match="29 pairs, fewer than a batch of 30"):
        make_label_trainer("ce", tmp_path, train=pairs)


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_fields_of_the_data_and_of_the_method_make_the_model(method):
    model = tiny_label_model(method)
    assert (model.config.image_size, model.config.n_classes) == (IMAGE_SIZE, N_CLASSES)
    assert model.config.method == method
    for name, value in LABEL_METHODS[method].shape.items():
        if not name.endswith(("_size", "_sizes")):
            assert getattr(model.config, name) == value, name


@pytest.mark.parametrize("method", WITHOUT_CLASSES)
def test_projection_is_that_of_the_weights_it_is_saved_with(tmp_path, method):
    """In the middle of an epoch too."""
    trainer = make_label_trainer(method, tmp_path, save_strategy="steps", save_steps=3)
    trainer.train()
    for step in (3, 6):
        saved = AutoModel.from_pretrained(tmp_path / f"checkpoint-{step}")
        later = make_label_trainer(method, tmp_path / "later", model=saved)
        before = weights(later)
        later.method.fit_projection()
        torch.testing.assert_close(weights(later), before, atol=1e-4, rtol=1e-3)


def test_all_labels_are_corrected_in_the_last_epoch_that_steps_allow(tmp_path):
    """With `max_steps`, the epochs of the arguments say nothing."""
    trainer = make_label_trainer("lcn", tmp_path, max_steps=8, num_train_epochs=100)
    trainer.train()
    trainer.state.epoch = 1  # the second of two
    batch = trainer.task.make_batch(trainer.train_dataset.__getitems__(list(range(20))))
    output = trainer.model(**batch.inputs)
    image_label, text_label = trainer.method.labels(output, batch)
    assert torch.equal(image_label, output.image_class_logits.argmax(dim=1))
    assert torch.equal(text_label, output.text_class_logits.argmax(dim=1))


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        *(("mrl", "beta", 7), ("mrl", "contrastive_temperature", -1), ("sdml", "alpha", -2)),
        *(("dcca", "ridge", -1), ("dscmr", "invariance_weight", "x")),
    ],
)
def test_constants_out_of_range_are_refused(tmp_path, method, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` in `method_options` must be a number"):
        make_label_trainer(method, tmp_path, fields={"method_options": {name: value}})


def test_prepared_pairs_that_are_not_finite_are_refused():
    with pytest.raises(DatasetError, match="NaN or infinite"):
        LabelDataset(not_a_number(toy_labels(8)))


def test_an_empty_validation_split_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'validation' has 0 pairs"):
        make_label_trainer("mrl", tmp_path, eval_dataset=toy_labels(8).select([]))


def test_classes_in_another_order_are_refused(tmp_path):
    names = [f"class {k}" for k in reversed(range(N_CLASSES))]
    rows = toy_labels(40, seed=1)
    for name in ("image_label", "text_label", "true_label"):
        rows = rows.cast_column(name, datasets.ClassLabel(names=names))
    with pytest.raises(DatasetError, match="numbers its classes otherwise"):
        make_label_trainer("mrl", tmp_path, eval_dataset=rows)


@pytest.mark.parametrize(("method", "epochs"), [("mrl_warmup", 2), ("dmcm", 2), ("mrl", 0)])
def test_the_warm_up_is_the_methods_own_where_none_is_asked_for(tmp_path, method, epochs):
    options = {"num_train_epochs": 4, "warmup_epochs": -1}
    assert make_label_trainer(method, tmp_path, **options).args.warmup_epochs == epochs
    with pytest.raises(ValueError, match="no epoch is left"):
        make_label_trainer("dmcm", tmp_path, num_train_epochs=2, warmup_epochs=-1)


def test_a_folder_of_an_earlier_run_is_refused(tmp_path):
    """Else its checkpoints would count as the newest ones of this run."""
    first = make_label_trainer("mrl", tmp_path)
    first.train()
    first.train()  # the same trainer may go on
    with pytest.raises(FileExistsError, match=r"earlier run \(checkpoint-8\)"):
        make_label_trainer("mrl", tmp_path).train()
    assert (tmp_path / "checkpoint-8").is_dir()


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        ("sdml", {"reconstructs": False}, "`reconstructs`"),
        ("dcca", {"canonical_size": None}, "`canonical_size`"),
        ("mrl", {"classifier": "none"}, "`classifier`"),
    ],
)
def test_a_model_that_lacks_a_part_is_refused(tmp_path, method, fields, message):
    with pytest.raises(ValueError, match=f"needs a model with {message}"):
        make_label_trainer(method, tmp_path, fields=fields)


def test_dmcm_trains_its_own_model_alone(tmp_path):
    message = "DMCM trains a model with a DmcmConfig, found a CommonSpaceConfig"
    with pytest.raises(ValueError, match=message):
        make_label_trainer("dmcm", tmp_path, model=tiny_label_model("mrl"))


@pytest.mark.parametrize("method", ["dmcm", "mrl"])
def test_fields_that_no_config_has_are_refused(method):
    with pytest.raises(ValueError, match="has no field 'betta'"):
        build_label_model(method, LabelDataset(toy_labels(8)), betta=0.3)


def test_weights_in_the_loss_of_a_method_count(tmp_path):
    trainer = make_label_trainer("mrl", tmp_path)
    inputs = trainer.train_dataset.__getitems__(list(range(10)))
    batch = trainer.task.make_batch(inputs)
    losses = trainer.method.loss(trainer.model(**batch.inputs), batch)
    weights_of_pairs, loss = torch.arange(10.0), trainer.method.loss
    trainer.method.loss = lambda *asked: weights_of_pairs * loss(*asked)
    expected = (weights_of_pairs * losses).mean()
    torch.testing.assert_close(trainer.compute_loss(trainer.model, inputs), expected)


def test_an_oracle_with_gaps_is_refused_before_training(tmp_path):
    rows = toy_labels(noise="sym_40")
    labels = [None if row == 3 else value for row, value in enumerate(rows["true_label"])]
    rows = with_column(rows, "true_label", labels)
    with pytest.raises(DatasetError, match=r"Row 3 .*'true_label'"):
        make_label_trainer("dmcm", tmp_path, train=rows)

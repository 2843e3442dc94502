"""NCR's training: its equations against slow recomputation, resumption, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import EarlyStoppingCallback, TrainerCallback

from ncr_trainers import make_ncr
from noisy_xmodal import NcrConfig, NcrModel
from noisy_xmodal.data import DatasetError, drop_noisy_pairs
from noisy_xmodal.losses import info_nce_loss, mean_triplet_loss
from noisy_xmodal.methods.ncr import adaptive_prediction
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training.samplers import ChunkSampler
from toy_pairs import REGION_SIZE, toy_pairs

NOISE = CompleteMismatch(0.4, "caption")


def make_trainer(out: Path, method=None, **options):
    """A tiny NCR whose warm-up takes two epochs."""
    sizes = {"word_size": 24, "hidden_size": 24, "normalize_tokens": False}
    return make_ncr(out, fields=sizes | (method or {}), **{"warmup_epochs": 2} | options)


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_ncr_beats_plain_training_and_finds_the_wrong_pairs(tmp_path):
    rsum = {}
    for robust in (True, False):
        trainer = make_trainer(tmp_path / str(robust), robust=robust, num_train_epochs=16)
        trainer.train()
        rsum[robust] = trainer.evaluate()["eval_rsum"]
    divisions = json.loads((tmp_path / "True/divisions/divisions.json").read_text())
    assert [row["epoch"] for row in divisions] == [e for e in range(2, 16) for _ in "ab"]
    assert max(row["auroc"] for row in divisions) > 0.9
    assert rsum[True] > rsum[False] + 10


def test_every_objective_and_rectification_trains(tmp_path):
    for index, method in enumerate(
        [
            {"objective": "triplet"},
            {"objective": "mean_triplet", "soft_margin": "sine"},
            {"objective": "soft_infonce"},
            {"rectification": "batch"},
            {"co_rectify": False},
        ]
    ):
        trainer = make_trainer(tmp_path / str(index), method=method, num_train_epochs=3)
        before = weights(trainer)
        trainer.train()
        changed = [
            name for name, value in weights(trainer).items() if not torch.equal(value, before[name])
        ]
        assert "peer_a.text_encoder.words.weight" in changed
        assert "peer_b.text_encoder.words.weight" in changed
        assert np.isfinite(trainer.evaluate()["eval_rsum"])


def test_loss_pass_equals_a_loop_over_the_chunks(tmp_path):
    trainer = make_trainer(tmp_path, method={"objective": "triplet"})
    found = trainer.loss_pass()
    pairs, processor = trainer.train_dataset, trainer.processing_class
    trainer.model.eval()
    seen = np.zeros(len(pairs), dtype=int)
    for chunk in ChunkSampler(len(pairs), 32, seed=trainer.args.seed):
        items = [pairs[pair_id] for pair_id in chunk]
        seen[chunk] += 1
        rows = np.array([item["image_row"] for item in items])
        negatives = ~torch.from_numpy(pairs.shared_texts.match(rows[:, None], np.array(chunk)))
        for k, peer in enumerate(trainer.model.peers):
            inputs = processor(
                images=[item["regions"] for item in items], text=[item["caption"] for item in items]
            )
            with torch.no_grad():
                scores = peer(**inputs).scores
            loss = mean_triplet_loss(scores, 0.2, negatives)
            np.testing.assert_allclose(found["loss"][k, chunk], loss, atol=1e-6)
            prediction = adaptive_prediction(scores, negatives, ceiling=0.2)
            np.testing.assert_allclose(found["prediction"][k, chunk], prediction, atol=1e-5)
    assert (seen == 1).all()


def test_loss_pass_draws_no_random_numbers_and_restores_training_mode(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.model.train()
    before = torch.get_rng_state()
    first, second = trainer.loss_pass(), trainer.loss_pass()
    assert torch.equal(before, torch.get_rng_state())
    assert trainer.model.training
    np.testing.assert_array_equal(first["loss"], second["loss"])


def test_targets_are_eq_4_with_the_division_of_the_other_peer(tmp_path):
    trainer = make_trainer(tmp_path)
    rng = np.random.default_rng(0)
    shape = trainer.pair_state.shape
    trainer.pair_state["prediction"] = rng.random(shape)
    trainer.pair_state["clean_probability"] = rng.random(shape)
    trainer.pair_state["is_clean"] = (trainer.pair_state["clean_probability"] >= 0.5).astype(
        np.uint8
    )
    targets = trainer.method.targets()
    prediction = trainer.pair_state["prediction"]
    for k in range(2):
        for i in range(shape[1]):
            w = trainer.pair_state["clean_probability"][1 - k, i]
            if w >= 0.5:
                expected = w * 1 + (1 - w) * prediction[k, i]
            else:
                expected = (prediction[0, i] + prediction[1, i]) / 2
            assert targets[k, i] == pytest.approx(expected)
        np.testing.assert_array_equal(
            trainer.method.batch_mask(k), trainer.pair_state["clean_probability"][1 - k] >= 0.5
        )


def test_gradients_are_clipped_peer_by_peer(tmp_path):
    trainer = make_trainer(tmp_path, max_grad_norm=1.0)
    a, b = trainer.model.peers
    for parameter in a.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    for parameter in b.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    small = [parameter.grad.clone() for parameter in b.parameters()]
    trainer._clip_grad_norm(trainer.model)
    norm = torch.cat([parameter.grad.flatten() for parameter in a.parameters()]).norm()
    assert norm == pytest.approx(1.0, rel=1e-4)
    assert all(torch.equal(p.grad, g) for p, g in zip(b.parameters(), small, strict=True))


def test_oracle_changes_nothing_in_training(tmp_path):
    honest = toy_pairs(noise=NOISE)
    lies = [[not flag for flag in row] for row in honest["is_noisy"]]
    lying = honest.remove_columns("is_noisy").add_column(
        "is_noisy", lies, feature=honest.features["is_noisy"]
    )
    blind = honest.remove_columns("is_noisy")
    results = []
    for name, train in (("honest", honest), ("lying", lying), ("blind", blind)):
        trainer = make_trainer(tmp_path / name, train=train)
        trainer.train()
        results.append(weights(trainer))
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


class KilledError(Exception):
    """Stands for the signal that ends a process."""


class Kill(TrainerCallback):
    """Ends training at a step, as a signal would: nothing of the trainer runs after it."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KilledError


@pytest.mark.parametrize(
    ("kill_at", "saving"),
    [
        (9, {}),  # one step after the checkpoint at the end of epoch 2
        (13, {}),  # within the division's epoch, so the last whole epoch is repeated
        (
            11,
            {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2},
        ),
    ],
)
def test_killed_run_resumes_with_the_same_divisions_and_ends_the_same(tmp_path, kill_at, saving):
    whole = make_trainer(tmp_path / "whole", **saving)
    whole.train()
    killed = make_trainer(tmp_path / "killed", callbacks=[Kill(kill_at)], **saving)
    with pytest.raises(KilledError):
        killed.train()
    again = make_trainer(tmp_path / "killed", **saving)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == whole.state.global_step
    for name in ("loss", "clean_probability", "is_clean", "target"):
        np.testing.assert_array_equal(again.pair_state[name], whole.pair_state[name])
    last = {t: weights_of(t.last_checkpoint()) for t in (whole, again)}
    assert all(torch.equal(v, last[again][name]) for name, v in last[whole].items())
    histories = [
        json.loads((tmp_path / name / "divisions/divisions.json").read_text())
        for name in ("whole", "killed")
    ]
    assert histories[0] == histories[1]


def weights_of(folder):
    return NcrModel.from_pretrained(folder).state_dict()


def test_half_written_checkpoint_is_never_resumed_from(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    newest = Path(trainer.last_checkpoint())
    torn = tmp_path / ".checkpoint-999.partial"
    shutil.copytree(newest, torn)
    (torn / "trainer_state.json").unlink()
    assert Path(trainer.last_checkpoint()) == newest


def test_checkpoint_keeps_the_state_of_other_callbacks(tmp_path):
    stopping = EarlyStoppingCallback(early_stopping_patience=50)
    trainer = make_trainer(tmp_path, callbacks=[stopping], learning_rate=0.0)
    trainer.train()
    state = json.loads((Path(trainer.last_checkpoint()) / "trainer_state.json").read_text())
    recorded = state["stateful_callbacks"]["EarlyStoppingCallback"]
    assert recorded["attributes"]["early_stopping_patience_counter"] == 3


def test_output_holds_no_pickle(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    trainer.save_model()
    endings = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert endings <= {".json", ".safetensors", ".py"}  # the shim


def test_saved_model_gives_the_same_scores(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    trainer.save_model()
    validation = toy_pairs(20, seed=1)
    again = NcrModel.from_pretrained(tmp_path)
    assert trainer.evaluator(again, validation) == trainer.evaluator(trainer.model, validation)


def test_failed_save_leaves_the_old_model_whole(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.save_model()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        trainer.model.peer_a.logit_scale.add_(1)

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(trainer.processing_class, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="no space"):
        trainer.save_model()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_plain_training_divides_nothing(tmp_path):
    trainer = make_trainer(tmp_path, robust=False)
    trainer.train()
    assert "is_clean" not in trainer.pair_state
    assert not (tmp_path / "divisions").exists()


def test_equal_losses_fall_back_to_all_clean_and_say_so(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, num_train_epochs=3)
    monkeypatch.setattr(
        trainer.method,
        "loss_pass",
        lambda output, batch: {
            "loss": torch.ones(len(batch.pair_id)),
            "prediction": torch.zeros(len(batch.pair_id)),
        },
    )
    with pytest.warns(UserWarning, match="All pairs count as clean"):
        trainer.train()
    assert trainer.method.batch_mask(0).all()


def test_one_network_without_a_division_stops_nothing(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, num_train_epochs=3)
    loss_pass = trainer.loss_pass

    def one_degenerate():
        found = loss_pass()
        found["loss"][1] = 1.0
        return found

    monkeypatch.setattr(trainer, "loss_pass", one_degenerate)
    with pytest.warns(UserWarning, match="All pairs count as clean"):
        trainer.train()
    rows = json.loads((tmp_path / "divisions/divisions.json").read_text())
    assert rows[0]["precision"] is not None
    assert rows[1]["precision"] is None


def test_division_alone_leaves_noisy_pairs_as_negatives(tmp_path):
    trainer = make_trainer(tmp_path, method={"co_rectify": False})
    trainer.train()
    assert "target" not in trainer.pair_state
    for peer, other in ((0, 1), (1, 0)):
        rows = [pair for pair, of in next(iter(trainer.batch_sampler)) if of == peer]
        items = trainer.data_collator([trainer.train_dataset[pair] for pair in rows])
        batch = trainer.task.make_batch(items, peer)
        output = trainer.judge(peer, batch)
        weights = trainer.pair_state["is_clean"][other][rows]
        expected = weights * info_nce_loss(output.logits_per_image, batch.negatives).numpy()
        assert 0 < weights.sum() < len(weights)
        np.testing.assert_allclose(trainer.method.loss(output, batch), expected, rtol=1e-6)


@pytest.mark.parametrize("rectification", ["epoch", "batch"])
def test_rectification_alone_aims_at_the_mean_prediction_of_both_peers(tmp_path, rectification):
    method = {"co_divide": False, "rectification": rectification}
    trainer = make_trainer(tmp_path, method=method, num_train_epochs=3)
    trainer.train()
    state = trainer.pair_state
    assert (state.divided_at, "is_clean" in state) == ([], False)
    assert not (tmp_path / "divisions/divisions.json").exists()
    assert trainer.method.batch_mask(0) is None
    for k in range(2):
        np.testing.assert_allclose(state["target"][k], (sum(state["prediction"]) / 2))
    rows = [pair for pair, of in next(iter(trainer.batch_sampler)) if of == 0]
    items = trainer.data_collator([trainer.train_dataset[pair] for pair in rows])
    batch = trainer.task.make_batch(items, 0)
    outputs = [trainer.judge(peer, batch) for peer in (0, 1)]
    targets = sum(trainer.method.predict(output, batch) for output in outputs) / 2
    if rectification == "epoch":
        targets = torch.from_numpy(state["target"][0][rows]).to(targets)
    expected = trainer.method.objective.robust(outputs[0], targets, batch.negatives)
    torch.testing.assert_close(trainer.method.loss(outputs[0], batch), expected)


def test_without_both_parts_nothing_is_left():
    with pytest.raises(StrictDataclassClassValidationError, match="nothing of NCR is left"):
        NcrConfig(co_divide=False, co_rectify=False)


def test_without_progress_bars_every_epoch_is_reported_in_words(tmp_path, capsys):
    make_trainer(tmp_path, num_train_epochs=2, warmup_epochs=1).train()
    printed = capsys.readouterr().out
    assert "epoch  1.0  judged noisy" in printed
    assert "truly 40.0%" in printed
    assert printed.count("validation rSum") == 2


def test_divisions_are_drawn(tmp_path):
    trainer = make_trainer(tmp_path, plot_divisions=True, num_train_epochs=3)
    trainer.train()
    picture = tmp_path / "divisions/epoch_002.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_upper_mark_trains_on_right_pairs_only(tmp_path):
    train = drop_noisy_pairs(toy_pairs(noise=NOISE))
    trainer = make_trainer(tmp_path, train=train, robust=False)
    assert len(trainer.train_dataset) == 72
    assert not trainer.train_dataset.is_noisy.any()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.remove_columns("captions"), r"captions.*image_id"),
        (lambda d: d.remove_columns("regions"), r"regions.*captions"),
        (lambda d: d.select(range(4)), r"8 pairs"),
        (
            lambda d: d.map(
                lambda row, i: {"captions": ["", "x"] if i == 3 else row["captions"]},
                with_indices=True,
            ),
            r"3",
        ),
        (
            lambda d: d.map(
                lambda row, i: {
                    "regions": [[float("nan")] * REGION_SIZE] if i == 5 else row["regions"]
                },
                with_indices=True,
            ),
            r"5",
        ),
    ],
    ids=["no captions", "no images", "too few", "empty caption", "nan"],
)
def test_bad_data_is_refused_before_training(tmp_path, spoil, message):
    with pytest.raises(DatasetError, match=message):
        make_trainer(tmp_path, train=spoil(toy_pairs()))
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("method", "epoch", "expected"),
    [
        ("triplet", 1, False),
        ("triplet", 2, True),
        ("mean_triplet", 2, False),
        ("infonce", 2, False),
    ],
)
def test_few_pairs_have_a_gradient_where_the_hardest_negatives_alone_count(
    tmp_path, method, epoch, expected
):
    trainer = make_trainer(tmp_path, method={"objective": method})
    trainer.state.epoch = epoch
    assert trainer.forward_options.get("few_pairs", False) is expected

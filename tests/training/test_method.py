"""The hooks of a method: matrix targets, partners, stages, the whole output, tracked parts."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.methods import Ncr, Vse
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training import Constant, Method, PairBatch, PairTask
from toy_pairs import REGION_SIZE, toy_pairs


def trainer_of(out: Path, method: Method, rows: Any = None, **options: Any) -> RobustTrainer:
    """A trainer of one tiny network, three epochs of three steps."""
    torch.manual_seed(0)
    rows = toy_pairs(36, noise=CompleteMismatch(0.4, "caption")) if rows is None else rows
    words = train_word_tokenizer(caption for row in rows["captions"] for caption in row)
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(words),
        word_encoder="words",
        word_size=8,
        hidden_size=8,
        dropout=0.0,
        similarity="cosine",
        normalize_tokens=False,
    )
    arguments = {
        "num_train_epochs": 3,
        "warmup_epochs": 0,
        "per_device_train_batch_size": 24,
        "learning_rate": 1e-2,
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "save_total_limit": None,
        "disable_tqdm": True,
        "use_cpu": True,
        "plot_divisions": False,
    }
    return RobustTrainer(
        MatchingModel(config),
        RobustTrainingArguments(output_dir=str(out), **arguments | options),
        method,
        rows,
        processing_class=MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), words),
    )


def weights(trainer: RobustTrainer) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in trainer.model.state_dict().items()}


class Contrast(Method):
    """The simplest method: cross-entropy of every pair."""

    title = "contrast"
    task = PairTask

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        own = torch.arange(len(output.logits_per_image))
        return torch.nn.functional.cross_entropy(output.logits_per_image, own, reduction="none")


class SoftMatrix(Contrast):
    """Targets that are a matrix for the batch: what a pair lacks goes to similar texts."""

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        similar = (output.text_embeds @ output.text_embeds.T).detach()  # (n_pairs, n_pairs)
        similar = similar.masked_fill(~batch.negatives, -torch.inf).softmax(dim=1)
        self.seen = 0.8 * torch.eye(len(similar)) + 0.2 * similar
        return -(self.seen * output.logits_per_image.log_softmax(dim=1)).sum(dim=1)


def test_targets_can_be_a_matrix_and_the_whole_output_is_seen(tmp_path):
    method = SoftMatrix()
    trainer = trainer_of(tmp_path, method)
    before = weights(trainer)
    trainer.train()
    torch.testing.assert_close(method.seen.sum(dim=1), torch.ones(24))
    assert any((before[name] != value).any() for name, value in weights(trainer).items())


class Exchange(Contrast):
    """From the second epoch on, a pair is trained with the caption of the pair before it."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list, list]] = []

    def begin_epoch(self, epoch: int, resumed: bool) -> None:
        if epoch == 1 and not resumed:
            n_pairs = len(self.engine.train_dataset)
            self.engine.pair_state["partner"] = np.roll(np.arange(n_pairs), 1)[None]

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        self.batches.append((self.engine.epoch, batch.pair_id.tolist(), batch))
        return super().loss(output, batch)


def test_partners_exchange_captions_and_are_no_negatives(tmp_path):
    method = Exchange()
    trainer = trainer_of(tmp_path, method, dataloader_num_workers=1)
    trainer.train()
    pairs = trainer.train_dataset
    tokenizer = trainer.processing_class.tokenizer
    for epoch, ids, batch in method.batches:
        texts = [(pair_id - 1) % len(pairs) if epoch else pair_id for pair_id in ids]
        captions = [pairs.captions()[text] for text in texts]
        expected = tokenizer(captions, padding=True, return_tensors="pt")["input_ids"]
        torch.testing.assert_close(batch.inputs["input_ids"], expected)
        rows, text_rows = pairs.row_of_pair[ids], pairs.row_of_pair[texts]
        own = {row: set(np.array(pairs.captions())[pairs.row_of_pair == row]) for row in set(rows)}
        for i in range(len(ids)):
            for j in range(len(ids)):
                is_own = captions[j] in own[rows[i]] or captions[j] == captions[i]
                is_own |= rows[i] in (rows[j], text_rows[j])
                assert batch.negatives[i, j] == (not is_own), (i, j)


def test_partners_are_saved_and_a_resumed_run_ends_the_same(tmp_path):
    whole = trainer_of(tmp_path / "whole", Exchange())
    whole.train()
    again = trainer_of(tmp_path / "whole", Exchange())
    again.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-6"))
    np.testing.assert_array_equal(again.pair_state["partner"], whole.pair_state["partner"])
    for name, value in weights(whole).items():
        np.testing.assert_array_equal(value, weights(again)[name], err_msg=name)


class Stages(Contrast):
    """Keeps a number for each pair, and begins a second stage with the third epoch."""

    is_dividing = True

    def stages(self) -> tuple[int, ...]:
        return (0, 2)

    def divides_at(self, epoch: int) -> bool:
        return epoch == 2

    def loss_pass(self, output: Any, batch: PairBatch) -> dict[str, Tensor]:
        return {"loss": super().loss(output, batch)}

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        known = "clean_probability" in self.engine.pair_state
        losses = super().loss(output, batch)
        return self.look_up("clean_probability", batch) * losses if known else losses


def test_a_stage_begins_with_first_weights_and_what_the_last_one_divided(tmp_path):
    options = {"lr_scheduler_type": "linear", "num_train_epochs": 4}
    trainer = trainer_of(tmp_path / "whole", Stages(), **options)
    first = weights(trainer)
    seen: dict[str, Any] = {}
    restart = trainer.restart

    def observed() -> None:
        seen["before"] = weights(trainer)
        restart()
        seen["weights"] = weights(trainer)
        seen["state"] = len(trainer.optimizer.state)
        seen["rate"] = trainer.lr_scheduler.get_last_lr()[0]
        seen["losses"] = trainer.pair_state["loss"]

    trainer.restart = observed
    trainer.train()
    last = weights(trainer)
    assert seen["state"] == 0
    assert seen["rate"] == pytest.approx(trainer.args.learning_rate)
    for name, value in seen["weights"].items():
        np.testing.assert_array_equal(value, first[name])
    assert any((value != first[name]).any() for name, value in seen["before"].items())
    trainer.model.load_state_dict({n: torch.from_numpy(w) for n, w in seen["before"].items()})
    np.testing.assert_allclose(trainer.loss_pass()["loss"], seen["losses"], rtol=1e-5)
    for checkpoint in (3, 6, 9):  # an epoch has three steps
        again = trainer_of(tmp_path / "whole", Stages(), **options)
        again.train(resume_from_checkpoint=str(tmp_path / f"whole/checkpoint-{checkpoint}"))
        for name, value in last.items():
            np.testing.assert_array_equal(value, weights(again)[name], err_msg=name)


def test_other_first_weights_are_not_resumed_with(tmp_path):
    trainer_of(tmp_path, Stages()).train()
    other = trainer_of(tmp_path, Stages())
    other.first_weights = {name: value + 1 for name, value in other.first_weights.items()}
    with pytest.raises(ValueError, match="first weights"):
        other.train(resume_from_checkpoint=True)


class Parts(Contrast):
    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        losses = super().loss(output, batch)
        self.engine.track("half_loss", losses / 2)
        return losses


def test_parts_of_the_loss_are_logged_beside_it(tmp_path):
    trainer = trainer_of(tmp_path, Parts())
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 3
    for row in rows:
        assert row["half_loss"] == pytest.approx(row["loss"] / 2, abs=1e-3)


class Ranges(Contrast):
    options: ClassVar[dict[str, Constant]] = {
        "share": Constant(0.5, 0, 1),
        "name": Constant("a"),
        "curve": Constant("sine", choices=("sine", "linear")),
        "times": Constant(3, 1, 9),
        "is_on": Constant(True),
        "further": Constant({}),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shares": 1},
            "contrast has no option 'shares' in `method_options`; it has: share, na",
        ),
        ({"share": 2}, r"contrast: `share` .* number in \[0, 1\], found 2"),
        ({"share": "much"}, "found 'much'"),
        ({"share": True}, "must be a number .* found True"),
        ({"share": float("nan")}, "found nan"),
        ({"name": 1}, "`name` .* must be str, found 1"),
        ({"curve": "cosine"}, "`curve` .* must be one of sine, linear, found 'cosine'"),
        ({"curve": ["sine"]}, "must be one of sine, linear"),
        ({"times": 2.5}, r"`times` .* must be an integer in \[1, 9\], found 2.5"),
        ({"times": True}, "must be an integer"),
        ({"is_on": "false"}, "`is_on` .* must be true or false, found 'false'"),
        ({"is_on": 0}, "must be true or false"),
        ({"further": []}, "must be a mapping"),
    ],
)
def test_constants_out_of_range_are_refused(options, message):
    config = MatchingConfig(method_options=options)
    with pytest.raises(ValueError, match=message):
        Ranges().read_constants(config)


def test_constants_keep_their_type_and_take_integers_for_floats():
    options = {"share": 1, "times": 9, "is_on": False, "curve": "linear"}
    constants = Ranges().read_constants(MatchingConfig(method_options=options))
    assert vars(constants) == {"name": "a", "further": {}} | options


def test_a_model_that_does_not_suit_the_method_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"NCR trains 2 network\(s\), and a MatchingModel"):
        trainer_of(tmp_path, Ncr())
    with pytest.raises(ValueError, match="pass a method, such as"):
        trainer_of(tmp_path, Vse)
    method = Vse()
    trainer_of(tmp_path, method)
    with pytest.raises(ValueError, match="belongs to another trainer"):
        trainer_of(tmp_path, method)


class Divides(Contrast):
    """Forgets what a loss pass keeps."""

    title = "halves"
    is_dividing = True


class Empty(Method):
    title = "nothing"
    task = PairTask


def test_a_method_without_what_it_needs_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="halves has no `loss_pass`"):
        trainer_of(tmp_path, Divides())
    with pytest.raises(ValueError, match="nothing has no `loss`"):
        trainer_of(tmp_path, Empty())

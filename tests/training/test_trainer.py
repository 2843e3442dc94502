"""What the one training loop owes to devices and to batches."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import TrainerCallback

from caption_methods import make_caption_trainer
from label_trainers import make_label_trainer
from ncr_trainers import make_ncr
from noisy_xmodal import RobustTrainer
from noisy_xmodal.data import DatasetError
from noisy_xmodal.training.samplers import PeerBatchSampler
from toy_pairs import toy_pairs

BARE = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}


def make_trainer(out, n_images=8, captions_per_image=2, **options: Any) -> RobustTrainer:
    """A tiny NCR without validation, four steps an epoch by default."""
    train = toy_pairs(n_images, captions_per_image=captions_per_image)
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4} | BARE
    return make_ncr(out, train, **arguments | options)


# Half precision


def scale_gradients(trainer, monkeypatch, init_scale: float) -> torch.amp.GradScaler:
    """Give a trainer a scaler of gradients, as fp16 does on a GPU."""
    accelerator = trainer.accelerator
    monkeypatch.setattr(accelerator, "native_amp", True)
    monkeypatch.setitem(accelerator.state.__dict__, "_mixed_precision", "fp16")
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
    monkeypatch.setattr(accelerator, "scaler", scaler)
    return scaler


def test_steps_whose_gradients_overflow_are_skipped(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, logging_strategy="steps", logging_steps=1, ema_decay=0.5)
    scaler = scale_gradients(trainer, monkeypatch, init_scale=2.0**18)
    weights = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_, **__):
            state = [p.detach().clone() for p in trainer.model.parameters()]
            weights.append(torch.cat([p.flatten() for p in state]))

    trainer.add_callback(Watch())
    trainer.train()
    moved = [not torch.equal(a, b) for a, b in pairwise(weights)]
    n_skipped = 18 - int(np.log2(scaler.get_scale()))
    assert 0 < n_skipped < len(weights)
    assert moved == [False] * (n_skipped - 1) + [True] * (len(weights) - n_skipped)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_gradients_are_unscaled_once_a_step_and_clipped_peer_by_peer(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, max_grad_norm=0.5, logging_strategy="steps", logging_steps=1)
    scaler = scale_gradients(trainer, monkeypatch, init_scale=2.0**10)
    norms = []

    class Watch(type(trainer)):
        def _clip_grad_norm(self, model):
            norm = super()._clip_grad_norm(model)
            norms.append(
                [
                    float(torch.nn.utils.get_total_norm([p.grad for p in net.parameters()]))
                    for net in self.networks()
                ]
            )
            return norm

    trainer.__class__ = Watch
    trainer.train()
    assert scaler.get_scale() == 2.0**10, "no step was skipped"
    assert len(norms) == trainer.state.max_steps == 8
    assert np.allclose(norms, 0.5, rtol=1e-3), "each peer was clipped to .5 by itself"
    shown = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    assert 0.5 < max(shown) < 100, "norms are those of unscaled gradients"


def test_without_clipping_gradients_are_left_alone(tmp_path):
    trainer = make_trainer(tmp_path, max_grad_norm=0.0, max_steps=1, warmup_epochs=0)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    assert any(
        not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True)
    )


def test_the_rate_is_a_tenth_after_the_epochs_of_the_recipe(tmp_path):
    options = {"lr_scheduler_type": "constant", "lr_decay_epoch": 2, "num_train_epochs": 3}
    options |= {"learning_rate": 1e-3, "gradient_accumulation_steps": 2}
    trainer = make_trainer(tmp_path, **options, logging_strategy="steps", logging_steps=1)
    trainer.train()
    rates = [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]
    assert rates == pytest.approx([1e-3] * 4 + [1e-4] * 2)


def test_summed_losses_are_the_mean_times_the_pairs(tmp_path):
    losses = {}
    for sums in (False, True):
        trainer = make_trainer(tmp_path, sum_losses=sums)
        trainer.batch_sampler.set_epoch(0)
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        trainer.model.eval()
        losses[sums] = float(trainer.compute_loss(trainer.model, inputs).detach())
    assert losses[True] == pytest.approx(4 * losses[False])


class NoDoubles(TorchDispatchMode):
    """Fails where a float64 tensor is made on the device.

    Every tensor counts as one of the device, but for those that `cpu()` gave and what is made of
    them alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_host: dict[int, torch.Tensor] = {}
        self.looks = True

    def hold(self, tensor: torch.Tensor) -> torch.Tensor:
        self.on_host[id(tensor)] = tensor
        return tensor

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        placed = (kwargs or {}).get("device") is not None
        for tensor in tree_leaves(found):
            if not isinstance(tensor, torch.Tensor):
                continue
            host = func.__name__.startswith("lift_fresh")  # what NumPy gave
            host |= all(id(x) in self.on_host for x in read) and not (placed and tensor.ndim)
            if host:
                self.hold(tensor)
            elif tensor.dtype == torch.float64 and self.looks:
                raise AssertionError(f"{func} makes float64 on the device")
        return found


LATER = ("rcl", "decl", "crcl", "gsc", "cream", "bicro", "l2rm", "sps", "sir")


@pytest.mark.parametrize("method", ["ncr", "dmcm", "dcca", "ce", *LATER])
def test_no_device_is_asked_for_float64(tmp_path, monkeypatch, method):
    watch = NoDoubles()
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: watch.hold(tensor.clone()))
    with watch:
        if method == "ncr":
            trainer = make_trainer(tmp_path)
        elif method in LATER:
            options = {"run_epochs": 2, "n_restarts": 1} if method == "crcl" else {}
            trainer = make_caption_trainer(method, tmp_path, options, save_strategy="no")
        else:
            trainer = make_label_trainer(method, tmp_path, **BARE)
        backward = trainer.accelerator.backward

        def unwatched(*args: Any, **kwargs: Any) -> None:  # it goes the way back by other calls
            watch.looks = False
            backward(*args, **kwargs)
            watch.looks = True

        monkeypatch.setattr(trainer.accelerator, "backward", unwatched)
        trainer.train()


def test_outputs_over_all_pairs_are_made_in_the_precision_of_the_training(tmp_path):
    trainer = make_trainer(tmp_path, bf16=True)
    seen = []
    hook = trainer.networks()[0].register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    next(iter(trainer.outputs(4)))
    hook.remove()
    assert seen == [True]


# Batches and what has no answer


def test_a_trainer_of_pairs_predicts_nothing_for_rows(tmp_path):
    with pytest.raises(ValueError, match=r"`evaluate\(dataset\)`.*score_matrix"):
        make_trainer(tmp_path).predict(toy_pairs(4))


@pytest.mark.parametrize(
    ("n_images", "options", "message"),
    [
        (8, {"per_device_train_batch_size": 1}, "`per_device_train_batch_size` is 1: .*at least 2"),
        (5, {"per_device_train_batch_size": 2}, r"^5 pairs in batches of 2 .* leave .* 1 pair"),
    ],
)
def test_batches_of_one_pair_are_refused(tmp_path, n_images, options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, n_images, 1, **options)


def test_a_rest_of_one_pair_may_be_dropped(tmp_path):
    options = {"per_device_train_batch_size": 2, "dataloader_drop_last": True}
    trainer = make_trainer(tmp_path, 5, 1, **options)
    assert {len(batch) for batch in trainer.batch_sampler} == {2 * 2}  # of two peers


def test_one_image_alone_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'train' has one image: a wrong pair needs another"):
        make_trainer(tmp_path, 1, 9)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize(("n_pairs", "batch_size"), [(17, 4), (31, 7), (40, 8), (9, 9), (19, 10)])
def test_whole_batches_alone_and_other_pairs_left_over_every_epoch(n_pairs, batch_size, with_mask):
    mask = np.random.default_rng(0).random(n_pairs) < 0.6
    sampler = PeerBatchSampler(
        n_pairs, batch_size, 2, clean_mask=(lambda _: mask) if with_mask else None, drop_last=True
    )
    left = set()
    for epoch in range(8):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == n_pairs // batch_size
        for peer in range(2):
            own = [[pair for pair, of in batch if of == peer] for batch in batches]
            assert [len(batch) for batch in own] == [batch_size] * len(batches)
            seen = [pair for batch in own for pair in batch]
            assert len(set(seen)) == len(seen)
            left.add(frozenset(range(n_pairs)) - frozenset(seen))
    assert len(left) > 1 or n_pairs % batch_size == 0
    assert sampler.smallest == batch_size


@pytest.mark.parametrize(("n_pairs", "batch_size"), [(2, 2), (5, 2), (7, 3), (31, 7), (100, 33)])
def test_the_smallest_batch_is_known_beforehand(n_pairs, batch_size):
    sampler = PeerBatchSampler(n_pairs, batch_size)
    assert sampler.smallest == min(len(batch) for batch in sampler)

"""What is saved of a run goes on exactly where it stopped, without a pickle."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import get_scheduler

from noisy_xmodal.training import stored_states

OPTIMIZERS = {
    "adam": lambda groups: torch.optim.Adam(groups, betas=(0.8, 0.99)),
    "adamw-amsgrad": lambda groups: torch.optim.AdamW(groups, amsgrad=True),
    "sgd": torch.optim.SGD,
    "sgd-momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def groups(model: nn.Sequential) -> list[dict[str, Any]]:
    return [
        {"params": model[0].parameters(), "lr": 0.1, "weight_decay": 0.02},
        {"params": model[2].parameters(), "lr": 0.003, "weight_decay": 0.0},
    ]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, k: int) -> None:
    inputs = torch.linspace(-1, 1, 15).view(5, 3) * (k + 1)
    optimizer.zero_grad()
    model(inputs).square().sum().backward()
    optimizer.step()


def only_safe_files(folder: Path) -> bool:
    """Every file is JSON, or safetensors that open as such."""
    for path in folder.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.suffix == ".safetensors", path
            with safe_open(path, framework="pt") as file:
                file.metadata()
    return True


@every_optimizer
def test_an_optimizer_goes_on_where_it_stopped(tmp_path, make):
    model = network()
    optimizer = make(groups(model))
    for k in range(4):
        step(model, optimizer, k)
    optimizer.param_groups[0]["lr"] = 0.05  # as a scheduler leaves it
    stored_states.save_optimizer(optimizer, tmp_path)

    resumed = network()
    resumed.load_state_dict(model.state_dict())
    other = make(groups(resumed))
    stored_states.load_optimizer(other, tmp_path)
    forgetful = network()
    forgetful.load_state_dict(model.state_dict())
    fresh = make(groups(forgetful))
    for k in range(4, 7):
        step(model, optimizer, k)
        step(resumed, other, k)
        step(forgetful, fresh, k)
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not all(map(torch.equal, model.parameters(), forgetful.parameters()))
    assert only_safe_files(tmp_path)


@every_optimizer
def test_an_optimizers_whole_state_is_kept(tmp_path, make):
    model = network()
    optimizer = make(groups(model))
    for k in range(2):
        step(model, optimizer, k)
    stored_states.save_optimizer(optimizer, tmp_path)
    other = make(groups(network()))
    stored_states.load_optimizer(other, tmp_path)
    saved, loaded = optimizer.state_dict(), other.state_dict()
    assert json.dumps(loaded["param_groups"]) == json.dumps(saved["param_groups"])
    assert loaded["state"].keys() == saved["state"].keys()
    for index, values in saved["state"].items():
        assert loaded["state"][index].keys() == values.keys()
        for name, value in values.items():
            found = loaded["state"][index][name]
            if isinstance(value, torch.Tensor):
                assert torch.equal(found, value)
                assert found.dtype == value.dtype
            else:
                assert found == value


def test_saving_changes_nothing_and_later_steps_change_no_file(tmp_path):
    model = network()
    optimizer = torch.optim.Adam(groups(model))
    step(model, optimizer, 0)
    stored_states.save_optimizer(optimizer, tmp_path)
    path = tmp_path / stored_states.OPTIMIZER_NAME
    before = path.read_bytes()
    step(model, optimizer, 1)
    assert path.read_bytes() == before
    stored_states.save_optimizer(optimizer, tmp_path)
    assert path.read_bytes() != before


def test_an_optimizer_without_a_step_is_saved_too(tmp_path):
    optimizer = torch.optim.Adam(groups(network()))
    stored_states.save_optimizer(optimizer, tmp_path)
    model = network()
    other = torch.optim.Adam(groups(model))
    stored_states.load_optimizer(other, tmp_path)
    assert other.state_dict()["state"] == {}
    step(model, other, 0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant", {}),
        ("linear", {}),
        ("cosine", {}),
        ("constant_with_warmup", {}),
        ("cosine_with_restarts", {"num_cycles": 2}),
        ("polynomial", {}),
        ("inverse_sqrt", {}),
        ("reduce_lr_on_plateau", {"patience": 1}),
        ("cosine_with_min_lr", {"min_lr": 1e-4}),
        ("warmup_stable_decay", {"num_decay_steps": 4}),
    ],
)
def test_schedulers_go_on_where_they_stopped(tmp_path, name, options):
    def make() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.Adam(groups(network()))
        scheduler = get_scheduler(
            name,
            optimizer,
            num_warmup_steps=2,
            num_training_steps=12,
            scheduler_specific_kwargs=options,
        )
        return optimizer, scheduler

    def advance(optimizer: torch.optim.Optimizer, scheduler: Any, n: int) -> list[list[float]]:
        rates = []
        for _ in range(n):
            optimizer.step()
            scheduler.step(*([1.0] if name == "reduce_lr_on_plateau" else []))
            rates.append([group["lr"] for group in optimizer.param_groups])
        return rates

    optimizer, scheduler = make()
    advance(optimizer, scheduler, 4)
    stored_states.save_scheduler(scheduler, tmp_path)
    stored_states.save_optimizer(optimizer, tmp_path)
    other, resumed = make()
    stored_states.load_optimizer(other, tmp_path)
    stored_states.load_scheduler(resumed, tmp_path)
    expected = advance(optimizer, scheduler, 6)
    assert advance(other, resumed, 6) == expected
    assert only_safe_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        stored_states.SCHEDULER_NAME,
        stored_states.OPTIMIZER_NAME,
    }


def draw() -> list[Any]:
    """Numbers of all generators, with Gaussians, which come in pairs."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.standard_normal(),  # noqa: NPY002
        np.random.randint(10**6),  # noqa: NPY002
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        torch.randperm(9).tolist(),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_random_numbers_go_on_where_they_stopped(tmp_path, seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    for _ in range(seed + 1):  # an odd and an even number of Gaussians
        draw()
    stored_states.save_rng(tmp_path, process=0)
    expected = [draw() for _ in range(3)]
    draw()
    stored_states.load_rng(tmp_path, process=0)
    assert [draw() for _ in range(3)] == expected
    assert only_safe_files(tmp_path)


def test_every_process_has_its_own_random_state(tmp_path):
    torch.manual_seed(1)
    stored_states.save_rng(tmp_path, process=0)
    first = torch.rand(4)
    stored_states.save_rng(tmp_path, process=1)
    second = torch.rand(4)
    stored_states.load_rng(tmp_path, process=0)
    assert torch.equal(torch.rand(4), first)
    stored_states.load_rng(tmp_path, process=1)
    assert torch.equal(torch.rand(4), second)


@pytest.mark.parametrize("n_devices", [2, 12])
def test_every_accelerator_gets_its_own_random_state_back(tmp_path, monkeypatch, n_devices):
    states = [torch.full((16,), device, dtype=torch.uint8) for device in range(n_devices)]
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_devices)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    stored_states.save_rng(tmp_path, process=0)
    stored_states.load_rng(tmp_path, process=0)
    assert [state[0].item() for state in restored] == list(range(n_devices))


def test_a_broken_scheduler_file_is_named(tmp_path):
    (tmp_path / stored_states.SCHEDULER_NAME).write_text("{")
    scheduler = get_scheduler("constant", torch.optim.SGD(network().parameters()))
    with pytest.raises(ValueError, match=r"scheduler\.json is not valid JSON"):
        stored_states.load_scheduler(scheduler, tmp_path)

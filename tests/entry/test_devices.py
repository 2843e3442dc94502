"""Devices are checked by name and by what there is."""

import pytest
import torch

from noisy_xmodal.entry.devices import device_of


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: request.param > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: request.param)
    monkeypatch.setattr("torch.xpu.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.mark.parametrize(
    ("gpus", "name", "found"),
    [
        (0, None, "cpu"),
        (0, "cpu", "cpu"),
        (0, torch.device("cpu"), "cpu"),
        (2, None, "cuda"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
        (2, "cpu", "cpu"),
    ],
    indirect=["gpus"],
)
def test_what_is_here(gpus: None, name: object, found: str) -> None:
    assert device_of(name) == found


@pytest.mark.parametrize(
    ("gpus", "name", "says"),
    [
        (0, "cuda", "no device 'cuda' here: give one of cpu"),
        (2, "gpu", "'gpu' here: give one of cuda, cpu, cuda:0, cuda:1, cpu:0"),
        (2, "cuda:7", "'cuda:7' here: give one of cuda, cpu, cuda:0, cuda:1"),
        (1, "cuda:1", "'cuda:1' here"),
        (0, "mps", "'mps' here"),
        (0, "meta", "'meta' here"),
        (0, "", "'' here"),
        (0, "cuda:x", "'cuda:x' here"),
        (0, "cpu:3", "'cpu:3' here"),
    ],
    indirect=["gpus"],
)
def test_what_is_not(gpus: None, name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        device_of(name)

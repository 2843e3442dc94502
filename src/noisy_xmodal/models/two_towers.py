"""One interface to two-tower models of this library and of transformers (CLIP, SigLIP, ...).

Code in a model folder is never run, and weights are read only from safetensors files.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoProcessor, BatchFeature

from ..entry.errors import load_part
from ..modules.list_inputs import tokenizer_input
from .processing import options_by_side, picture_inputs
from .sharing import Installed

#: Types of models trained with texts padded to the full length.
_FULL_LENGTH = ("siglip", "siglip2", "tipsv2", "align")
#: Tokenizers without a limit have a larger `model_max_length` than this.
_NO_LIMIT = 10**6
_LARGEST_LOG_SCALE = math.log(100)


class NotTwoTowersError(ValueError):
    """The model has no vector per image and per text."""


class ForeignTwoTowers:
    """A two-tower model of transformers, with the interface of this library's models.

    Args:
        model: A model with `get_image_features` and `get_text_features`.
    """

    is_two_tower = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.device

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        return self.model.training

    @training.setter
    def training(self, mode: bool) -> None:
        self.model.train(mode)

    @property
    def logit_scale(self) -> float:
        """Inverse temperature: the factor of similarities in training."""
        return logit_scale_of(self)

    def train(self, mode: bool = True) -> "ForeignTwoTowers":
        """Switch between training and eval mode."""
        self.model.train(mode)
        return self

    def eval(self) -> "ForeignTwoTowers":
        """Switch to eval mode."""
        return self.train(False)

    def to(self, device: torch.device | str) -> "ForeignTwoTowers":
        """Move the weights to a device."""
        self.model.to(device)
        return self

    def state_dict(self) -> Mapping[str, Tensor]:
        """The weights by name."""
        return self.model.state_dict()

    def get_image_features(self, **inputs: Tensor) -> Tensor:
        """Unit vectors of images, (n_images, size)."""
        return self._unit_vectors("get_image_features", inputs)

    def get_text_features(self, **inputs: Tensor) -> Tensor:
        """Unit vectors of texts, (n_texts, size)."""
        return self._unit_vectors("get_text_features", inputs)

    encode_image, encode_text = get_image_features, get_text_features

    def score(self, image: Tensor, text: Tensor) -> Tensor:
        """Cosine of all images with all texts, (n_images, n_texts)."""
        return image @ text.T

    def _unit_vectors(self, function: str, inputs: Mapping[str, Tensor]) -> Tensor:
        output = getattr(self.model, function)(**inputs)
        vectors = output if isinstance(output, Tensor) else output.pooler_output  # (n, size)
        if not isinstance(vectors, Tensor) or vectors.ndim != 2:
            shape = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise NotTwoTowersError(
                f"{function} of {type(self.model).__name__} gives {shape}, not one vector each: "
                "this model cannot be used for search"
            )
        return F.normalize(vectors.float(), dim=-1)


class ForeignProcessor:
    """A processor of transformers that pads texts as in the model's training and truncates them.

    Args:
        processor: Processor of pictures and texts.
        config: Config of the model.
    """

    def __init__(self, processor: Any, config: Any) -> None:
        self.processor = processor
        self.image_processor, self.tokenizer = processor.image_processor, processor.tokenizer
        text_config = getattr(config, "text_config", None)
        text_limit = getattr(text_config, "max_position_embeddings", None) or _NO_LIMIT
        self.max_length = min(self.tokenizer.model_max_length, text_limit)
        self.padding = "max_length" if config.model_type in _FULL_LENGTH else "longest"

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare images, texts or both, as torch tensors unless `return_tensors` says otherwise.

        Args:
            images: PIL pictures of any mode, paths of local files or arrays, one or several.
            text: One text or several.
            kwargs: Options of the tokenizer and of the image processor under the names that
                transformers uses: directly, or in `text_kwargs`, `images_kwargs` or
                `common_kwargs`.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If there is no input, an image cannot be read, or an option is unknown.
        """
        if images is None and text is None:
            raise ValueError("pass `images`, `text` or both.")
        text_options, image_options = options_by_side(self.image_processor, kwargs)
        features: dict[str, Any] = {}
        if images is not None:
            features.update(picture_inputs(self.image_processor, images, image_options))
        if text is not None:
            limit = self.max_length if self.max_length < _NO_LIMIT else None
            options = {"padding": self.padding, "truncation": True, "max_length": limit}
            options |= {"return_tensors": "pt"} | text_options
            texts = tokenizer_input(text)
            texts = [texts] if isinstance(texts, str) else texts
            features.update(self.processor(text=texts, **options))
        return BatchFeature(features)

    def to_json_string(self) -> str:
        """Settings of the processor's parts."""
        return self.processor.to_json_string()


def load_two_towers(
    name_or_path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> tuple[Any, Any]:
    """Load a model with one vector per image and per text, in eval mode.

    Args:
        name_or_path: Folder or Hub id of such a model, of this library or of transformers.
        device: Device of the model.

    Returns:
        The model and its processor. Models of transformers are wrapped as `ForeignTwoTowers` and
        `ForeignProcessor`.

    Raises:
        NotTwoTowersError: If it is another kind of model, or reads only feature vectors.
        OSError: If the model does not exist, or has no safetensors file.
    """
    name = str(name_or_path)
    path = Path(name).expanduser()
    if path.is_dir():
        name = str(path)
        if not (path / "config.json").is_file():
            names = sorted(entry.name for entry in path.iterdir())
            raise NotTwoTowersError(
                f"{name} contains no model: there is no config.json, but {names[:5] or 'nothing'}"
            )
    config = load_part(AutoConfig, name)
    kind = MODEL_MAPPING.get(type(config), None)
    if isinstance(kind, tuple | list):
        kind = kind[0]
    has_towers = all(hasattr(kind, f"get_{side}_features") for side in ("image", "text"))
    kind_name = getattr(kind, "__name__", config.model_type)
    own = kind is not None and issubclass(kind, Installed)
    if not (own or has_towers):
        raise NotTwoTowersError(
            f"{name} is a {kind_name} (model type {config.model_type!r}), which has no vectors for "
            "images and texts: give a two-tower model, such as CLIP, SigLIP or NCR with the "
            "similarity 'cosine'"
        )
    model = load_part(AutoModel, name, use_safetensors=True)
    if own and not model.is_two_tower:
        head = getattr(config, "similarity", None)
        raise NotTwoTowersError(
            f"{name} is a {kind_name}{f' with the similarity {head!r}' if head else ''}, which "
            "compares images and texts part by part and has no vector per image: give a two-tower "
            "model"
        )
    processor = load_part(AutoProcessor, name)
    if getattr(processor, "reads_vectors_only", False):
        raise NotTwoTowersError(
            f"{name} is a {kind_name} that reads feature vectors: give a model that reads pictures "
            "(or regions) and texts"
        )
    model.eval().to(device)
    if own:
        return model, processor
    return ForeignTwoTowers(model), ForeignProcessor(processor, config)


def logit_scale_of(model: Any) -> float:
    """Inverse temperature of a two-tower model: logits are similarities times this factor.

    Args:
        model: A model from `load_two_towers`.

    Raises:
        ValueError: If the model has no temperature.
    """
    if hasattr(model, "peers"):
        return sum(logit_scale_of(peer) for peer in model.peers) / len(model.peers)
    if isinstance(model, ForeignTwoTowers):
        inner = model.model
        if hasattr(inner, "logit_scale"):
            return math.exp(inner.logit_scale.item())
        if hasattr(inner, "temperature"):  # ALIGN divides by it
            return 1 / inner.temperature.item()
    elif hasattr(model, "logit_scale"):
        return math.exp(min(model.logit_scale.item(), _LARGEST_LOG_SCALE))
    raise ValueError(f"{type(model).__name__} has no learned temperature")

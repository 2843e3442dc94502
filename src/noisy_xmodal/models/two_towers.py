"""Any two-tower model, of this library or of transformers (CLIP, SigLIP, ...), in one form.

What a folder brings of its own code is never run, and weights are read from safetensors alone.
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

#: Types of models that were trained with texts padded to the full length.
_FULL_LENGTH = ("siglip", "siglip2", "tipsv2", "align")
#: Tokenizers without a limit name one beyond this.
_NO_LIMIT = 10**6
_LARGEST_LOG_SCALE = math.log(100)


class NotTwoTowersError(ValueError):
    """A model that has no vector per image and per text."""


class ForeignTwoTowers:
    """A two-tower model of transformers, as evaluation asks for one.

    Args:
        model: A model with `get_image_features` and `get_text_features`.
    """

    is_two_tower = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
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
        """The inverse temperature: what similarities were multiplied by in training."""
        return logit_scale_of(self)

    def train(self, mode: bool = True) -> "ForeignTwoTowers":
        """Switch between training and eval mode."""
        self.model.train(mode)
        return self

    def eval(self) -> "ForeignTwoTowers":
        """Switch to eval mode."""
        return self.train(False)

    def to(self, device: torch.device | str) -> "ForeignTwoTowers":
        """Move the weights."""
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
        found = getattr(self.model, function)(**inputs)
        vectors = found if isinstance(found, Tensor) else found.pooler_output  # (n, size)
        if not isinstance(vectors, Tensor) or vectors.ndim != 2:
            shape = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise NotTwoTowersError(
                f"{function} of {type(self.model).__name__} gives {shape}, not one vector each: "
                "this model cannot be searched with"
            )
        return F.normalize(vectors.float(), dim=-1)


class ForeignProcessor:
    """A processor of transformers that pads texts as the model was trained, and cuts them.

    Args:
        processor: Reads pictures and texts.
        config: The model's config.
    """

    def __init__(self, processor: Any, config: Any) -> None:
        self.processor = processor
        self.image_processor, self.tokenizer = processor.image_processor, processor.tokenizer
        text_config = getattr(config, "text_config", None)
        readable = getattr(text_config, "max_position_embeddings", None) or _NO_LIMIT
        self.max_length = min(self.tokenizer.model_max_length, readable)
        self.padding = "max_length" if config.model_type in _FULL_LENGTH else "longest"

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare images, texts or both, as torch tensors unless an option says otherwise.

        Args:
            images: PIL pictures of any mode, paths of local files or arrays, one or several.
            text: One text or several.
            kwargs: Options of the tokenizer and of the image processor under the names that
                transformers has for them: by themselves, or in `text_kwargs`, `images_kwargs` or
                `common_kwargs`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If nothing is given, an image cannot be read, or an option is not known.
        """
        if images is None and text is None:
            raise ValueError("pass `images`, `text` or both.")
        text_options, image_options = options_by_side(self.image_processor, kwargs)
        found: dict[str, Any] = {}
        if images is not None:
            found.update(picture_inputs(self.image_processor, images, image_options))
        if text is not None:
            limit = self.max_length if self.max_length < _NO_LIMIT else None
            options = {"padding": self.padding, "truncation": True, "max_length": limit}
            options |= {"return_tensors": "pt"} | text_options
            given = tokenizer_input(text)
            texts = [given] if isinstance(given, str) else given
            found.update(self.processor(text=texts, **options))
        return BatchFeature(found)

    def to_json_string(self) -> str:
        """What the processor's parts are set to."""
        return self.processor.to_json_string()


def load_two_towers(
    name_or_path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> tuple[Any, Any]:
    """Load a model that has a vector for each image and one for each text, in eval mode.

    Args:
        name_or_path: Folder or Hub id of a model of this library with such vectors, or of any such
            model of transformers.
        device: Where to put it.

    Returns:
        The model and its processor: a model of this library as it is, any other as
        `ForeignTwoTowers` with a `ForeignProcessor`.

    Raises:
        NotTwoTowersError: If it is another kind of model, or one of feature vectors alone.
        OSError: If there is no such model, or no safetensors in it.
    """
    name = str(name_or_path)
    path = Path(name).expanduser()
    if path.is_dir():
        name = str(path)
        if not (path / "config.json").is_file():
            listed = sorted(entry.name for entry in path.iterdir())
            raise NotTwoTowersError(
                f"{name} holds no model: there is no config.json, but {listed[:5] or 'nothing'}"
            )
    config = load_part(AutoConfig, name)
    kind = MODEL_MAPPING.get(type(config), None)
    if isinstance(kind, tuple | list):
        kind = kind[0]
    has_towers = all(hasattr(kind, f"get_{side}_features") for side in ("image", "text"))
    found = getattr(kind, "__name__", config.model_type)
    own = kind is not None and issubclass(kind, Installed)
    if not (own or has_towers):
        raise NotTwoTowersError(
            f"{name} is a {found} (model type {config.model_type!r}), which has no vectors for "
            "images and texts: give a two-tower model, such as CLIP, SigLIP or NCR with the "
            "similarity 'cosine'"
        )
    model = load_part(AutoModel, name, use_safetensors=True)
    if own and not model.is_two_tower:
        how = getattr(config, "similarity", None)
        raise NotTwoTowersError(
            f"{name} is a {found}{f' with the similarity {how!r}' if how else ''}, which compares "
            "images and texts part by part and has no vector per image: give a two-tower model"
        )
    processor = load_part(AutoProcessor, name)
    if getattr(processor, "reads_vectors_only", False):
        raise NotTwoTowersError(
            f"{name} is a {found} that reads feature vectors: give a model that reads pictures (or "
            "regions) and texts"
        )
    model.eval().to(device)
    if own:
        return model, processor
    return ForeignTwoTowers(model), ForeignProcessor(processor, config)


def logit_scale_of(model: Any) -> float:
    """The inverse temperature of a two-tower model: its logits are similarities times this.

    Args:
        model: What `load_two_towers` gives.

    Raises:
        ValueError: If the model has none.
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
    raise ValueError(f"{type(model).__name__} learns no temperature")

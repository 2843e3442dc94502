"""Feature vectors, or pictures and texts, in; model inputs out."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    BaseImageProcessor,
    BatchFeature,
    PreTrainedTokenizerBase,
)

from ..processing import options_by_side, picture_inputs, token_inputs
from ..sharing import SharedProcessor


class CommonSpaceProcessor(SharedProcessor):
    """Reads vectors; with an image processor and a tokenizer also pictures and texts.

    Args:
        image_processor: That of the model's backbone; None for a model of feature vectors.
        tokenizer: That of the model's backbone, likewise.
        padding: How texts of a batch are padded: True to the longest, "max_length" for a backbone
            that was trained on texts of one length, as SigLIP was.

    Raises:
        ValueError: If only one of the two is given.
    """

    image_processor: Any
    tokenizer: Any

    def __init__(
        self,
        image_processor: BaseImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        padding: bool | str = True,
    ) -> None:
        self.padding = padding
        if (image_processor is None) != (tokenizer is None):
            raise ValueError("pass both `image_processor` and `tokenizer`, or neither.")
        if image_processor is not None:
            super().__init__(image_processor, tokenizer)
        else:
            self.image_processor = self.tokenizer = self.chat_template = None

    @property
    def reads_vectors_only(self) -> bool:
        """Whether it has nothing that reads pictures and texts."""
        return self.image_processor is None

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        image_features: Any = None,
        text_features: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare whatever is given, as torch tensors unless an option says otherwise.

        Args:
            images: PIL pictures of any mode, paths of local files or arrays, one or several.
            text: One text or several; padded and cut.
            image_features: (n_images, size) or a single vector.
            text_features: (n_texts, size) or a single vector.
            kwargs: Options of the tokenizer and of the image processor under the names that
                transformers has for them: by themselves, or in `text_kwargs`, `images_kwargs` or
                `common_kwargs`.
                Vectors know `return_tensors` alone.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If nothing is given, an image cannot be read, vectors are no numbers or no
                matrix, pictures or texts are given to a model of feature vectors, or an option is
                not known.
        """
        text_options, image_options = options_by_side(self.image_processor, kwargs)
        found: dict[str, Any] = {}
        if (images is not None or text is not None) and self.reads_vectors_only:
            raise ValueError(
                "this model reads feature vectors: pass `image_features` and `text_features`, not "
                "`images` and `text`."
            )
        if images is not None:
            found.update(picture_inputs(self.image_processor, images, image_options))
        if text is not None:
            found.update(token_inputs(self.tokenizer, text, text_options, self.padding))
        sides = (
            ("image_features", image_features, image_options),
            ("text_features", text_features, text_options),
        )
        for name, values, options in sides:
            if values is not None:
                kind = options.get("return_tensors", "pt")
                found.update(BatchFeature({name: _matrix(values, name)}, tensor_type=kind))
        if not found:
            raise ValueError("pass `images`, `text`, `image_features` or `text_features`.")
        return BatchFeature(found)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Save it; a processor of vectors has no parts, so it is one small file."""
        if not self.reads_vectors_only:
            return super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("push_to_hub"):
            raise ValueError("save this processor without `push_to_hub`, then push_to_hub(NAME).")
        path = Path(save_directory) / "processor_config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._naming_the_shim(save_directory):
            self.to_json_file(path)
        return [str(path)]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> "CommonSpaceProcessor":
        """Load it from a folder or the Hub."""
        saved, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if saved.get("reads_vectors_only"):
            return cls()
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """What is saved, with a word for a processor that has no parts."""
        found = super().to_dict()
        return found | ({"reads_vectors_only": True} if self.reads_vectors_only else {})


def _matrix(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float32)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(f"`{name}` has the shape {array.shape}: pass (n, size).")
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(broken):
        raise ValueError(
            f"`{name}`: {len(broken)} vectors are not finite, first row {broken[0]}. Extract the "
            "features of those rows again."
        )
    return array

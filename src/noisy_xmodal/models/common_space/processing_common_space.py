"""Prepares feature vectors, or pictures and texts, as inputs of a common-space model."""

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
    """Reads vectors and, with an image processor and a tokenizer, pictures and texts.

    Args:
        image_processor: Image processor of the model's backbone; None for a model of feature
            vectors.
        tokenizer: Tokenizer of the model's backbone; None for a model of feature vectors.
        padding: How texts of a batch are padded: True to the longest, "max_length" for a backbone
            that was trained on texts of a fixed length, such as SigLIP.

    Raises:
        ValueError: If only one of `image_processor` and `tokenizer` is passed.
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
        """Whether it has no image processor and no tokenizer."""
        return self.image_processor is None

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        image_features: Any = None,
        text_features: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare the inputs, as torch tensors unless `return_tensors` says otherwise.

        Args:
            images: PIL pictures of any mode, paths of local files or arrays, one or several.
            text: One text or several, which are padded and truncated.
            image_features: (n_images, size) or a single vector.
            text_features: (n_texts, size) or a single vector.
            kwargs: Options of the tokenizer and of the image processor under the names that
                transformers uses: directly, or in `text_kwargs`, `images_kwargs` or
                `common_kwargs`. Vectors take only `return_tensors`.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If there is no input, an image cannot be read, vectors are not finite or not
                a matrix, a processor of feature vectors gets pictures or texts, or an option is
                unknown.
        """
        text_options, image_options = options_by_side(self.image_processor, kwargs)
        features: dict[str, Any] = {}
        if (images is not None or text is not None) and self.reads_vectors_only:
            raise ValueError(
                "this model reads feature vectors: pass `image_features` and `text_features`, not "
                "`images` and `text`."
            )
        if images is not None:
            features.update(picture_inputs(self.image_processor, images, image_options))
        if text is not None:
            features.update(token_inputs(self.tokenizer, text, text_options, self.padding))
        sides = (
            ("image_features", image_features, image_options),
            ("text_features", text_features, text_options),
        )
        for name, values, options in sides:
            if values is not None:
                kind = options.get("return_tensors", "pt")
                features.update(BatchFeature({name: _matrix(values, name)}, tensor_type=kind))
        if not features:
            raise ValueError("pass `images`, `text`, `image_features` or `text_features`.")
        return BatchFeature(features)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Save the processor. Without image processor and tokenizer it is one small file."""
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
        """Load the processor from a folder or the Hub."""
        saved, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if saved.get("reads_vectors_only"):
            return cls()
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Fields to save; `reads_vectors_only` marks a processor without parts."""
        config = super().to_dict()
        return config | ({"reads_vectors_only": True} if self.reads_vectors_only else {})


def _matrix(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float32)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(f"`{name}` has the shape {array.shape}: pass (n, size).")
    bad_rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad_rows):
        raise ValueError(
            f"`{name}`: {len(bad_rows)} vectors are not finite, first row {bad_rows[0]}. Extract "
            "the features of those rows again."
        )
    return array

"""Prepares pictures or region features and captions as inputs of a matching model."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from transformers import BaseImageProcessor, BatchFeature, PreTrainedTokenizerBase, TensorType

from ...modules.grids import GridCells
from ...modules.image_loading import load_regions
from ...modules.text_limits import limit_tokens
from ..processing import options_by_side, picture_inputs, token_inputs
from ..sharing import Installed, SharedProcessor


class RegionOptions(TypedDict, total=False):
    """Options of `RegionFeatureProcessor`."""

    return_tensors: str | TensorType | None


class RegionFeatureProcessor(Installed, BaseImageProcessor):
    """Pads region features of different lengths to a batch, in place of an image processor.

    Args:
        region_size: Size of a region's feature vector.
    """

    model_input_names = ("regions", "region_mask")
    valid_kwargs = RegionOptions

    def __init__(self, region_size: int = 2048, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.region_size = region_size

    def __call__(
        self, images: Any, return_tensors: str | TensorType | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """Stack the region features of images.

        Args:
            images: One array (n_regions, region_size) per image, or a single array for one image;
                the path of a local .npy file may replace an array.
            return_tensors: "pt" for torch tensors, "np" or None for arrays.
            kwargs: Not used; options of pictures, such as `size`, raise an error.

        Returns:
            `regions` (n_images, n_regions, region_size), float32, padded with zeros, and
            `region_mask` (n_images, n_regions), bool.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If there is no array, an array is not a matrix with `region_size` columns
                and at least one row, or an option of pictures is passed.
        """
        if kwargs:
            raise ValueError(
                f"`{next(iter(kwargs))}` is not an option of region features, which stay "
                "unchanged: pass `return_tensors` or nothing."
            )
        arrays = load_regions(images)
        for position, array in enumerate(arrays):
            if array.ndim != 2 or array.shape[1] != self.region_size or not len(array):
                raise ValueError(
                    f"image {position}: expected region features of shape (n_regions, "
                    f"{self.region_size}), found {array.shape}."
                )
        longest = max(len(array) for array in arrays)
        regions = np.zeros((len(arrays), longest, self.region_size), dtype=np.float32)
        mask = np.zeros((len(arrays), longest), dtype=bool)
        for row, array in enumerate(arrays):
            regions[row, : len(array)] = array
            mask[row, : len(array)] = True
        return BatchFeature({"regions": regions, "region_mask": mask}, tensor_type=return_tensors)


class MatchingProcessor(SharedProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer.

    Args:
        image_processor: An image processor that returns `pixel_values`, or a
            `RegionFeatureProcessor`.
        tokenizer: Any tokenizer.
        padding: How texts of a batch are padded: True to the longest, "max_length" for a backbone
            that was trained on texts of a fixed length, such as SigLIP.
    """

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        padding: bool | str = True,
    ) -> None:
        self.padding = padding
        super().__init__(image_processor, tokenizer)

    def limit_text(self, limit: int | None) -> None:
        """Truncate texts to this many tokens from now on, unless a lower limit is already set.

        Args:
            limit: Maximum number of tokens of the text encoder, a model's `text_length_limit`.
        """
        limit_tokens(self.tokenizer, limit)

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare images, texts or both.

        By default texts are padded and truncated, and all outputs are torch tensors.

        Args:
            images: One or several, in any mixture: PIL pictures of any mode, paths of local files,
                arrays; for region features arrays (n_regions, region_size) or paths of .npy files;
                or one `GridCells` of a frozen vision model for each image.
            text: One caption or several.
            kwargs: Options of the tokenizer and of the image processor under the names that
                transformers uses: directly, or in `text_kwargs`, `images_kwargs` or
                `common_kwargs`.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If there are neither images nor text, an image cannot be read, a text has no
                token, or an option is unknown.
        """
        if images is None and text is None:
            raise ValueError("pass `images`, `text` or both.")
        text_options, image_options = options_by_side(self.image_processor, kwargs)
        features: dict[str, Any] = {}
        if images is not None and isinstance(self.image_processor, RegionFeatureProcessor):
            features.update(self.image_processor(images, **image_options))
        elif _are_cells(images):
            cells = RegionFeatureProcessor(images[0].shape[-1])
            features.update(cells(images, image_options.get("return_tensors", "pt")))
        elif images is not None:
            features.update(picture_inputs(self.image_processor, images, image_options))
        if text is not None:
            features.update(token_inputs(self.tokenizer, text, text_options, self.padding))
            _check_tokens(features.get("attention_mask", ()))
        return BatchFeature(features)


def _are_cells(images: Any) -> bool:
    if not isinstance(images, list) or not images:
        return False
    return all(isinstance(image, GridCells) for image in images)


def _check_tokens(attention_mask: Any) -> None:
    """Reject texts without a token; the mask covers one text or several, as any array or list."""
    masks = [np.asarray(mask) for mask in attention_mask]
    masks = [np.array(masks)] if masks and masks[0].ndim == 0 else masks
    for position, mask in enumerate(masks):
        if not mask.any():
            raise ValueError(f"text {position} has no token: pass a caption with a word in it.")

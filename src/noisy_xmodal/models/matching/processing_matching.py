"""Pictures or region features and captions in, model inputs out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BaseImageProcessor, BatchFeature, PreTrainedTokenizerBase

from ...modules.picture_files import read_pictures, read_regions
from ..sharing import Installed, SharedProcessor


class RegionFeatureProcessor(Installed, BaseImageProcessor):
    """Pads ragged region features to a batch. It takes the place of an image processor.

    Args:
        region_size: Size of a region's feature vector.
    """

    model_input_names = ("regions", "region_mask")

    def __init__(self, region_size: int = 2048, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.region_size = region_size

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        """Stack features of images.

        Args:
            images: One array (n_regions, region_size) per image, or one for a single image; the
                path of a local .npy file may stand for an array.
            kwargs: Accepted for the interface of image processors; not used.

        Returns:
            `regions` (n_images, n_regions, region_size), float32, padded with zeros, and
            `region_mask` (n_images, n_regions), bool.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If there is no array, or one is not a matrix with `region_size` columns and
                a row.
        """
        arrays = read_regions(images)
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
        return BatchFeature(
            {"regions": torch.from_numpy(regions), "region_mask": torch.from_numpy(mask)}
        )


class MatchingProcessor(SharedProcessor):
    """An image processor (or `RegionFeatureProcessor`) and a tokenizer.

    Args:
        image_processor: Any image processor that gives `pixel_values`, or region features' one.
        tokenizer: Any tokenizer.
    """

    def __init__(
        self, image_processor: BaseImageProcessor, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        super().__init__(image_processor, tokenizer)

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare images, texts or both; texts are padded and cut, everything is a torch tensor.

        Args:
            images: One or several, in any mixture: PIL pictures of any mode, paths of local files,
                arrays; for region features arrays (n_regions, region_size) or paths of .npy files.
            text: One caption or several.
            kwargs: Passed on to the tokenizer.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If neither images nor text are given, an image cannot be read, or a text has
                no token.
        """
        if images is None and text is None:
            raise ValueError("pass `images`, `text` or both.")
        features: dict[str, torch.Tensor] = {}
        if images is not None:
            reads_regions = isinstance(self.image_processor, RegionFeatureProcessor)
            given = images if reads_regions else read_pictures(images)
            features.update(self.image_processor(given, return_tensors="pt"))
        if text is not None:
            options = {"padding": True, "truncation": True, "return_tensors": "pt"} | kwargs
            options.setdefault("return_token_type_ids", False)
            features.update(self.tokenizer(text, **options))
            without = (features["attention_mask"].sum(dim=1) == 0).nonzero().flatten().tolist()
            if without:
                raise ValueError(
                    f"text {without[0]} has no token: pass a caption with a word in it."
                )
        return BatchFeature(features)

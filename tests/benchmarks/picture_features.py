"""Pictures a second through EfficientNet-Lite0 on one core, and where the time goes.

    python tests/benchmarks/picture_features.py --sizes 128 500 2000

The pictures are made up: smooth colours with noise, as JPEG. "as built" is the model of
transformers, 32 pictures at once, from pictures at their full size.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor

from noisy_xmodal import PairDataset
from noisy_xmodal.evaluation.grids import grid_pairs
from noisy_xmodal.modules.efficientnet_lite import load_efficientnet_lite
from noisy_xmodal.modules.grids import grid_cells
from noisy_xmodal.modules.pretrained import IMAGENET, encoder_path

N_PICTURES = 96


def pictures(size: int) -> datasets.Dataset:
    """JPEG files of `size` x 3/4 `size` pixels, with a caption each."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(N_PICTURES):
        cells = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        picture = cells.resize((size, size * 3 // 4), Image.Resampling.BICUBIC)
        noise = rng.integers(-12, 13, (*picture.size[::-1], 3))
        pixels = (np.asarray(picture).astype(int) + noise).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        files.append({"bytes": file.getvalue(), "path": None})
    columns = {
        "image_id": [str(number) for number in range(N_PICTURES)],
        "image": files,
        "captions": [["a caption"]] * N_PICTURES,
    }
    features = datasets.Features(
        image_id=datasets.Value("string"),
        image=datasets.Image(),
        captions=datasets.List(datasets.Value("string")),
    )
    return datasets.Dataset.from_dict(columns, features)


def as_built(model: Any, processor: Any, pairs: PairDataset) -> np.ndarray:
    """Features by the model as it is, (n_pictures, 16, 320)."""
    cells = []
    with torch.inference_mode():
        for start in range(0, N_PICTURES, 32):
            images = pairs.visuals(list(range(start, start + 32)))
            pixels = processor(images=images, return_tensors="pt")["pixel_values"]
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            cells.append(grid_cells(model(pixel_values=pixels).last_hidden_state))
    return torch.cat(cells).numpy()


def rate(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Pictures a second of CPU time, and the result."""
    start = time.process_time()
    result = work()
    return N_PICTURES / (time.process_time() - start), result


def main() -> None:
    """Print the rates, and how similar the features are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 500, 2000])
    sizes = parser.parse_args().sizes
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    model = load_efficientnet_lite()
    processor = AutoImageProcessor.from_pretrained(encoder_path(IMAGENET), backend="pil")
    for size in sizes:
        pairs = PairDataset(pictures(size))
        before, expected = rate(lambda pairs=pairs: as_built(model, processor, pairs))
        with tempfile.TemporaryDirectory() as folder:
            ours, kept = rate(
                lambda pairs=pairs, folder=folder: np.asarray(
                    grid_pairs(model, processor, pairs, Path(folder)).images[:]
                )
            )
        a, b = expected.reshape(N_PICTURES, -1), kept.astype(np.float32).reshape(N_PICTURES, -1)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        print(
            f"{size} x {size * 3 // 4} pixels: as built {before:.1f}/s, grid_pairs {ours:.1f}/s, "
            f"cosine of their features at least {cosine.min():.4f}"
        )


if __name__ == "__main__":
    main()

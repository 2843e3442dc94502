"""Synthetic data: a small region-feature folder, and datasets that keep the column contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from noisy_xmodal.data.regions import region_feature


@pytest.fixture(autouse=True)
def _quiet_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")
    datasets.disable_progress_bars()


@pytest.fixture
def write_split(tmp_path: Path) -> Callable[..., Path]:
    """Writes one split of the layout; returns the folder."""

    def write(
        name: str = "train",
        n_images: int = 10,
        per_image: int = 5,
        *,
        shape: tuple[int, ...] = (3, 4),
        dtype: Any = np.float16,
        copies: int = 1,
    ) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(len(name))
        features = rng.standard_normal((n_images, *shape)).astype(dtype)
        np.save(folder / f"{name}_ims.npy", np.repeat(features, copies, axis=0))
        lines = [f"{name} image {i} caption {k}" for i in range(n_images) for k in range(per_image)]
        (folder / f"{name}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


@pytest.fixture
def regions_dataset() -> datasets.Dataset:
    """Four rows with 1, 2, 3, 4 regions and 2, 1, 3, 2 captions; pairs 1 and 5 are wrong."""
    counts = (2, 1, 3, 2)
    wrong = {1, 5}
    first = np.cumsum((0, *counts))
    pairs = [range(first[i], first[i + 1]) for i in range(4)]
    return datasets.Dataset.from_dict(
        {
            "regions": [np.full((i + 1, 4), i, dtype=np.float16).tolist() for i in range(4)],
            "image_id": [f"id{i}" for i in range(4)],
            "captions": [[f"pair {p}" for p in row] for row in pairs],
            "is_noisy": [[p in wrong for p in row] for row in pairs],
        },
        features=datasets.Features(
            {
                "regions": region_feature(4, "float16"),
                "image_id": datasets.Value("string"),
                "captions": datasets.List(datasets.Value("string")),
                "is_noisy": datasets.List(datasets.Value("bool")),
            }
        ),
    )

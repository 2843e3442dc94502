"""Synthetic data: a small region-feature folder, and datasets that keep the column contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest


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

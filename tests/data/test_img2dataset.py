"""The output folder of img2dataset is read as it is, and all of its trouble is named."""

from pathlib import Path

import datasets
import pytest

from img2dataset_folder import TROUBLE, write_folder
from noisy_xmodal.data import load_pairs
from noisy_xmodal.data.any_dataset.listing import shard_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("img2dataset")


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[str]:
    n_images = write_folder(folder / "d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
        left_out: dict[str, list[str]] = {}
        rows = load_pairs(folder / "d", left_out=left_out)["train"]
    assert len(rows) == n_images
    return left_out["train"]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_is_named(lines: list[str], trouble: str) -> None:
    assert sum(TROUBLE[trouble] in line for line in lines) == 1, lines


def test_nothing_else_is_named(lines: list[str]) -> None:
    assert len(lines) == len(TROUBLE), lines


def test_its_shards_are_its_tars(folder: Path, lines: list[str]) -> None:
    split, shards = shard_files(folder / "d")
    assert split == "train"
    assert [Path(shard).name for shard in shards] == [f"0000{n}.tar" for n in range(3)]

"""XMediaNet: vectors through Parquet and back, and label noise."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers.xmedianet import XMediaNet
from noisy_xmodal.data.writing import write_dataset

SIZES = {"train": 400, "val": 50, "test": 60}
N_CLASSES = 20
COLUMNS = ["image_features", "text_features", "image_id", "image_label", "text_label", "true_label"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, n in SIZES.items():
        np.save(folder / f"{split}_image.npy", rng.standard_normal((n, 8)).astype(np.float32))
        np.save(folder / f"{split}_text.npy", rng.standard_normal((n, 5)).astype(np.float32))
        np.save(folder / f"{split}_labels.npy", rng.permutation(n) % N_CLASSES)
    (folder / "classes.txt").write_text("".join(f"class {i}\n" for i in range(N_CLASSES)))
    return folder


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config, cache_dir=str(out.parent / "load_cache"))


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(XMediaNet, out, ["clean", "sym_40"], data_dir=str(raw))
    loaded = load(out, "sym_40")
    assert list(loaded) == ["train", "validation", "test"]
    for split, stem in zip(loaded, SIZES, strict=True):
        assert loaded[split].column_names == COLUMNS
        rows = loaded[split].with_format("numpy")[:]
        for column in ("image", "text"):
            assert rows[f"{column}_features"].dtype == np.float32
            np.testing.assert_array_equal(
                rows[f"{column}_features"], np.load(raw / f"{stem}_{column}.npy")
            )
        np.testing.assert_array_equal(rows["true_label"], np.load(raw / f"{stem}_labels.npy"))
    assert loaded["train"].features["text_label"].int2str(3) == "class 3"
    assert loaded["train"].features["image_features"].length == 8


@pytest.mark.parametrize("ratio", [20, 40, 60, 80])
def test_label_noise(raw: Path, tmp_path: Path, ratio: int) -> None:
    """The draw hits an exact share, but a drawn class may be the true one."""
    out, config = tmp_path / "out", f"sym_{ratio}"
    write_dataset(XMediaNet, out, [config], data_dir=str(raw))
    loaded = load(out, config)
    rows = loaded["train"].with_format("numpy")[:]
    true = np.load(raw / "train_labels.npy")
    wrong = [np.mean(rows[column] != true) for column in ("image_label", "text_label")]
    expected = ratio / 100 * (N_CLASSES - 1) / N_CLASSES
    assert wrong == pytest.approx([expected] * 2, abs=0.04)
    assert max(wrong) <= ratio / 100
    protocol = noise_protocol(loaded["train"])
    assert protocol is not None
    assert protocol["type"] == "symmetric_label_noise"
    assert (protocol["share_wrong_image"], protocol["share_wrong_text"]) == tuple(wrong)
    assert protocol["n_labels"] == 2 * SIZES["train"]
    for split in ("validation", "test"):
        rows = loaded[split].with_format("numpy")[:]
        np.testing.assert_array_equal(rows["image_label"], rows["true_label"])
        np.testing.assert_array_equal(rows["text_label"], rows["true_label"])


def test_what_is_written_by_default(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(XMediaNet, out, data_dir=str(raw))
    configs = ["clean", "sym_20", "sym_40", "sym_60", "sym_80"]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        *configs[:1],
        "evaluation",
        *configs[1:],
    ]
    evaluation = sorted(path.name for path in (out / "evaluation").iterdir())
    assert [name.split("-")[0] for name in evaluation] == ["test", "validation"]
    card = (out / "README.md").read_text()
    assert "real files were not at hand" in card
    assert (
        "- train: 400 rows; vectors of 8 (image) and 5 (text) numbers; 20 classes of 20 to" in card
    )

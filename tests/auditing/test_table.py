"""The table of an audit as Parquet."""

from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from noisy_xmodal.auditing import table as module
from noisy_xmodal.auditing.table import AuditTable

TABLE = AuditTable(
    image_ids=["x", "y", "z"],
    captions=["one", "two", "three", "four ä"],
    row_of_pair=np.array([0, 0, 1, 2]),
    clean_probability=np.array([0.9, 0.1, 0.5, 0.3]),
    losses=np.array([-2.0, 3.0, 0.5, 1.0]),
    order=np.array([1, 3, 2, 0]),
    suggested_caption=np.array([-1, 3, -1, 0]),
    suggested_image=np.array([-1, 2, 0, -1]),
    is_noisy=np.array([False, True, False, False]),
)
COLUMNS = {
    "pair_id": [1, 3, 2, 0],
    "image_id": ["x", "z", "y", "x"],
    "caption": ["two", "four ä", "three", "one"],
    "clean_probability": [0.1, 0.3, 0.5, 0.9],
    "loss": [3.0, 1.0, 0.5, -2.0],
    "suggested_caption": ["four ä", "one", None, None],
    "suggested_image_id": ["z", None, "x", None],
    "is_noisy": [True, False, False, False],
}


@pytest.mark.parametrize("group", [1, 3, 100])
def test_rows_are_written_worst_first(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUP_ROWS", group)
    path = tmp_path / "audit.parquet"
    path.write_text("an older one")
    TABLE.write(path)
    assert pq.read_table(path).to_pydict() == COLUMNS
    assert [file.name for file in tmp_path.iterdir()] == ["audit.parquet"]


def test_datasets_opens_it(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "audit.parquet")
    found = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "audit.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert found["caption"][:] == COLUMNS["caption"]


def test_without_an_oracle_there_is_no_column_of_it(tmp_path: Path) -> None:
    nowhere = np.full(4, -1)
    table = replace(TABLE, is_noisy=None, suggested_caption=nowhere, suggested_image=nowhere)
    table.write(tmp_path / "audit.parquet")
    found = pq.read_table(tmp_path / "audit.parquet")
    assert found.column_names == list(COLUMNS)[:-1]
    for name in ("suggested_caption", "suggested_image_id"):
        assert str(found.schema.field(name).type) == "string"  # also where all are null
        assert found[name].null_count == 4

"""The table of an audit as Parquet, and what the summary says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from audit_results import result_of
from noisy_xmodal.auditing import result as module
from noisy_xmodal.auditing.result import AuditResult

COLUMNS = {
    "pair_id": [1, 3, 2, 0],
    "image_id": ["x", "z", "y", "x"],
    "caption": ["two", "four ä", "three", "one"],
    "clean_probability": [0.1, 0.3, 0.5, 0.9],
    "loss": [3.0, 1.0, 0.5, -2.0],
    "suggested_caption": ["four ä", "one", None, None],
    "suggested_image_id": ["z", None, "x", None],
    "troubles": [None, None, None, None],
    "misfit_words": [None, None, None, None],
    "is_noisy": [True, False, False, False],
}


def result(path: Path, **changes: Any) -> AuditResult:
    found = result_of(
        {
            "regions": [[[1.0]]] * 3,
            "image_id": ["x", "y", "z"],
            "captions": [["one", "two"], ["three"], ["four ä"]],
            "is_noisy": [[False, True], [False], [False]],
        },
        clean_probability=np.array([0.9, 0.1, 0.5, 0.3]),
        losses=np.array([-2.0, 3.0, 0.5, 1.0]),
        better_caption=np.array([-1, 3, -1, 0]),
        better_image=np.array([-1, 2, 0, -1]),
        output=path,
    )
    return replace(found, **changes)


@pytest.mark.parametrize("group", [1, 3, 100])
def test_rows_are_written_worst_first(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUP_ROWS", group)
    path = tmp_path / "audit.parquet"
    path.write_text("an older one")
    result(path).write_table()
    assert pq.read_table(path).to_pydict() == COLUMNS
    assert [file.name for file in tmp_path.iterdir()] == ["audit.parquet"]


def test_datasets_opens_it(tmp_path: Path) -> None:
    result(tmp_path / "audit.parquet").write_table()
    found = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "audit.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert found["caption"][:] == COLUMNS["caption"]


def test_without_an_oracle_there_is_no_column_of_it(tmp_path: Path) -> None:
    nowhere = np.full(4, -1)
    found = result(tmp_path / "audit.parquet", better_caption=nowhere, better_image=nowhere)
    pairs = found.rows.pairs
    pairs.dataset = pairs.dataset.remove_columns("is_noisy")
    found.write_table()
    table = pq.read_table(tmp_path / "audit.parquet")
    assert table.column_names == list(COLUMNS)[:-1]
    for name in ("suggested_caption", "suggested_image_id"):
        assert str(table.schema.field(name).type) == "string"  # also where all are null
        assert table[name].null_count == 4
    assert found.oracle == found.summary()["oracle"] == {}


@pytest.mark.parametrize(
    ("sets", "kind"),
    [
        (None, None),
        (0.0, "single captions"),
        (1.0, "whole sets: images with all captions of another image"),
        (0.25, "75% single captions, 25% of images with all captions of another"),
    ],
)
def test_the_kind_of_wrong_captions_is_named(sets: float | None, kind: str | None) -> None:
    found = result(Path("audit.parquet"))
    found = replace(found, judgement=replace(found.judgement, sets=sets))
    assert found.error_kind == kind
    assert found.summary()["share_of_exchanged_sets"] == sets

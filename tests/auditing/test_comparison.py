"""Changes since an earlier audit, from tables of both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_results import result_of
from noisy_xmodal.auditing.comparison import compare
from noisy_xmodal.auditing.result import AuditResult
from noisy_xmodal.data.audit_table import read_audit_table


def result(captions: list[list[str]], chances: list[float], path: Path) -> AuditResult:
    columns: dict[str, list[Any]] = {
        "regions": [[[1.0]]] * len(captions),
        "image_id": list("abcdef")[: len(captions)],
        "captions": captions,
    }
    return result_of(columns, np.array(chances), -np.array(chances), output=path)


def test_pairs_go_with_their_equals_and_changes_are_counted(tmp_path: Path):
    path = tmp_path / "old.parquet"
    result(
        [["one", "two"], ["same", "same"], ["gone"]], [0.9, 0.1, 0.2, 0.8, 0.5], path
    ).write_table()
    new = result([["two", "one"], ["same", "same", "new"]], [0.7, 0.3, 0.2, 0.9, 0.1], path)
    # The table is sorted by probability, so of the two equal pairs the worse one comes first.
    changes = compare(path, read_audit_table(path, "--compare"), new.table())
    assert (changes["pairs_of_both"], changes["new_pairs"], changes["gone_pairs"]) == (4, 1, 1)
    assert (changes["newly_wrong"], changes["no_longer_wrong"]) == (1, 1)
    assert changes["wrong_in_both"] == 1
    assert changes["examples"][0] == {
        "image_id": "a",
        "caption": "one",
        "before": 0.9,
        "after": 0.3,
    }
    assert len(changes["examples"]) == 3  # one pair has not changed
    assert -1 <= changes["rank_correlation"] <= 1


def test_an_audit_has_not_changed_since_itself(tmp_path: Path):
    path = tmp_path / "audit.parquet"
    same = result([["x", "y"], ["z"]], [0.2, 0.9, 0.6], path)
    same.write_table()
    changes = compare(path, read_audit_table(path, "--compare"), same.table())
    assert changes["rank_correlation"] == pytest.approx(1)
    assert changes["newly_wrong"] == changes["no_longer_wrong"] == changes["new_pairs"] == 0
    assert changes["examples"] == []


def test_two_pairs_have_no_correlation(tmp_path: Path):
    path = tmp_path / "audit.parquet"
    few = result([["x"], ["y"]], [0.2, 0.9], path)
    few.write_table()
    assert (
        compare(path, read_audit_table(path, "--compare"), few.table())["rank_correlation"] is None
    )

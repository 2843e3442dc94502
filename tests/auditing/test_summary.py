"""The summary of an audit in Python and in notebooks."""

import html
from pathlib import Path

import pandas as pd
import pytest

from noisy_xmodal.auditing.summary import AuditSummary

FACTS = {
    "n_pairs": 2395,
    "wrong_share": 0.088,
    "wrong_interval": [0.068, 0.11],
    "judged_wrong": 226,
    "report": "audit.html",
    "table": "audit.parquet",
}


def test_it_is_the_summary_and_says_how_many_are_wrong():
    summary = AuditSummary(FACTS)
    assert summary == FACTS
    assert repr(summary).splitlines()[0] == (
        "About 8.8% of the 2,395 pairs are wrong (6.8% to 11.0%); 226 are more likely wrong than "
        "right."
    )
    unknown = AuditSummary(FACTS, wrong_share=None)
    assert "is unknown (at most 11.0%)" in unknown.sentence
    assert repr(AuditSummary()) == AuditSummary()._repr_html_()  # of another process


def test_a_notebook_shows_the_report_and_runs_nothing_of_it(tmp_path: Path):
    page = '<p title="x">it\'s</p><script>alert(1)</script>'
    (tmp_path / "audit.html").write_text(page)
    shown = AuditSummary(FACTS, report=str(tmp_path / "audit.html"))._repr_html_()
    assert f'srcdoc="{html.escape(page)}" sandbox ' in shown
    assert "<script>" not in shown


def test_pairs_are_a_data_frame(tmp_path: Path):
    frame = pd.DataFrame({"caption": ["a"], "clean_probability": [0.5]})
    frame.to_parquet(tmp_path / "audit.parquet")
    pairs = AuditSummary(FACTS, table=str(tmp_path / "audit.parquet")).pairs()
    pd.testing.assert_frame_equal(pairs, frame)
    with pytest.raises(FileNotFoundError):
        AuditSummary(FACTS, table=str(tmp_path / "none.parquet")).pairs()

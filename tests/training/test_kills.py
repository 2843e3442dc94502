"""Runs that are killed in the middle end as if they had not been; see `kill_harness`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HARNESS = Path(__file__).parents[1] / "kill_harness.py"

#: Method, way to save, and where a run is killed: an event, and how often it has happened by then;
#: beside them a number of processes, and whether they share the weights.
PLAN = [
    ("ncr", "epoch", [("the mixture", 2), ("between rename and rotation", 2)]),
    ("rcar", "steps", [("a step", 8), ("within the removal of a folder", 2)]),
    ("dmcm", "batch", [("a report of divisions", 1), ("the files of a checkpoint's model", 9)]),
    ("bicro", "epoch", [("a step", 7)], 2, True),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict[str, Any]]:
    """What became of each kill; in a process of its own, as one with threads cannot be forked."""
    out = tmp_path_factory.mktemp("kills")
    done = subprocess.run(
        [sys.executable, str(HARNESS), "--plan", json.dumps(PLAN), "--output_dir", str(out)],
        env=os.environ | {"HF_HOME": str(out / "home")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (out / "kills.json").is_file(), done.stdout + done.stderr
    return json.loads((out / "kills.json").read_text())


@pytest.mark.parametrize("method", [method for method, *_ in PLAN])
def test_a_killed_run_ends_where_an_uninterrupted_one_does(rows, method):
    own = [row for row in rows if row["method"] == method]
    assert [row["place"] for row in own] == [
        place for name, _, places, *_ in PLAN if name == method for place, _ in places
    ]
    for row in own:
        assert row["last_event"].startswith(row["place"]), "or else it was not killed there"
        assert row["resumed_from"].startswith("checkpoint-")
        assert row["harm"] == []
        assert row["differences"] == []


def test_a_report_at_the_end_of_an_epoch_is_not_lost(rows):
    (row,) = [row for row in rows if row["place"] == "a report of divisions"]
    assert row["last_event"].endswith("1")
    assert row["resumed_from"] == "checkpoint-8", "step 9 ends an epoch, its checkpoint comes later"

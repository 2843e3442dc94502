"""The script for a machine with a GPU, at the tiny sizes of a machine without one."""

import json

import pytest

import on_gpu


@pytest.mark.skipif(on_gpu.ON_GPU, reason="its sizes are those of a GPU here")
def test_every_measurement_has_a_row(tmp_path, capsys):
    assert on_gpu.main(["--output_dir", str(tmp_path), "--parts", *on_gpu.PARTS]) == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    measured = report["measured"]
    assert report["machine"]["device"] == "cpu"
    assert len(measured) == 12
    assert all(
        value > 0 for row in measured.values() for unit, value in row.items() if "second" in unit
    )
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(measured)
    assert "No GPU: sizes are tiny." in capsys.readouterr().out


def test_the_parts_fit_into_eight_minutes():
    assert sum(on_gpu.LIMITS.values()) < 480
    assert set(on_gpu.LIMITS) == {"tests", *on_gpu.PARTS}


def test_a_part_that_fails_leaves_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(on_gpu, "ON_GPU", True)
    monkeypatch.setitem(on_gpu.LIMITS, "products", 0.01)
    (row,) = on_gpu.run_part("products", tmp_path).values()
    assert row == {"failed": "longer than 0.01 seconds", "status": 124}

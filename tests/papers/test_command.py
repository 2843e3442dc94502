"""The command over a real training script."""

import json
from pathlib import Path

import pytest

from example_scripts import script
from noisy_xmodal.papers.command import options_by_script
from toy_pairs import toy_pairs

TINY = ("--num_train_epochs", "1", "--use_cpu", "True", "--per_device_train_batch_size", "8")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Pairs without configs, in one file."""
    toy_pairs(24).to_parquet(tmp_path / "world.parquet")
    return str(tmp_path / "world.parquet")


def test_a_table_of_a_real_run(data, tmp_path, capsys):
    argv = ["ncr-table1", "--scale", "small", "--dataset_name", data, "--configs", "cmp_40"]
    argv += ["--output_dir", str(tmp_path / "out"), "--cells", "scan", *TINY]
    script("paper").main(argv)
    table = json.loads((tmp_path / "out/ncr-table1.json").read_text())
    cells = {cell["row"]: cell for cell in table["cells"]}
    assert cells["scan"]["status"] == "done"
    assert 0 < cells["scan"]["best"]["rsum"]["mean"] <= 600
    assert cells["scan"]["cost"]["parameters"]["mean"] > 0
    assert cells["ncr"]["status"] == "not run"
    assert (tmp_path / "out/ncr-table1.png").is_file()
    assert "| world.parquet | cmp_40 | SCAN | 1 | " in capsys.readouterr().out


def test_options_go_to_the_scripts_that_have_them():
    words = ["--mlm_epochs", "2", "--seed", "3", "--beta=0.7", "--margin", "0.3"]
    assert options_by_script(words) == {
        "train_ncr": ("--seed", "3", "--margin", "0.3"),
        "train_rcar": ("--mlm_epochs", "2", "--seed", "3"),
        "train_dmcm": ("--seed", "3", "--beta=0.7"),
    }
    with pytest.raises(ValueError, match="--sede is no option of paper"):
        options_by_script(["--sede", "3"])


def test_commands_are_listed(data, tmp_path, capsys):
    argv = ["rcar-table3", "--scale", "small", "--dataset_name", data, "--cells", "itm"]
    script("paper").main([*argv, "--output_dir", str(tmp_path / "out"), "--list_cells", "True"])
    printed = capsys.readouterr().out
    assert "python examples/train_rcar.py --method rcar --robust False --mlm_epochs 0" in printed
    assert "--inject_noise cmp_40" in printed
    assert not (tmp_path / "out").exists()

"""What a run records of itself."""

import shlex

import pytest

from noisy_xmodal.training.run import command_line


def test_the_command_repeats_the_run():
    argv = ["--dataset_name", "my photos/captions.csv", "--similarity_options", '{"a": true}']
    written = command_line("examples/train_ncr.py", argv)
    assert shlex.split(written) == ["python", "examples/train_ncr.py", *argv]


@pytest.mark.parametrize(
    "argv",
    [
        ["--hub_token", "secret", "--seed", "1"],
        ["--hub_token=secret", "--seed", "1"],
        ["--hub_token", "two words secret", "--seed", "1"],
        ["--run_name", "hf_abcdefghijklmnopqrstuvsecret", "--seed", "1"],
    ],
)
def test_a_token_is_not_recorded(argv):
    written = command_line("train.py", argv)
    assert "secret" not in written
    assert written.endswith(" --seed 1")

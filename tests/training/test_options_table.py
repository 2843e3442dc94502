"""The table of all options says what happens to them, and each option of this library is tested."""

import re
from pathlib import Path

import pytest

import options_table
from options_table import DEPENDS, REFUSED, WORKS, own_arguments, tables

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def found() -> dict[str, list[options_table.Row]]:
    return tables()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("dataloader_drop_last", WORKS),
        ("data_seed", WORKS),
        ("max_steps", WORKS),
        ("fsdp", WORKS),
        ("label_smoothing_factor", REFUSED),
        ("train_sampling_strategy", REFUSED),
        ("auto_find_batch_size", REFUSED),
        ("per_device_eval_batch_size", REFUSED),
        ("deepspeed", REFUSED),
        ("warmup_steps", DEPENDS),
        ("fsdp_config", DEPENDS),
    ],
)
def test_an_argument_of_transformers_has_its_state(found, name, state):
    rows = found["Training arguments of transformers"]
    assert [(row[1], bool(row[2])) for row in rows if row[0] == name] == [(state, state != WORKS)]


def test_fields_and_constants_have_theirs(found):
    states = {row[0]: row[1] for row in found["Fields of `NcrConfig`"]}
    assert (states["margin"], states["clean_threshold"]) == (DEPENDS, DEPENDS)
    assert states["objective"] == WORKS
    assert "vocab_size" in states
    assert "architectures" not in states
    (robust,) = (
        row for row in found["Constants of `clip`, and arguments that it refuses"] if row[2]
    )
    assert robust[:2] == ("robust", REFUSED)


def test_every_option_is_in_the_printed_tables(found):
    lines = options_table.markdown().splitlines()
    rows = [line for line in lines if re.match(r"\| `\w+` \| ", line)]
    assert len(rows) == sum(map(len, found.values()))


@pytest.mark.parametrize("name", own_arguments())
def test_every_argument_of_this_library_has_a_test_that_names_it(name):
    own = {Path(__file__).name, "options_table.py", "test_published.py"}
    files = [path for path in TESTS.rglob("*.py") if path.name not in own]
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in files)

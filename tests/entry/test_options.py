"""The tables hold every option, and refuse what does nothing or does not fit."""

import dataclasses
from typing import Any

import pytest
import typer.main

from example_scripts import script
from noisy_xmodal.arguments.datasets import CaptionNoiseArguments, PictureArguments
from noisy_xmodal.cli import NAMES, app
from noisy_xmodal.data.messages import spelling
from noisy_xmodal.entry.limits import AUDIT, DRAW, EVALUATE, REVIEW, SEARCH, WRITE
from noisy_xmodal.entry.options import Limits, OptionError, read_options

COMMANDS = {"audit": AUDIT, "review": REVIEW, "search": SEARCH}
SCRIPTS = {
    "audit": ("AuditOptions", AUDIT),
    "evaluate": ("EvaluationArguments", EVALUATE),
    "draw_shapes": ("DrawArguments", DRAW),
}


def parameters(name: str) -> dict[str, Any]:
    found = typer.main.get_command(app).commands[name].params
    return {NAMES.get(each.name, each.name): each for each in found if each.name != "help"}


def fields(name: str) -> list[str]:
    kind = getattr(script(name), SCRIPTS[name][0])
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_show_the_ranges_of_their_table(name: str) -> None:
    for option, parameter in parameters(name).items():
        rule = COMMANDS[name].get(option, Limits())
        for side, limit in (("min", rule.least), ("max", rule.most)):
            shown = getattr(parameter, side, None)
            if shown is None:  # where older versions of typer keep it
                shown = getattr(getattr(parameter, "type", None), side, None)
            assert shown == limit, (option, side)


def test_tables_name_options() -> None:
    options = {name: set(parameters(name)) for name in COMMANDS}
    options["audit"] |= set(fields("audit"))
    options |= {name: set(fields(name)) for name in SCRIPTS if name != "audit"}
    kinds = (CaptionNoiseArguments, PictureArguments)
    written = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    tables = {name: rules for name, (_, rules) in SCRIPTS.items()} | COMMANDS
    for known, rules in [(options[name], tables[name]) for name in options] + [(written, WRITE)]:
        assert set(rules) <= known
        for rule in rules.values():
            assert {*rule.needs, *rule.excludes} <= known


@dataclasses.dataclass
class Every:
    """Some options of an audit."""

    model_name_or_path: str | None = None
    vision_model_name_or_path: str | None = None
    clean: str | None = None
    clean_weights: bool = False
    clean_threshold: float = 0.5
    folds: int = 3
    rounds: int = 2
    epochs: int | None = None
    seed: int = 0
    inject_noise: str | None = None
    noise_seed: int = 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--clean_weights", "--clean_weights does nothing without --clean"),
        ("--clean_threshold 0.5", "--clean_threshold does nothing without --clean"),
        ("--clean x --clean_weights --clean_threshold .3", "beside --clean_weights"),
        ("--model_name_or_path x --folds 3", "--folds does nothing beside --model_name_or_path"),
        ("--model_name_or_path x --rounds 2", "--rounds"),
        ("--model_name_or_path x --epochs 9", "--epochs"),
        ("--model_name_or_path x --vision_model_name_or_path y", "--vision_model_name_or_path"),
        ("--noise_seed 0", "--noise_seed does nothing without --inject_noise"),
        ("--seed -1", "--seed is -1: give a value from 0 to 4294967295"),
        ("--seed 4294967296", "--seed is 4294967296"),
        ("--folds 1", "--folds is 1: give at least 2"),
        ("--clean x --clean_threshold nan", "--clean_threshold is nan: give a value from 0 to 1"),
        ("--clean x --clean_threshold inf", "--clean_threshold is inf"),
        ("--epochs 0", "--epochs is 0"),
        ("--clean=", "--clean is empty"),
        ("--model_name_or_path=", "--model_name_or_path is empty"),
    ],
)
def test_what_does_nothing_or_does_not_fit_is_refused(words: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        read_options(Every, AUDIT, words.split())


def test_what_fits_is_read() -> None:
    words = "--clean x --clean-weights --seed 4294967295 --folds 2 --inject_noise cmp_20"
    found = read_options(Every, AUDIT, words.split())
    assert found == Every(
        clean="x", clean_weights=True, seed=2**32 - 1, folds=2, inject_noise="cmp_20"
    )
    assert read_options(Every, AUDIT, ["--clean_weights", "False"]) == Every()


def test_what_cannot_be_read_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("--modle x", "--folds three", "stray"):
        with pytest.raises(SystemExit) as caught:
            read_options(Every, AUDIT, words.split())
        assert caught.value.code == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "error: unrecognized arguments: --modle x." in first
    assert "argument --folds: invalid int value: 'three'. See " in second
    assert third.endswith("--help.")


def test_a_name_must_be_whole_and_the_nearest_one_is_offered(capsys) -> None:
    for words in ("--fold 3", "--clean_wieghts True"):
        with pytest.raises(SystemExit):
            read_options(Every, AUDIT, words.split())
    first, second = capsys.readouterr().err.splitlines()
    assert "unrecognized arguments: --fold 3. Is it --folds? See " in first
    assert "unrecognized arguments: --clean_wieghts True. Is it --clean_weights? See " in second


def test_messages_have_the_names_of_the_interface() -> None:
    names = {"clean_threshold": "--clean-threshold", "model_name_or_path": "--model"}
    names |= {"dataset_config_name": "--config", "image_column": "--image-column"}
    spell = spelling(names)
    assert spell("--clean_threshold is 2 beside --model_name_or_path") == (
        "--clean-threshold is 2 beside --model"
    )
    assert spell("Name it with image_column=NAME.") == "Name it with --image-column NAME."
    assert spell("choose one of ['a'] with config_name=NAME.") == (
        "choose one of ['a'] with --config NAME."
    )
    assert spell("It is full. To replace it: overwrite=True.") == "It is full."
    assert spell("--other_option stays") == "--other_option stays"

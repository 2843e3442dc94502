"""A script answers before slow imports: its help, and errors that its command line shows."""

import re
import runpy
import signal
import subprocess
import sys
from dataclasses import dataclass, fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
from transformers import HfArgumentParser

from example_scripts import EXAMPLES, script
from noisy_xmodal import (
    LabelTrainingArguments,
    NcrConfig,
    RcarConfig,
    RcarTrainingArguments,
    RobustTrainingArguments,
)
from noisy_xmodal.arguments.matching import MatchingArguments
from noisy_xmodal.arguments.single_stream import SingleStreamArguments
from noisy_xmodal.arguments.training import LabelOptions, RcarOptions, RobustOptions
from noisy_xmodal.data import readers
from noisy_xmodal.data.readers.base import offered_configs
from noisy_xmodal.entry import command_line
from noisy_xmodal.entry.command_line import (
    SourceError,
    answer_early,
    argument_parser,
    with_training_arguments,
)

ROOT = Path(__file__).parents[2]
SLOW = {
    "torch",
    "transformers",
    "datasets",
    "sklearn",
    "scipy",
    "matplotlib",
    "accelerate",
    "gradio",
}
COMMANDS = [["-m", "noisy_xmodal.cli", *words] for words in ([], ["audit"], ["review"], ["search"])]
DATASETS = [
    path for path in sorted((ROOT / "dataset_scripts").glob("*.py")) if "measure" not in path.stem
]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
COMMANDS += [[str(path)] for path in (*SCRIPTS, *(ROOT / "dataset_scripts").glob("*.py"))]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: Path(" ".join(words[-2:])).stem)
def test_help_is_printed_without_slow_imports(words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "noisy_xmodal" in modules
    assert modules.isdisjoint(SLOW)


def described(parser: Any) -> list[dict[str, Any]]:
    """What a parser says of each option; choices that transformers computes are left out."""
    facts = [
        {name: getattr(action, name) for name in ("option_strings", "nargs", "default", "help")}
        | {"choices": list(action.choices or ()), "required": action.required}
        for action in parser._actions
    ]
    computed = ("--log_level", "--log_level_replica")
    for fact in facts:
        if fact["option_strings"][0] in computed:
            fact["choices"] = None
    return facts


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (RobustOptions, RobustTrainingArguments),
        (LabelOptions, LabelTrainingArguments),
        (RcarOptions, RcarTrainingArguments),
    ],
)
def test_training_options_are_those_of_the_real_arguments(options: type, arguments: type) -> None:
    quick = described(argument_parser([with_training_arguments(options)]))
    assert quick == described(HfArgumentParser(arguments))


@pytest.mark.parametrize("name", ["train_ncr", "train_rcar", "train_dmcm"])
@pytest.mark.parametrize("recipe", ["small", "paper"])
def test_command_line_of_a_training_script_is_its_help(
    monkeypatch: pytest.MonkeyPatch, name: str, recipe: str
) -> None:
    printed: list[Any] = []
    monkeypatch.setattr("argparse.ArgumentParser.print_help", lambda parser: printed.append(parser))
    words = ["--recipe", recipe, "--help"]
    path = str(EXAMPLES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *words])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(path, run_name="__main__")
    with pytest.raises(SystemExit, match="0"):
        script(name).main(words)
    quick, real = printed
    assert described(quick) == described(real)


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.stem)
def test_help_of_a_dataset_script_names_its_configs(path: Path) -> None:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    words = re.search(r"    main\((\w+), (\w+)\)", path.read_text(encoding="utf-8"))
    assert words is not None
    builder = getattr(readers, words[1])
    actions = argument_parser([getattr(module, words[2])])._actions
    text = next(action.help for action in actions if action.dest == "configs")
    assert f": {offered_configs(builder)}. {' '.join(builder.DEFAULT_CONFIGS)} when" in text


def test_source_in_a_new_form_leaves_the_help_to_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    forms = {
        "class TrainingArguments:\n    seed: int = field(default=draw())": "draw() is computed",
        "class TrainingArguments:\n    seed: int = 0": "seed is not written as a field",
        "class Other:\n    seed: int = 0": "no class TrainingArguments",
    }
    monkeypatch.setattr(command_line, "_folder", lambda: tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py", "--help"])
    for text, says in forms.items():
        (tmp_path / "training_args.py").write_text(text)
        with pytest.raises(SourceError, match=re.escape(says)):
            with_training_arguments(RobustOptions)
        answer_early(training=RobustOptions)
    assert capsys.readouterr().out == ""


RECIPES = {"small": {"warmup_epochs": 17}, "paper": {"warmup_epochs": 23}}


@pytest.mark.parametrize(
    ("words", "epochs"), [([], 17), (["--recipe", "paper"], 23), (["--recipe=small"], 17)]
)
def test_defaults_of_a_recipe_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str], epochs: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", "--seed", "3", *words, "-h"])
    with pytest.raises(SystemExit, match="0"):
        answer_early(
            training=RobustOptions, recipes=RECIPES, defaults={"seed": 91}, description="A test."
        )
    printed = capsys.readouterr().out
    assert "A test." in printed
    assert f"(default: {epochs})" in printed
    assert "(default: 91)" in printed
    assert "--recipe {small,paper}" in printed


@pytest.mark.parametrize("words", [["--method", "vse++"], ["--similarity=sgr"]])
def test_defaults_of_a_method_are_left_to_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", *words, "--help"])
    answer_early(training=RobustOptions, recipes=RECIPES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("words", [["--seed", "3"], ["--recipe", "paper", "--seed=3"]])
def test_a_correct_command_line_goes_on_to_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", *words])
    answer_early(training=RobustOptions, recipes=RECIPES)
    assert capsys.readouterr() == ("", "")


WRONG = [
    (["--num_train_epochs", "ten"], "argument --num_train_epochs/--num-train-epochs: invalid"),
    (["--num_train_epoch", "3"], "Is it --num_train_epochs?"),
    (["--epochs", "3"], "Is it --num_train_epochs?"),
    (["--method", "sir", "--text_training", "forzen"], "choose from 'full', 'lora', 'frozen'"),
    (["--recipe", "pap"], "choose from 'small', 'paper'"),
]


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_an_error_of_the_command_line_is_reported_without_slow_imports(words, says) -> None:
    command = [sys.executable, "-X", "importtime", str(EXAMPLES / "train_ncr.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 2
    assert says in done.stderr
    assert "noisy_xmodal" in modules
    assert modules.isdisjoint(SLOW)


def test_a_script_that_passes_options_on_reads_its_own_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", "--of_another_script", "3"])
    answer_early(ScaleOptions, passes_on=True)
    monkeypatch.setattr(sys, "argv", ["script.py", "--of_another_script", "3", "--size", "big"])
    with pytest.raises(SystemExit, match="2"):
        answer_early(ScaleOptions, passes_on=True)
    assert "--size: invalid int value: 'big'" in capsys.readouterr().err


@dataclass
class ScaleOptions:
    size: int = 3


@pytest.mark.parametrize(
    ("arguments", "config"), [(MatchingArguments, NcrConfig), (SingleStreamArguments, RcarConfig)]
)
def test_choices_of_options_are_those_of_the_config(arguments: type, config: type) -> None:
    of_options, of_config = (
        {field.name: field.type for field in fields(kind)} for kind in (arguments, config)
    )
    shared = [name for name, kind in of_config.items() if get_origin(kind) is Literal]
    shared = [name for name in shared if name in of_options]
    assert len(shared) > 3
    assert [of_options[name] for name in shared] == [of_config[name] for name in shared]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [("KeyboardInterrupt", -signal.SIGINT, "Stopped by SIGINT.\n"), ("OSError", 1, None)],
)
def test_ctrl_c_during_the_imports_of_a_script_ends_it_by_a_line(error, code, says) -> None:
    code_of_script = (
        f"from {command_line.__name__} import answer_early; answer_early(); raise {error}"
    )
    done = subprocess.run([sys.executable, "-c", code_of_script], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr == says if says else "Traceback" in done.stderr

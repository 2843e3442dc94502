"""The tables as data: figures that add up, rows that are what they say, and their commands."""

import shlex
from typing import Any

import pytest

from example_scripts import options_of
from noisy_xmodal.methods import CAPTION_METHODS
from noisy_xmodal.papers import TABLES
from noisy_xmodal.papers.cells import Plan
from noisy_xmodal.papers.command import methods_of_scripts
from noisy_xmodal.papers.table import COSTS, RECALLS, Data, Drawing, Row, Table, read_published

each_table = pytest.mark.parametrize("name", list(TABLES))
METHODS = {
    "train_ncr": ["ncr", "plain", "vse", "vse++", "scan", "saf", "sgr", "sgr*", "sgr-c", "imram"],
    "train_rcar": ["rcar"],
    "train_dmcm": ["dmcm", "mrl", "mrl_warmup", "lcn", "ce", "sdml", "dscmr", "dcca", "dccae"],
}


def plan(tmp_path, name="ncr-table1", scale="small", **options):
    options = {"seeds": (0,), "methods": METHODS} | options
    return Plan(TABLES[name], tmp_path, scale, **options)


def test_every_table_of_the_papers_is_there():
    wanted = [f"ncr-table{n}" for n in range(1, 5)] + [f"ncr-fig3{part}" for part in "abc"]
    wanted += [f"rcar-table{n}" for n in range(1, 5)] + [f"rcar-fig{n}" for n in range(3, 8)]
    wanted += ["dmcm-table2", "dmcm-table3", "dmcm-fig1", "dmcm-fig3"]
    assert set(wanted) <= set(TABLES)


@each_table
def test_published_figures_are_of_rows_and_data_of_a_paper(name):
    table = TABLES[name]
    assert not table.published or table.protocol
    for values in table.published.values():
        assert len(values) == len(table.metrics)
        if table.metrics == RECALLS:
            assert values[-1] == pytest.approx(sum(values[:-1]), abs=0.05)
            assert all(0 < value <= 100 for value in values[:-1])
        else:
            assert all(0 < value < 1 for value in values)


def test_the_sums_of_ncr_are_those_of_its_table():
    published = TABLES["ncr-table1"].published
    assert published["ncr", "flickr30k", "cmp_20"][-1] == 496.7
    assert published["scan", "coco-1000", "cmp_50"][-1] == 240.7
    assert published["sgr-c", "coco-1000", "cmp_50"][-1] == 500.8


def test_a_row_is_the_same_in_every_table():
    """They share the folders of their runs."""
    seen = {}
    for table in TABLES.values():
        for row in table.rows:
            what = (row.script, row.options, row.small, row.paper, row.features, row.parts)
            assert seen.setdefault(row.key, what) == what, row.key


@each_table
def test_the_commands_of_a_table(name, tmp_path):
    cells = plan(tmp_path, name, seeds=(0, 7)).cells()
    assert cells
    for cell in cells:
        for step in cell.steps:
            words = shlex.split(step.command)
            assert words[0] == f"examples/{step.script}.py"
            has_recipe = step.script.startswith("train")
            assert not has_recipe or words[words.index("--recipe") + 1] == "small"
            assert str(tmp_path / "runs") in " ".join(step.outputs)
    assert len({cell.name for cell in cells}) == len(cells)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_training_scripts_take_the_options_of_every_row(scale, tmp_path):
    done = set()
    for name in TABLES:
        some = plan(tmp_path, name, scale, dataset_name="data", methods=methods_of_scripts())
        for cell in some.cells():
            is_of_the_hub = scale == "paper" and cell.row.method == "clip"
            for step in () if is_of_the_hub else cell.steps:
                what = (step.script, cell.row.options, cell.row.small, cell.row.paper)
                if step.script.startswith("train") and what not in done:
                    done.add(what)
                    options_of(step.script, [*step.options, "--output_dir", "out"])
    assert len(done) > 40


def test_a_row_whose_method_is_missing_is_named(tmp_path):
    some = plan(tmp_path, methods=METHODS | {"train_ncr": ["ncr", "saf"]})
    assert some.unavailable["vsrn"] == "train_ncr.py has no --method vsrn"
    assert "no --method sgr" in some.unavailable["sgraf"], "one of its parts is missing"
    cosine = {"ncr-cosine", "plain-cosine", "oracle-cosine"}
    assert {cell.row.key for cell in some.cells()} == {"ncr", "saf"} | cosine
    assert "clip-b32" in plan(tmp_path, "ncr-table3").unavailable


def test_data_of_a_table_and_of_a_person(tmp_path):
    (tmp_path / "flickr30k").mkdir()
    (tmp_path / "coco").mkdir()
    known = {str(tmp_path / "flickr30k"): ["clean", "cmp_20"], str(tmp_path / "coco"): []}
    options = {"configs_of": lambda name: known.get(name, []), "data_dir": tmp_path}
    cells = {cell.name: cell for cell in plan(tmp_path, scale="paper", **options).cells()}
    assert not any(cell.row.paper is None for cell in cells.values())
    (train,) = cells["ncr/flickr30k/cmp_20/seed0"].steps
    assert "--dataset_config_name cmp_20 --seed 0" in train.command
    assert "--recipe paper" in train.command
    injected = cells["ncr/flickr30k/cmp_50/seed0"].steps[0].command
    assert "--dataset_config_name clean --inject_noise cmp_50" in injected
    train, evaluate = cells["ncr/coco-1000/cmp_50/seed0"].steps
    assert "--inject_noise cmp_50" in train.command
    assert "--dataset_config_name" not in train.command
    assert evaluate.command.endswith("--fold_size 1000")
    assert evaluate.outputs[:2] == ("--model_name_or_path", str(train.folder))
    with pytest.raises(ValueError, match="needs --data_dir, a folder with flickr30k, coco"):
        plan(tmp_path, scale="paper").cells()
    web = plan(tmp_path, "ncr-table2", "paper", **options)
    assert web.cells() == []
    assert "cc152k is missing" in web.lacks(web.table.rows[0], web.table.data[0])
    own = plan(tmp_path, dataset_name="my/photos", configs=("clean", "part_30")).cells()
    assert {cell.data.name for cell in own} == {"photos"}
    assert "--inject_noise part_30 --objects_from captions" in own[-1].steps[-1].command
    embedded = plan(tmp_path, "rcar-table1").cells()[-1].steps[-1].command
    assert "--dataset_config_name part_60 --objects_from tags" in embedded


def test_rows_on_noise_on_clean_pairs_and_without_labels(tmp_path):
    names = {cell.name for cell in plan(tmp_path).cells()}
    assert "sgr/openmoji/clean/seed0" in names
    assert "sgr/openmoji/cmp_20/seed0" not in names
    assert "sgr-star/openmoji/cmp_20/seed0" in names
    assert "sgr-star/openmoji/clean/seed0" not in names
    labels = [cell.name for cell in plan(tmp_path, "dmcm-table2").cells()]
    assert [name for name in labels if name.startswith("dcca/")] == ["dcca/openmoji/sym_20/seed0"]


def test_parts_are_trained_apart_and_averaged(tmp_path):
    cells = {cell.name: cell for cell in plan(tmp_path).cells()}
    saf, sgr, average = cells["sgraf/openmoji/clean/seed0"].steps
    assert (saf,) == cells["saf/openmoji/clean/seed0"].steps
    assert (sgr,) == cells["sgr/openmoji/clean/seed0"].steps
    assert str(saf.folder) in average.outputs
    assert str(sgr.folder) in average.outputs


def test_an_audit_knows_no_more_than_the_training(tmp_path):
    own = Row("own", "Own", options=("--method", "ncr"), is_audited=True)
    table = Table("t", "A table", (Data("d", "D", ("clean", "cmp_20")),), (own,))

    def audits(source: str | None, *further: str, **options: Any) -> list[str]:
        words = {"train_ncr": further}
        some = Plan(table, tmp_path, "small", (0, 1), dataset_name=source, further=words, **options)
        found = some.cells()
        for cell in found:
            audit, train = cell.steps
            at = train.outputs.index("--audit_table")
            assert train.outputs[at + 1] == str(audit.result)
        return list(dict.fromkeys(cell.steps[0].command for cell in found))

    of_openmoji = audits(None, methods=METHODS)
    assert of_openmoji == [
        f"examples/audit.py --dataset_config_name {config} --vision_model_name_or_path none "
        "--text_model_name_or_path none --split train"
        for config in ("clean", "cmp_20")
    ]
    minilm = ("--text_model_name_or_path", "minilm")
    configs = {"methods": METHODS, "configs_of": lambda name: ["cmp_20"]}
    assert audits("data", "--ema_decay", "0.9", *minilm, **configs) == [
        "examples/audit.py --dataset_name data --text_model_name_or_path minilm --split train",
        "examples/audit.py --dataset_name data --dataset_config_name cmp_20 "
        "--text_model_name_or_path minilm --split train",
    ]
    assert audits("data", methods=METHODS) == [
        "examples/audit.py --dataset_name data --text_model_name_or_path none --split train"
    ], "an audit would draw other noise than the training"


@pytest.mark.parametrize(
    ("pattern", "n_cells"),
    [("ncr", 3), ("scan/*/cmp_20", 1), ("cmp_20", 9), ("s*/openmoji/clean/*", 4), ("nothing", 0)],
)
def test_cells_are_chosen_by_name_or_part(tmp_path, pattern, n_cells):
    cells = [cell for cell in plan(tmp_path).cells() if cell.is_chosen([pattern])]
    assert len(cells) == n_cells


def test_published_text_is_read():
    found = read_published("\n a row | 1 2 | 3.5 4\n b row | 5 6 |\n", ("one", "two"), add=True)
    assert found == {
        ("row", "one", "a"): (1, 2, 3),
        ("row", "two", "a"): (3.5, 4, 7.5),
        ("row", "one", "b"): (5, 6, 11),
    }


def test_a_table_of_ones_own(tmp_path):
    row = Row("mine", "Mine", options=("--method", "ncr"))
    drawing = Drawing("noise", ("rsum",))
    table = Table("t", "T", (Data("d", "D", ("clean",)),), (row,), drawing=drawing)
    (cell,) = Plan(table, tmp_path, "small", (3,), methods=METHODS).cells()
    assert cell.name == "mine/openmoji/clean/seed3"
    assert table.metrics == RECALLS != COSTS


def test_methods_are_compared_at_the_same_number_of_network_steps(tmp_path):
    some = plan(tmp_path, "pairs", configs=("cmp_40",), methods=methods_of_scripts())
    cells = some.cells()
    assert {"ncr-cosine", "plain-one", "rcl", "sps", "sir"} <= {cell.row.key for cell in cells}
    for cell in cells:
        train = cell.steps[-1]
        options = options_of("train_ncr", [*train.options, "--output_dir", "out"])
        epochs = next(o.num_train_epochs for o in options if hasattr(o, "num_train_epochs"))
        method = CAPTION_METHODS[cell.row.method or "ncr"]
        assert method.n_networks * epochs == 12, cell.name

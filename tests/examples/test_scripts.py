"""The example scripts by their command contracts, from raw files to a table."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from example_scripts import script
from loopback_hub import TOKEN, LoopbackHub
from noisy_xmodal import inject_noise
from noisy_xmodal.training.run import run_script
from toy_pairs import REGION_SIZE, toy_pairs

REPOSITORY = Path(__file__).parents[2]
NAME = "org/ncr-concepts"


def run(
    script: str,
    *arguments: object,
    fails: bool = False,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a script in a fresh process, offline; return what it printed."""
    if environment is None:
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.run(
        [sys.executable, str(REPOSITORY / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        timeout=240,
        check=False,
    )
    assert (process.returncode != 0) == fails, process.stdout + process.stderr
    return process.stdout + process.stderr


def train_here(*arguments: object) -> None:
    """Train in this process, which has imported everything already."""
    script("train_ncr").main([str(argument) for argument in arguments])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a person reads of a run that does not begin."""
    with pytest.raises(SystemExit) as ended:
        run_script(lambda: train_here(*arguments))
    assert ended.value.code
    printed = capsys.readouterr()
    return f"{printed.out}{printed.err}{ended.value}"


def write_raw(folder: Path) -> None:
    """The field's region-feature layout of the made-up world."""
    folder.mkdir()
    for name, n_images, seed in (("train", 60, 0), ("dev", 20, 1), ("test", 20, 2)):
        rows = toy_pairs(n_images, seed=seed)
        np.save(folder / f"{name}_ims.npy", np.array(rows["regions"], dtype=np.float16))
        captions = [caption for row in rows["captions"] for caption in row]
        (folder / f"{name}_caps.txt").write_text("\n".join(captions) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Raw files, turned into Parquet, and NCR trained on them."""
    root = tmp_path_factory.mktemp("scripts")
    write_raw(root / "raw")
    run(
        "dataset_scripts/precomp.py",
        *("--data_dir", root / "raw", "--out", root / "data"),
        *("--configs", "clean", "cmp_40"),
    )
    with LoopbackHub() as hub:
        printed = run(
            "examples/train_ncr.py",
            *(*training(root), "--output_dir", root / "ncr"),
            *("--push_to_hub", "True", "--hub_model_id", NAME, "--hub_token", TOKEN),
            environment=hub.environment(root / "home"),
        )
        assert not hub.problems
        for name, content in hub.files(NAME).items():
            (root / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "hub" / name).write_bytes(content)
    return root, printed


def training(root: Path) -> list[object]:
    return [
        *("--dataset_name", root / "data", "--dataset_config_name", "cmp_40"),
        *("--num_train_epochs", 6, "--per_device_train_batch_size", 32, "--hidden_size", 24),
        *("--word_size", 24, "--learning_rate", 1e-2, "--use_cpu", "True"),
    ]


def test_an_audit_and_a_training_with_it(world, tmp_path, monkeypatch):
    root, _ = world
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    table = tmp_path / "audit.parquet"
    pairs = ["--dataset_name", str(root / "data"), "--dataset_config_name", "cmp_40"]
    options = ["--split", "train", "--text_model_name_or_path", "none", "--epochs", "2"]
    script("audit").main([*pairs, *options, "--rounds", "1", "--output", str(table)])
    few = "--num_train_epochs", 4, "--audit_table", table
    train_here(*training(root), *few, "--output_dir", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["method"] == "NCR, with an audit"
    divisions = json.loads((tmp_path / "run" / "divisions" / "divisions.json").read_text())
    assert [row["epoch"] for row in divisions] == [2, 2, 3, 3]


def test_training_writes_what_it_promises(world):
    root, printed = world
    out = root / "ncr"
    for name in (
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "README.md",
        "results.json",
        "divisions/divisions.json",
    ):
        assert (out / name).is_file(), name
    assert list((out / "divisions").glob("*.png"))
    results = json.loads((out / "results.json").read_text())
    assert results["noise"]["type"] == "complete_mismatch"
    assert results["noise"]["ratio"] == results["noise"]["share_wrong"] == 0.4
    assert set(results["best"]) == {"validation", "test"}
    assert f"{results['best']['test']['rsum']:.1f}" in printed
    assert "AutoModel.from_pretrained" in printed
    assert f"{results['best']['test']['rsum']:.1f}" in (out / "README.md").read_text()


def test_what_was_trained_is_published(world):
    root, printed = world
    published = {str(p.relative_to(root / "hub")) for p in (root / "hub").rglob("*") if p.is_file()}
    published -= {".gitattributes", ".git"}
    plots = {name for name in published if name.startswith("divisions/epoch_")}
    assert plots
    assert published - plots == {
        *("config.json", "model.safetensors", "processor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "noisy_xmodal_shim.py", "README.md", "results.json"),
        *("divisions/divisions.json", "divisions/refurbishments.json"),
        *("divisions/targets.json", "divisions/targets.png"),
    }
    for name in published:
        assert (root / "hub" / name).read_bytes() == (root / "ncr" / name).read_bytes()
        assert TOKEN.encode() not in (root / "hub" / name).read_bytes()
    card = (root / "hub" / "README.md").read_text()
    assert f'AutoModel.from_pretrained("{NAME}")' in card
    assert all(f"]({name})" in card for name in plots if name == max(plots))
    assert json.loads((root / "hub" / "config.json").read_text())["match_scale"] > 0
    assert NAME in printed


def test_nothing_is_trained_that_cannot_be_published(world, tmp_path):
    root, _ = world
    printed = run(
        "examples/train_ncr.py",
        *(*training(root), "--output_dir", tmp_path / "out", "--push_to_hub", "True"),
        fails=True,
    )
    assert "error:" in printed
    assert "Hub" in printed
    assert not (tmp_path / "out").exists()


def test_evaluate_gives_what_training_measured(world):
    root, _ = world
    options = ["--model_name_or_path", root / "ncr", "--dataset_name", root / "data"]
    options += ["--dataset_config_name", "clean", "--split", "test"]
    options += ["--results_file", root / "r.json"]
    script("evaluate").main([str(option) for option in options])
    measured = json.loads((root / "r.json").read_text())
    assert measured.pop("cost")["seconds_per_text_query"] > 0
    recalls = {f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)}
    assert recalls | {"rsum"} <= set(measured)
    trained = json.loads((root / "ncr/results.json").read_text())["best"]["test"]
    assert measured == pytest.approx(trained)


def test_two_processes_share_an_evaluation(world):
    root, _ = world
    options = ["--model_name_or_path", root / "ncr", "--dataset_name", root / "data"]
    options += ["--dataset_config_name", "clean", "--split", "test", "--block_size", "4"]
    options += ["--device", "cpu", "--results_file", root / "two.json"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    printed = subprocess.run(
        [sys.executable, *launcher, REPOSITORY / "examples/evaluate.py", *map(str, options)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    measured = json.loads((root / "two.json").read_text())
    trained = json.loads((root / "ncr/results.json").read_text())["best"]["test"]
    assert {name: measured[name] for name in trained} == pytest.approx(trained)
    assert printed.count("rsum") == 1


def test_compare_puts_runs_side_by_side(world, capsys):
    root, _ = world
    train_here(*training(root), "--robust", "False", "--output_dir", root / "plain")
    capsys.readouterr()
    runs = [str(root / "plain"), str(root / "ncr")]
    script("compare").main([*runs, "--output", str(root / "c.json")])
    printed = capsys.readouterr().out
    rows = json.loads((root / "c.json").read_text())
    assert {row["method"] for row in rows} == {"NCR", "plain"}
    assert "plain" in printed
    assert not (root / "plain/divisions").exists()


def test_trained_model_loads_in_a_fresh_process(world):
    root, _ = world
    code = (
        "import noisy_xmodal, sys; from transformers import AutoModel, AutoProcessor;"
        "m, p = (a.from_pretrained(sys.argv[1]) for a in (AutoModel, AutoProcessor));"
        f"import numpy as np; x = p(images=[np.ones((3, {REGION_SIZE}))], text=['concept1']);"
        "print(type(m).__name__, tuple(m(**x).logits_per_image.shape))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(root / "ncr")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert printed.strip() == "NcrModel (1, 1)"


@pytest.mark.parametrize("head", ["scan_t2i", "scan_i2t", "saf", "sgr", "sgraf_joint"])
def test_any_head_trains_with_the_same_command(world, tmp_path, head):
    small = "{}" if head.startswith("scan") else '{"similarity_size": 8}'
    root, _ = world
    options = [*training(root), "--num_train_epochs", 2, "--warmup_epochs", 1]
    options += ["--objective", "triplet", "--robust", "False", "--plot_divisions", "False"]
    options += ["--similarity", head, "--similarity_options", small]
    train_here(*options, "--output_dir", tmp_path)
    assert (tmp_path / "results.json").is_file()


def test_a_folder_of_pictures_with_a_table_trains_as_it_is(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    lines = ["picture,what people say"]
    for i in range(60):
        Image.new("RGB", (16, 16), (40 * (i % 6), 30 * (i % 8), 4 * i)).save(photos / f"{i}.png")
        lines += [f"{i}.png,red {i % 6} green {i % 8}", f"{i}.png,blue {i}"]
    (photos / "table.csv").write_text("\n".join(lines) + "\n")
    columns = ["--dataset_name", photos, "--caption_column", "what people say"]
    train_here(
        *(*columns, "--inject_noise", "cmp_40", "--validation_share", 0.2),
        *("--num_train_epochs", 2, "--warmup_epochs", 1, "--per_device_train_batch_size", 24),
        *("--hidden_size", 16, "--word_size", 16, "--use_cpu", "True", "--max_seq_length", 5),
        *("--output_dir", tmp_path / "out"),
    )
    printed = capsys.readouterr().out
    assert "12 training images are held out for it. They are as noisy as the rest" in printed
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["noise"]["n_pairs"] == 96
    assert results["noise"]["share_wrong"] == pytest.approx(0.4, abs=0.005)
    assert set(results["best"]) == {"validation"}
    assert (results["validation_held_out"], results["validation_is_noisy"]) == (True, None)
    assert results["cut_texts"] == {"n_cut": 48, "n_texts": 96, "limit": 5}
    card = " ".join((tmp_path / "out" / "README.md").read_text().split())
    assert "held out of the training pairs and is as noisy as they are." in card
    assert "48 of 96 training texts have more than 5 tokens" in card
    options = ["--model_name_or_path", tmp_path / "out", *columns, "--split", "train"]
    options += ["--results_file", tmp_path / "r.json"]
    script("evaluate").main([str(option) for option in options])
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["rsum"] > 0
    assert found["cut_texts"]["n_cut"] == 60
    (photos / "7.png").write_bytes((photos / "7.png").read_bytes()[:50])
    options = [*columns, "--output_dir", tmp_path / "none"]
    printed = refusal(capsys, *options)
    assert "error: 1 of 60 pictures are bad. 7.png of train" in printed
    assert "Traceback" not in printed


def test_the_course_of_a_run_shows_what_an_oracle_would_choose(tmp_path, capsys):
    noisy = inject_noise(toy_pairs(60, seed=0), "cmp_40", seed=0)
    (tmp_path / "data").mkdir()
    for split, rows in {"train": noisy, "test": toy_pairs(20, seed=2)}.items():
        rows.to_parquet(tmp_path / "data" / f"{split}.parquet")
    out = tmp_path / "out"
    options = ["--dataset_name", tmp_path / "data", "--num_train_epochs", 3, "--warmup_epochs", 1]
    options += ["--per_device_train_batch_size", 32, "--hidden_size", 24, "--word_size", 24]
    options += ["--learning_rate", 1e-2, "--validation_share", 0.3, "--use_cpu", "True"]
    options += ["--output_dir", out, "--record_course", "True"]
    never = ["--eval_strategy", "no", "--load_best_model_at_end", "False"]
    assert "nothing to record" in refusal(capsys, *options, *never)
    train_here(*options)
    course = json.loads((out / "curve.json").read_text())
    assert [row["epoch"] for row in course] == [1.0, 2.0, 3.0]
    results = json.loads((out / "results.json").read_text())
    assert course[-1]["test"]["rsum"] == pytest.approx(results["last"]["test"]["rsum"])
    right = [row["right_validation"] for row in course]
    assert results["validation_is_noisy"]
    assert right[-1]["rsum"] > course[-1]["validation"]["rsum"], "wrong captions are not measured"
    best = max(course, key=lambda row: row["right_validation"]["rsum"])
    assert results["best_on_clean"] == {"epoch": best["epoch"], "test": best["test"]}
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("oracle: best"))
    assert float(line.split()[-1]) == round(best["test"]["rsum"], 1)
    for checkpoint in out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    train_here(*options[:-2], "--num_train_epochs", 1, "--warmup_epochs", 0)
    assert json.loads((out / "results.json").read_text())["best_on_clean"] is None


def test_several_configs_and_none_named(world, tmp_path, capsys):
    root, _ = world
    options = ["--dataset_name", root / "data", "--output_dir", tmp_path / "out"]
    printed = refusal(capsys, *options)
    assert "has the configs clean, cmp_40: choose one with --dataset_config_name" in printed


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--dataset_config_name", "cmp_41", "cmp_40"),
        ("--per_device_train_batch_size", 4096, "4096"),
        ("--warmup_epochs", 9, "warmup_epochs"),
        ("--similarity", "dot", "cosine"),
        ("--robust", "maybe", "maybe"),
    ],
)
def test_bad_options_end_in_a_message_before_training(
    world, tmp_path, capsys, option, value, message
):
    root, _ = world
    options = [*training(root), "--output_dir", tmp_path / "out", option, value]
    assert message in refusal(capsys, *options)
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit, match="0"):
        train_here("--help")
    printed = capsys.readouterr().out
    for option in (
        "--dataset_config_name",
        "--robust",
        "--similarity",
        "--recipe",
        "--warmup_epochs",
    ):
        assert option in printed

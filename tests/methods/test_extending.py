"""A method or a head that is one class and one line works everywhere: see `new_methods`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModel

import noisy_xmodal  # noqa: F401  registers the classes
from example_scripts import script
from new_methods import LINES, Believing, Gce, Hinge
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training.integrity import checkpoint_folders
from toy_labels import toy_labels
from toy_pairs import toy_pairs

RUNNER = Path(__file__).parents[1] / "new_methods.py"
OPTIONS = {
    "train_ncr": "--num_train_epochs 4 --warmup_epochs 1 --per_device_train_batch_size 24 "
    "--hidden_size 8 --word_size 8 --dropout 0",
    "train_dmcm": "--num_train_epochs 4 --per_device_train_batch_size 40 --hidden_size 8 "
    "--embedding_size 6",
}
COMMON = "--disable_tqdm True --use_cpu True --plot_divisions False --learning_rate 1e-2 --seed 3"
METHODS = {"gce": ("train_ncr", Gce), "believing": ("train_ncr", Believing)}
METHODS["hinge"] = ("train_dmcm", Hinge)


@pytest.fixture(scope="module", autouse=True)
def entered():
    """The methods and the head in their tables, for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        for table, name, kind in LINES:
            patch.setitem(table, name, kind)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    """Folders of pairs with captions and with classes, by the script that trains on them."""
    root = tmp_path_factory.mktemp("data")
    noise = CompleteMismatch(0.4, "caption")
    for name, rows, rest in (
        ("train_ncr", toy_pairs(48, noise=noise), toy_pairs(12, seed=1)),
        ("train_dmcm", toy_labels(noise="sym_40"), toy_labels(40, seed=1)),
    ):
        (root / name).mkdir()
        for split, part in (("train", rows), ("validation", rest), ("test", rest)):
            part.to_parquet(str(root / name / f"{split}.parquet"))
    return {name: root / name for name in OPTIONS}


def argv(data: dict[str, Path], method: str, out: Path, *more: str) -> list[str]:
    name = METHODS[method][0]
    options = [*OPTIONS[name].split(), *COMMON.split(), "--dataset_name", str(data[name])]
    return ["--method", method, *options, "--output_dir", str(out), *more]


def weights(out: Path) -> dict[str, np.ndarray]:
    return load_file(str(out / "model.safetensors"))


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    """A finished run of each method."""
    out = tmp_path_factory.mktemp("runs")
    for method, (name, _) in METHODS.items():
        script(name).main(argv(data, method, out / method))
    return {method: out / method for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_by_the_script_writes_its_card_and_loads(runs, method):
    kind, folder = METHODS[method][1], runs[method]
    results = json.loads((folder / "results.json").read_text())
    assert (results["method"], results["method_name"]) == (kind.title, method)
    card = (folder / "README.md").read_text()
    assert f"**{kind.title}**" in card
    assert kind.citation in card
    model = AutoModel.from_pretrained(folder)
    assert model.config.method == method
    stored = weights(folder)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), stored[name])


@pytest.mark.parametrize("method", METHODS)
def test_it_writes_its_divisions_if_it_divides(runs, method):
    path = runs[method] / "divisions/divisions.json"
    assert path.is_file() == (method == "believing")
    if method == "believing":
        rows = json.loads(path.read_text())
        assert [row["epoch"] for row in rows] == [1, 2, 3]
        assert rows[-1]["auroc"] > 0.6


def test_a_killed_run_resumes_to_the_same_end(data, runs, tmp_path):
    method, step = "believing", 10  # the second of four epochs has ended
    out = tmp_path / method
    command = [sys.executable, str(RUNNER), METHODS[method][0], *argv(data, method, out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KILL_AT_STEP": str(step)}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(checkpoint_folders(out)) == 2
    assert not (out / "results.json").is_file()
    script(METHODS[method][0]).main(argv(data, method, out, "--resume_from_checkpoint", "True"))
    whole = weights(runs[method])
    for name, value in weights(out).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_its_constants_are_read_and_checked(data, tmp_path):
    changed = ("--method_options", '{"q": 0.5}', "--num_train_epochs", "2")
    script("train_ncr").main(argv(data, "gce", tmp_path / "out", *changed))
    config = AutoModel.from_pretrained(tmp_path / "out").config
    assert config.method_options == {"q": 0.5}
    wrong = ("--method_options", '{"q": 50}')
    with pytest.raises(ValueError, match=r"GCE: `q` .* \[0.001, 1\], found 50"):
        script("train_ncr").main(argv(data, "gce", tmp_path / "wrong", *wrong))
    with pytest.raises(ValueError, match="--margin is no option of --method gce"):
        script("train_ncr").main(argv(data, "gce", tmp_path / "wrong", "--margin", "0.3"))


def test_a_head_trains_by_its_name_and_loads(data, tmp_path):
    options = ("--similarity", "best_region", "--num_train_epochs", "2")
    script("train_ncr").main(argv(data, "gce", tmp_path / "out", *options))
    model = AutoModel.from_pretrained(tmp_path / "out")
    assert type(model.head).__name__ == "BestRegion"
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert np.isfinite(results["last"]["test"]["rsum"])

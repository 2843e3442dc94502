"""From raw files to the Hub and back: in fresh processes, by the real clients, without our code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from loopback_hub import LoopbackHub

REPOSITORY = Path(__file__).parents[2]
NAME = "org/flickr30k-noisy"

READ = """
import json, sys
sys.modules["noisy_xmodal"] = None  # importing it would fail
import datasets

name, config = sys.argv[1:]
splits = datasets.load_dataset(name, config)
stream = datasets.load_dataset(name, config, streaming=True)
rows = {split: splits[split].to_list() for split in splits}
assert rows == {split: list(stream[split]) for split in stream}
try:
    datasets.load_dataset(name, "cmp_41")
except ValueError as error:
    unknown = str(error)
print(json.dumps({"rows": rows, "unknown": unknown, "info": splits["train"].info.description}))
"""


def run(arguments: list[object], environment: dict[str, str], fails: bool = False) -> str:
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert (process.returncode != 0) == fails, process.stdout + process.stderr
    return process.stderr if fails else process.stdout


def write_raw(folder: Path) -> np.ndarray:
    folder.mkdir()
    features = np.random.default_rng(0).standard_normal((20, 3, 4)).astype(np.float16)
    for split, rows in (("train", features), ("test", features[:4])):
        np.save(folder / f"{split}_ims.npy", rows)
        lines = [f"{split} {i} {k}" for i in range(len(rows)) for k in range(5)]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
    return features


def test_configs_open_without_our_package_and_a_second_push_replaces_them(tmp_path: Path) -> None:
    features = write_raw(tmp_path / "raw")
    script, out = REPOSITORY / "dataset_scripts" / "precomp.py", tmp_path / "out"
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "home")
        command = [script, "--data_dir", tmp_path / "raw", "--push_to_hub", NAME, "--configs"]
        run([*command, "clean", "cmp_40", "cmp_image_20", "--out", out], environment)
        pushed = json.loads(run(["-c", READ, NAME, "cmp_40"], environment).splitlines()[-1])
        run([*command, "clean", "cmp_40", "--out", tmp_path / "second"], environment)
        files = hub.files(NAME, "dataset")
        assert not hub.problems
    assert not [name for name in files if name.startswith("cmp_image_20/")], "old shards are gone"
    assert [name for name in files if name.startswith("cmp_40/")]
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    stored = json.loads(run(["-c", READ, str(out), "cmp_40"], offline).splitlines()[-1])
    for found in (pushed, stored):
        train, test = found["rows"]["train"], found["rows"]["test"]
        assert [row["image_id"] for row in train] == [f"train-{i}" for i in range(20)]
        np.testing.assert_array_equal([row["regions"] for row in train], features.astype(float))
        wrong = [
            [text.split()[1] != str(i) for text in row["captions"]] for i, row in enumerate(train)
        ]
        assert wrong == [row["is_noisy"] for row in train]
        assert sum(map(sum, wrong)) == 40
        assert [row["captions"][2] for row in test] == [f"test {i} 2" for i in range(4)]
        for known in ("clean", "cmp_40", "cmp_image_20"):
            assert known in found["unknown"]
        protocol = json.loads(found["info"].splitlines()[-1].partition(": ")[2])
        assert (protocol["ratio"], protocol["n_wrong"], protocol["seed"]) == (0.4, 40, 0)


def test_a_stranger_is_told_before_any_work(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw")
    script, out = REPOSITORY / "dataset_scripts" / "precomp.py", tmp_path / "out"
    command = [script, "--data_dir", tmp_path / "raw", "--out", out, "--push_to_hub", NAME]
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": "hf_wrong"}
        said = run(command, environment, fails=True)
    assert "error: You are not logged in to the Hub" in said
    assert "hf auth login" in said
    assert "Traceback" not in said
    assert not out.exists()

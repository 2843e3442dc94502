"""Several processes that share their batches train what one process trains, sharded or not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from process_worker import BATCH, METHODS, SAVING, SECOND, SHARDED, train

WORKER = Path(__file__).parents[1] / "process_worker.py"


def torchrun(folder: Path, n_processes: int) -> dict:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", str(n_processes), str(WORKER), str(folder)),
        ],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def one(folder) -> dict[str, Any]:
    """Each run by one process, with a checkpoint after each epoch where others go on from it."""
    found = {
        method: train(method, folder / "one" / method, 1, **SAVING if SHARDED.get(method) else {})
        for method in METHODS
    }
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def two(one, folder) -> dict[str, Any]:
    return torchrun(folder, 2)


@pytest.mark.parametrize("run", [*METHODS, *(f"{method} fsdp" for method in SHARDED)])
def test_two_processes_train_what_one_trains(one, two, run):
    method = run.split()[0]
    assert two["world"] == 2
    assert_equal(two[run], one[method], after_resuming=run.endswith("fsdp") and SHARDED[method])
    shards = two[run]["largest_share"]
    assert (0.45 < shards < 0.65) if run.endswith("fsdp") else shards == 1


def test_one_process_goes_on_from_a_checkpoint_of_two_with_shards(one, two, folder):
    second = folder / "fsdp" / "ncr" / SECOND
    found = train("ncr", folder / "joined", 1, resume=second)
    assert_equal(found, one["ncr"], after_resuming=True)


def assert_equal(found: dict[str, Any], expected: dict[str, Any], after_resuming: bool) -> None:
    """Compare losses, the state of the pairs, metrics and weights within rounding."""
    # A loss that is logged right after resuming is a mean over fewer steps.
    epochs = slice(0, -1) if after_resuming else slice(None)
    np.testing.assert_allclose(found["losses"][epochs], expected["losses"][epochs], rtol=1e-4)
    assert found["state"].keys() == expected["state"].keys()
    for name, values in expected["state"].items():
        assert np.shape(values)[1] % BATCH
        if name == "is_clean":
            assert found["state"][name] == values
        np.testing.assert_allclose(found["state"][name], values, rtol=0, atol=1e-4, err_msg=name)
    assert found["metrics"] == pytest.approx(expected["metrics"], abs=1e-3)
    assert found["weights"] == pytest.approx(expected["weights"], rel=1e-4)

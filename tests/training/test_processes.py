"""Several processes that share their batches train what one process trains."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from process_worker import BATCH, METHODS, train

WORKER = Path(__file__).parents[1] / "process_worker.py"


def torchrun(folder: Path, n_processes: int) -> dict:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", str(n_processes), str(WORKER), str(folder)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> dict:
    return torchrun(tmp_path_factory.mktemp("two"), 2)


@pytest.mark.parametrize("method", list(METHODS))
def test_two_processes_train_what_one_trains(two, tmp_path, method):
    one = json.loads(json.dumps(train(method, tmp_path, 1)))
    found = two[method]
    assert two["world"] == 2
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)
    assert found["state"].keys() == one["state"].keys()
    for name, values in one["state"].items():
        assert np.shape(values)[1] % BATCH
        if name == "is_clean":
            assert found["state"][name] == values
        np.testing.assert_allclose(found["state"][name], values, rtol=0, atol=1e-4, err_msg=name)
    assert found["metrics"] == pytest.approx(one["metrics"], abs=1e-3)

"""The clean dataset of an audit by parts."""

from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_results import result_of
from noisy_xmodal.arguments.audit import TROUBLES, AuditOptions
from noisy_xmodal.auditing.cleaning import WEIGHTS
from noisy_xmodal.auditing.shard_cleaning import ShardCleaning
from toy_pairs import toy_pairs


def test_other_weights_are_other_files(tmp_path: Path) -> None:
    # `datasets` would take the first dataset from its cache.
    result = result_of(toy_pairs(4, seed=0), np.zeros(8), np.zeros(8))
    kept = SimpleNamespace(has_trouble=np.zeros((8, len(TROUBLES)), bool))
    for place, weight in (("first", 0.25), ("second", 0.75)):
        part, out = tmp_path / f"{place}.parquet", tmp_path / "clean"
        pq.write_table(pa.table({"pair_id": np.arange(8), WEIGHTS: np.full(8, weight)}), part)
        options = AuditOptions("pairs", clean=out, clean_weights=True)
        cleaning = ShardCleaning(options, 0.0, tmp_path / place)
        cleaning.write("shard", "0.parquet", result.rows, kept, part)
        if out.exists():
            out.rename(tmp_path / "moved")
        cleaning.publish(["shard"], "train", "pairs")
        rows = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
        assert rows[WEIGHTS][:] == [[weight] * 2] * 4

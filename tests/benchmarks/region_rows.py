"""CPU time of a batch of region features, read as one array and row by row.

python tests/benchmarks/region_rows.py
"""

import time

import datasets
import numpy as np
import pyarrow as pa

from noisy_xmodal.data.lazy_rows import ColumnRows
from noisy_xmodal.data.regions import region_arrays, region_column

N_IMAGES, N_REGIONS, SIZE, BATCH, N_BATCHES = 6000, 16, 320, 247, 30


def main() -> None:
    """Print the time of a batch, the mean of `N_BATCHES`."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N_IMAGES, N_REGIONS, SIZE)).astype(np.float16)
    rows = datasets.Dataset(pa.table({"regions": region_column(features)}))
    stored, column = rows.with_format("arrow"), ColumnRows(rows, "regions")
    batches = [rng.choice(N_IMAGES, BATCH, replace=False).tolist() for _ in range(N_BATCHES)]
    works = {
        "one array": column.read,
        "row by row": lambda batch: [a.copy() for a in region_arrays(stored[batch]["regions"])],
    }
    for name, work in works.items():
        start = time.process_time()
        for batch in batches:
            work(batch)
        print(f"{name}: {1000 * (time.process_time() - start) / N_BATCHES:.1f} ms a batch")


if __name__ == "__main__":
    main()

"""An audit's table and dataset with hostile texts, for tests of the review page."""

from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from audit_results import result_of
from noisy_xmodal.arguments.review import ReviewOptions

#: If one of these runs, `window.hit` is set.
HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 2'>",
    "[a](javascript:window.hit=3) **b** `c`",
    "${window.hit = 4} {{ 7 * 7 }} {% raise %}",
    '"><svg onload="window.hit = 5">',
    "\u202egnp.txt\u2066 &lt;b&gt;",
    "</textarea></article><iframe srcdoc='<script>parent.hit = 6</script>'>",
]
SUGGESTED = "a better <script>window.hit = 7</script> caption"


def hostile_audit(folder: Path, pictures: bool = True) -> ReviewOptions:
    """Writes `audit.parquet` and `data.parquet`, of seven images with a caption each."""
    n = len(HOSTILE)
    columns: dict[str, list[object]] = {"image_id": [f"{text}.jpg" for text in HOSTILE]}
    columns["captions"] = [[text] for text in HOSTILE]
    if pictures:
        columns["image"] = [Image.new("RGB", (30, 20), (30 * k, 90, 120)) for k in range(n)]
    else:
        columns["regions"] = [[[float(k), 1.0]] for k in range(n)]
    better = np.full(n, -1)
    better[0] = n - 1
    result = result_of(
        columns,
        np.linspace(0.02, 0.9, n),
        -np.linspace(0.02, 0.9, n),
        better_caption=better,
        better_image=better,
        output=folder / "audit.parquet",
    )
    result.write_table()
    result.rows.pairs.dataset.to_parquet(str(folder / "data.parquet"))
    datasets.disable_progress_bars()
    return ReviewOptions(folder / "audit.parquet", str(folder / "data.parquet"))

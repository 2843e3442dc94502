"""What the report is given to show: pictures and suggestions of the right rows."""

import datasets
import numpy as np
from PIL import Image

from noisy_xmodal.auditing.report_examples import doubtful_pairs
from noisy_xmodal.auditing.table import AuditTable


def test_worst_pairs_come_with_their_pictures_and_suggestions_if_judged_wrong() -> None:
    shades = [10, 20, 30]
    rows = datasets.Dataset.from_dict(
        {
            "image": [Image.new("L", (4, 4), shade) for shade in shades],
            "image_id": ["a", "b", "c"],
            "captions": [["one", "two"], ["three"], ["four"]],
        }
    )
    table = AuditTable(
        ["a", "b", "c"],
        ["one", "two", "three", "four"],
        np.array([0, 0, 1, 2]),
        np.array([0.9, 0.1, 0.8, 0.6]),
        np.array([1.0, 9.0, 2.0, 3.0]),
        np.array([1, 3, 2, 0]),
        np.array([2, 3, 0, 0]),
        np.array([2, 1, 0, 0]),
    )
    worst, next_one = doubtful_pairs(table, rows, 2)
    assert (worst.pair_id, worst.image_id, worst.caption) == (1, "a", "two")
    assert worst.image.getpixel((0, 0)) == (10, 10, 10)
    assert (worst.suggested_caption, worst.suggested_image_id) == ("four", "b")
    assert worst.suggested_image.getpixel((0, 0)) == (20, 20, 20)
    assert (next_one.pair_id, next_one.image_id, next_one.loss) == (3, "c", 3.0)
    assert next_one.suggested_caption is None
    assert next_one.suggested_image is None

"""A validation split that is taken from training rows says how many of its pairs are wrong."""

from typing import Any

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import (
    append_boxes,
    held_out_line,
    hold_out_validation,
    inject_noise,
    validation_facts,
    with_vectors,
)

FACTS = ("validation_held_out", "validation_is_noisy", "validation_n_wrong")


def captions(n: int, oracle: bool) -> datasets.Dataset:
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "image_id": [str(row) for row in range(n)],
        "captions": [[f"text {row}", f"more {row}"] for row in range(n)],
        "regions": rng.random((n, 2, 3)).tolist(),
    }
    if oracle:
        rows["is_noisy"] = (rng.random((n, 2)) < 0.5).tolist()
    return datasets.Dataset.from_dict(rows)


def labels(n: int, oracle: bool) -> datasets.Dataset:
    rng = np.random.default_rng(1)
    given = rng.integers(0, 3, (3, n))
    rows = {"image_label": given[0], "text_label": given[1]}
    rows |= {"image_features": rng.random((n, 4)), "text_features": rng.random((n, 5))}
    rows |= {"true_label": given[2]} if oracle else {}
    return datasets.Dataset.from_dict({name: values.tolist() for name, values in rows.items()})


def n_wrong(rows: datasets.Dataset) -> int:
    if "is_noisy" in rows.column_names:
        return sum(sum(flags) for flags in rows["is_noisy"])
    sides = ("image_label", "text_label")
    return sum(row[side] != row["true_label"] for row in rows for side in sides)


@pytest.mark.parametrize(("make", "unit"), [(captions, "images"), (labels, "pairs")])
def test_wrong_pairs_among_those_held_out_are_counted(make, unit):
    held = hold_out_validation(datasets.DatasetDict(train=make(40, oracle=True)), 0.25, seed=3)
    wrong = n_wrong(held["validation"])
    assert wrong > 0
    assert validation_facts(held) == dict(zip(FACTS, (True, True, wrong), strict=True))
    line = held_out_line(held)
    assert line.startswith(f"There is no split 'validation': 10 training {unit} are held out")
    assert f"{wrong} wrong pairs or labels are among them by the oracle" in line
    assert "Held out" not in (held["train"].info.description or "")


@pytest.mark.parametrize("make", [captions, labels])
def test_without_an_oracle_they_are_as_noisy_as_the_rest(make):
    held = hold_out_validation(datasets.DatasetDict(train=make(20, oracle=False)), 0.5)
    assert validation_facts(held) == dict(zip(FACTS, (True, None, None), strict=True))
    assert "as noisy as the rest" in held_out_line(held)


def test_what_is_done_to_the_rows_later_does_not_change_what_is_known():
    held = hold_out_validation(datasets.DatasetDict(train=captions(20, oracle=False)), 0.5)
    facts = validation_facts(held)
    assert validation_facts(inject_noise(held, "cmp_40")) == facts  # noise is for train alone
    kind = datasets.List(datasets.List(datasets.Value("float32")))
    boxes = [[[0.0, 0.0, 1.0, 1.0]] * 2] * 10
    boxed = append_boxes(held["validation"].add_column("boxes", boxes, feature=kind), "validation")
    assert validation_facts(datasets.DatasetDict(held | {"validation": boxed})) == facts
    held = hold_out_validation(datasets.DatasetDict(train=labels(20, oracle=True)), 0.5)
    rows = held["validation"].remove_columns("text_features")
    rows = rows.add_column("captions", [["a dog"]] * 10)
    described = with_vectors(rows, "validation")
    assert "text_features" in described.column_names
    again = datasets.DatasetDict(held | {"validation": described})
    assert validation_facts(again) == validation_facts(held)


def test_a_split_that_was_there_is_not_said_to_be_held_out():
    rows = captions(6, oracle=True)
    splits = datasets.DatasetDict(train=rows, validation=rows)
    expected = (False, n_wrong(rows) > 0, n_wrong(rows))
    assert validation_facts(splits) == dict(zip(FACTS, expected, strict=True))
    assert held_out_line(splits) is None
    bare = datasets.DatasetDict(validation=captions(6, oracle=False))
    assert validation_facts(bare) == dict(zip(FACTS, (False, None, None), strict=True))

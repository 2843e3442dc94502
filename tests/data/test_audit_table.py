"""The table of an audit, and the clean probabilities of pairs by it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisy_xmodal import PairDataset
from noisy_xmodal.data import DatasetError
from noisy_xmodal.data.audit_table import clean_probabilities, read_audit_table
from toy_pairs import audit_table_of, toy_pairs

OPTION = "--audit_table"


@pytest.fixture
def pairs() -> PairDataset:
    return PairDataset(toy_pairs(8))


@pytest.fixture
def probability(pairs: PairDataset) -> np.ndarray:
    draw = np.random.default_rng(0).uniform(size=len(pairs))
    rows, captions = pairs.row_of_pair.tolist(), pairs.captions()
    of_pair = dict(zip(zip(rows, captions, strict=True), draw, strict=True))
    return np.array([of_pair[key] for key in zip(rows, captions, strict=True)])


def test_pairs_get_their_probabilities_in_any_order(tmp_path, pairs, probability):
    table = audit_table_of(tmp_path / "audit.parquet", pairs, probability)
    np.testing.assert_array_equal(clean_probabilities(table, pairs, OPTION), probability)
    part = PairDataset(pairs.dataset.select([6, 2]))
    expected = probability[[12, 13, 4, 5]]
    np.testing.assert_array_equal(clean_probabilities(table, part, OPTION), expected)


def test_a_table_may_have_parts(tmp_path, pairs, probability):
    whole = pq.read_table(audit_table_of(tmp_path / "audit.parquet", pairs, probability))
    (tmp_path / "audit").mkdir()
    pq.write_table(whole.slice(0, 5), tmp_path / "audit" / "part-00000.parquet")
    pq.write_table(whole.slice(5), tmp_path / "audit" / "part-00001.parquet")
    found = clean_probabilities(tmp_path / "audit", pairs, OPTION)
    np.testing.assert_array_equal(found, probability)


def test_pairs_that_were_not_audited_are_refused(tmp_path, pairs, probability):
    table = audit_table_of(tmp_path / "audit.parquet", pairs, probability)
    rows = pairs.dataset.to_list()
    rows[3]["captions"][1] = "another caption"
    other = PairDataset(pairs.dataset.from_list(rows, features=pairs.dataset.features))
    with pytest.raises(
        DatasetError,
        match=r"lacks 1 of the 16 training pairs, such as image '3' with the caption 'another capt",
    ):
        clean_probabilities(table, other, OPTION)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5])
def test_values_that_are_no_probabilities_are_refused(tmp_path, pairs, probability, value):
    probability[5] = value
    table = audit_table_of(tmp_path / "audit.parquet", pairs, probability)
    with pytest.raises(DatasetError, match="outside 0 to 1"):
        clean_probabilities(table, pairs, OPTION)


def test_a_table_that_believes_no_pair_is_refused(tmp_path, pairs):
    table = audit_table_of(tmp_path / "audit.parquet", pairs, np.full(len(pairs), 0.25))
    with pytest.raises(DatasetError, match=r"all 16 training pairs wrong .*probability is 0\.25"):
        clean_probabilities(table, pairs, OPTION)


def test_two_images_of_one_id_must_not_differ(tmp_path, pairs, probability):
    rows = pairs.dataset.to_list()
    rows[3] |= {"image_id": "0", "captions": ["a dress", *rows[3]["captions"][1:]]}
    rows[0]["captions"][0] = "a dress"
    twins = PairDataset(pairs.dataset.from_list(rows, features=pairs.dataset.features))
    table = audit_table_of(tmp_path / "audit.parquet", twins, probability)
    with pytest.raises(DatasetError, match="two images with the id '0' and the caption 'a dress'"):
        clean_probabilities(table, twins, OPTION)
    probability[6] = probability[0]
    table = audit_table_of(tmp_path / "audit.parquet", twins, probability)
    np.testing.assert_array_equal(clean_probabilities(table, twins, OPTION), probability)


def test_other_files_are_refused(tmp_path):
    def read(name: str) -> Any:
        return read_audit_table(tmp_path / name, "--compare")

    with pytest.raises(DatasetError, match=r"--compare .*missing\.parquet does not exist"):
        read("missing.parquet")
    pq.write_table(pa.table({"caption": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match="it lacks image_id, clean_probability, and has caption"):
        read("other.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DatasetError, match="is no table of an audit"):
        read("text.parquet")

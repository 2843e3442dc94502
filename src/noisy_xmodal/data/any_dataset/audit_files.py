"""What an audit wrote earlier into a folder of data: known by the columns of its table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import DatasetError

_COLUMNS = {"pair_id", "image_id", "caption", "clean_probability", "suggested_caption"}


def audit_files(folder: Path) -> set[Path]:
    """The tables of audits at the top of a folder, and the reports and summaries beside them."""
    tables = [file for file in folder.glob("*.parquet") if is_audit_table(file)]
    beside = (table.with_suffix(suffix) for table in tables for suffix in (".json", ".html"))
    return {*tables, *(file for file in beside if file.is_file())}


def is_audit_table(file: Path) -> bool:
    """Whether a Parquet file is the table of an audit."""
    try:
        return set(pq.read_schema(file).names) >= _COLUMNS
    except (pa.ArrowException, OSError):
        return False


def refuse_audit_table(file: Path) -> None:
    """Refuses the table of an audit as a dataset.

    Raises:
        DatasetError: It is one.
    """
    if file.suffix.lower() == ".parquet" and is_audit_table(file):
        raise DatasetError(
            f"{file} is the table of an audit, which holds no pictures. Give the dataset that was "
            "audited."
        )

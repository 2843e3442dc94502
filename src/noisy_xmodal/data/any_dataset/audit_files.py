"""Files of an earlier audit in a data folder, detected by the columns of the audit's table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import DatasetError

_COLUMNS = {"pair_id", "image_id", "caption", "clean_probability", "suggested_caption"}


def audit_files(folder: Path) -> set[Path]:
    """The tables of audits at the top of a folder, with their reports and summaries."""
    tables = [file for file in folder.glob("*.parquet") if is_audit_table(file)]
    reports = (table.with_suffix(suffix) for table in tables for suffix in (".json", ".html"))
    return {*tables, *(file for file in reports if file.is_file())}


def is_audit_table(file: Path) -> bool:
    """Whether a Parquet file is the table of an audit."""
    try:
        return set(pq.read_schema(file).names) >= _COLUMNS
    except (pa.ArrowException, OSError):
        return False


def reject_audit_table(file: Path) -> None:
    """Raises an error if a file is the table of an audit.

    Raises:
        DatasetError: The file is such a table.
    """
    if file.suffix.lower() == ".parquet" and is_audit_table(file):
        raise DatasetError(
            f"{file} is the table of an audit, without pictures. Give the audited dataset instead."
        )

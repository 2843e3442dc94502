"""An audit beside an earlier one of the same dataset."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import spearmanr

from ..arguments.audit import THRESHOLD
from ..data import DatasetError
from .result import AuditResult

_COLUMNS = ["image_id", "caption", "clean_probability"]
_N_EXAMPLES = 10


def read_table(path: Path) -> dict[str, list[Any]]:
    """Image ids, captions and clean probabilities of an audit's table.

    Raises:
        DatasetError: If it is no such table.
    """
    try:
        columns = pq.read_schema(path).names
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"--compare {path} is no table of an audit ({error}): give an audit.parquet"
        ) from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise DatasetError(
            f"--compare {path} is no table of an audit: it lacks {', '.join(missing)}, and has "
            f"{', '.join(columns)}"
        )
    return pq.read_table(path, columns=_COLUMNS).to_pydict()


def compare(result: AuditResult, path: Path, table: dict[str, list[Any]]) -> dict[str, Any]:
    """What has changed since an earlier audit, ready for JSON.

    Pairs are the same if image id and caption are; of equal ones, the first goes with the first.

    Args:
        result: The audit.
        path: The table of the earlier one, for the record.
        table: Its columns, see `read_table`.

    Returns:
        `pairs_of_both`, `new_pairs`, `gone_pairs`; of the pairs of both `wrong_in_both`,
        `newly_wrong`, `no_longer_wrong` and `rank_correlation` of the clean probabilities (null for
        less than three pairs or equal probabilities); and `examples`, the pairs whose probability
        changed most.
    """
    old_keys = _numbered(table["image_id"], table["caption"])
    old = dict(zip(old_keys, table["clean_probability"], strict=True))
    names = [result.rows.image_ids[row] for row in result.rows.pairs.row_of_pair.tolist()]
    keys = _numbered(names, result.captions)
    both = [pair for pair, key in enumerate(keys) if key in old]
    before = np.array([old[keys[pair]] for pair in both], dtype=np.float64)  # (n_both,)
    after = result.judgement.clean_probability[both]  # (n_both,)
    was_wrong, is_wrong = before < THRESHOLD, after < THRESHOLD
    has_ranks = len(both) > 2 and np.ptp(before) > 0 and np.ptp(after) > 0
    most = np.argsort(-np.abs(after - before), kind="stable")[:_N_EXAMPLES].tolist()
    return {
        "table": str(path),
        "pairs_of_both": len(both),
        "new_pairs": len(keys) - len(both),
        "gone_pairs": len(old) - len(both),
        "wrong_in_both": int((was_wrong & is_wrong).sum()),
        "newly_wrong": int((~was_wrong & is_wrong).sum()),
        "no_longer_wrong": int((was_wrong & ~is_wrong).sum()),
        "rank_correlation": float(spearmanr(before, after).statistic) if has_ranks else None,
        "examples": [
            {
                "image_id": keys[both[place]][0],
                "caption": keys[both[place]][1],
                "before": round(float(before[place]), 4),
                "after": round(float(after[place]), 4),
            }
            for place in most
            if before[place] != after[place]
        ],
    }


def _numbered(names: list[str], captions: list[str]) -> list[tuple[str, str, int]]:
    """Image id, caption and how many equal pairs precede, for each pair."""
    count: Counter[tuple[str, str]] = Counter()
    keys = []
    for key in zip(names, captions, strict=True):
        keys.append((*key, count[key]))
        count[key] += 1
    return keys

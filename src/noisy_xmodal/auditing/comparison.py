"""An audit beside an earlier one of the same dataset."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ..arguments.audit import THRESHOLD

_N_EXAMPLES = 10


def compare(
    path: Path, old_table: Mapping[str, Any], new_table: Mapping[str, Any]
) -> dict[str, Any]:
    """What has changed since an earlier audit, ready for JSON.

    Pairs are the same if image id and caption are; of equal ones, the first goes with the first.

    Args:
        path: The table of the earlier audit, for the record.
        old_table: Its columns, see `read_audit_table`.
        new_table: The same columns of this audit.

    Returns:
        `pairs_of_both`, `new_pairs`, `gone_pairs`; of the pairs of both `wrong_in_both`,
        `newly_wrong`, `no_longer_wrong` and `rank_correlation` of the clean probabilities (null for
        less than three pairs or equal probabilities); and `examples`, the pairs whose probability
        changed most.
    """
    old_keys = _numbered(old_table["image_id"], old_table["caption"])
    old = dict(zip(old_keys, old_table["clean_probability"], strict=True))
    keys = _numbered(new_table["image_id"], new_table["caption"])
    both = [pair for pair, key in enumerate(keys) if key in old]
    before = np.array([old[keys[pair]] for pair in both], dtype=np.float64)  # (n_both,)
    after = np.asarray(new_table["clean_probability"], dtype=np.float64)[both]  # (n_both,)
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

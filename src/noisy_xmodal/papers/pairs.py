"""All methods for noisy pairs side by side: one network, one budget, one selection.

The budget is the number of network steps: two networks for six epochs, as in the demo, or one for
twelve. Two networks are averaged at the test, so plain training has a row of either kind. The best
epoch is chosen on held-out pairs, which are as noisy as the others, and where the course of the
runs is recorded, also on the right ones among them, which only an oracle knows.
"""

from collections.abc import Sequence
from dataclasses import replace

from .ncr import NCR_COSINE, ORACLE_COSINE, PLAIN_COSINE
from .table import Data, Row, Table, Words

NOISE = ("clean", *(f"{kind}_{rate}" for kind in ("cmp", "cmp_image") for rate in (20, 40, 60, 80)))
#: Six epochs are the default of two networks.
_ONE_NETWORK: Words = ("--num_train_epochs", "12")


def _row(key: str, title: str, *small: str) -> Row:
    return Row(key, title, options=("--method", key), small=small, paper=None)


def _one(key: str, title: str, warm_up: int | None = 2, further: Sequence[str] = ()) -> Row:
    words = () if warm_up is None else ("--warmup_epochs", str(warm_up))
    return _row(key, f"{title} (one network)", *_ONE_NETWORK, *words, *further)


_CRCL = '{"temperature": 0.2, "n_restarts": 1, "run_epochs": 4}'

ROWS = (
    replace(PLAIN_COSINE, title="plain"),
    Row(
        "plain-one",
        "plain (one network)",
        options=("--method", "plain", "--method_options", '{"objective": "infonce"}'),
        small=_ONE_NETWORK,
        paper=None,
    ),
    replace(PLAIN_COSINE, key="plain-audit", title="plain with an audit", is_audited=True),
    NCR_COSINE,
    _one("rcl", "RCL", None),
    _one("decl", "DECL"),
    _one("crcl", "CRCL", further=("--method_options", _CRCL)),
    _one("gsc", "GSC", None),
    _row("cream", "CREAM"),
    _row("bicro", "BiCro"),
    _one("l2rm", "L2RM"),
    _row("sps", "SPS"),
    _row("sir", "SIR (ours)"),
    replace(_row("sir", "SIR with an audit (ours)"), key="sir-audit", is_audited=True),
    replace(ORACLE_COSINE, title="plain, wrong pairs dropped by the oracle"),
)

TABLES = (
    Table(
        "pairs",
        "Methods for noisy pairs, side by side",
        (Data("flickr30k", "Flickr30K", NOISE),),
        ROWS,
        metrics=("i2t_r1", "t2i_r1", "rsum", "train_seconds"),
        choices=("last", "best", "best_on_clean"),
        note="One budget: two networks whose scores are averaged, or one for twice the epochs. The "
        "oracle's training has fewer steps, because it has fewer pairs.",
    ),
)

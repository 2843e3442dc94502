"""The summary of an audit, as Python and notebooks see it."""

import html
from pathlib import Path
from typing import Any


class AuditSummary(dict[str, Any]):
    """The summary of an audit: what its JSON file holds.

    Printed, it says how many pairs are wrong; in a notebook it is the report. It is empty in the
    processes of a launcher that do not write it.
    """

    @property
    def sentence(self) -> str:
        """How many pairs are wrong."""
        (low, high), share = self["wrong_interval"], self["wrong_share"]
        n_pairs, n_wrong = self["n_pairs"], self["judged_wrong"]
        answer = (
            f"How many of the {n_pairs:,} pairs are wrong is unknown (at most {high:.1%})"
            if share is None
            else f"About {share:.1%} of the {n_pairs:,} pairs are wrong ({low:.1%} to {high:.1%})"
        )
        return f"{answer}; {n_wrong:,} are more likely wrong than right."

    def pairs(self) -> Any:
        """All pairs, worst first, as a `pandas.DataFrame`; see `AuditResult.write_table`."""
        import pandas as pd

        table = pd.read_parquet(self["table"])
        if Path(self["table"]).is_dir():  # parts, each of them worst first
            table = table.sort_values("clean_probability", kind="stable", ignore_index=True)
        return table

    def __repr__(self) -> str:
        if not self:
            return "The main process has the summary of this audit."
        return f"{self.sentence}\nreport {self['report']}, table {self['table']}"

    def _repr_html_(self) -> str:
        if not self:
            return repr(self)
        page = Path(self["report"]).read_text(encoding="utf-8")
        return (
            f'<iframe srcdoc="{html.escape(page)}" sandbox width="100%" height="640" '
            'style="border:0"></iframe>'
        )

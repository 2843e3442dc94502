"""Find the wrong pairs of a dataset: `noisy-xmodal audit` with the option names of this folder.

    python examples/audit.py --dataset_name photos/ --output audit.parquet
    python examples/audit.py --model_name_or_path runs/ncr --dataset_name DIR \
        --dataset_config_name cmp_40 --split train --output audit.parquet

The table has the columns pair_id, image_id, caption, clean_probability and loss, worst first, and
suggested captions and images; the report (.html) and a summary (.json) are written beside it.
"""

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.entry.command_line import answer_early

if __name__ == "__main__":
    answer_early(AuditOptions)  # the imports below take seconds

import sys
from typing import Any

from noisy_xmodal.auditing.run import audit
from noisy_xmodal.cli_output import quieten, show_audit
from noisy_xmodal.entry.limits import AUDIT
from noisy_xmodal.entry.options import read_options
from noisy_xmodal.entry.terminal import plain_values
from noisy_xmodal.training.run import command_line, run_script


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Audit, and print the result and its files."""
    argv = sys.argv[1:] if argv is None else argv
    options = read_options(AuditOptions, AUDIT, argv)
    quieten()
    summary = audit(options, command_line("examples/audit.py", argv))
    show_audit(plain_values(summary))
    return summary


if __name__ == "__main__":
    run_script(main, AuditOptions)

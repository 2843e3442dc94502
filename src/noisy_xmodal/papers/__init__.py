"""The tables and figures of the three papers as data, and the engine that runs them.

A table is a list of systems, data and published figures (`ncr`, `rcar`, `dmcm`; `pairs` is of no
paper); `cells` turns it into commands of the training scripts, `running` runs them, `results` and
`figures` write it.
"""

from . import dmcm, ncr, pairs, rcar
from .table import Table

#: Every table and figure by its name on the command line.
TABLES: dict[str, Table] = {
    table.name: table for paper in (ncr, rcar, dmcm, pairs) for table in paper.TABLES
}

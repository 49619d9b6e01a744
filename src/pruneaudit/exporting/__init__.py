"""A finished run for other programs: one model in a file, or the folders and tables that Pruning_MIA's users know."""

from pruneaudit.exporting.evaluating import Evaluated, evaluate, runs_in
from pruneaudit.exporting.finished import Finished
from pruneaudit.exporting.model import FORMATS, Exported, check_format, export
from pruneaudit.exporting.pruning_mia import Tree, export_tree
from pruneaudit.exporting.tables import write_tables

__all__ = [
    "FORMATS",
    "Evaluated",
    "Exported",
    "Finished",
    "Tree",
    "check_format",
    "evaluate",
    "export",
    "export_tree",
    "runs_in",
    "write_tables",
]

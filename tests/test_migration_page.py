"""What docs/migration.md says to write now exists: columns, files, commands, Python names."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import pruneaudit
from pruneaudit.cli import former
from pruneaudit.evaluation.columns import LATER_COLUMNS, LONG_TABLES, TABLES
from pruneaudit.evaluation.results import RESULT_FILES, SANITY_CHECKS

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()


def rows_of(section):
    """Cells of a section's first table, without its head."""
    text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL).group(1)
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def code_in(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_columns_and_files_that_replace_former_ones_exist():
    tables = TABLES | LONG_TABLES
    known = {column for name in tables for column in (*tables[name], *LATER_COLUMNS.get(name, ()))}
    known |= {*RESULT_FILES, *SANITY_CHECKS, "audit_data", "undefended", "audit_data-HASH", "file_bytes"}
    named = [word for _, now in rows_of("Tables") for word in code_in(now)]
    assert len(named) > 10
    assert not [word for word in named if word not in known]


def test_commands_that_replace_former_ones_exist(call):
    moved = {then: now for row in rows_of("Commands") for then, now in zip(*map(code_in, row), strict=False)}
    assert all(moved[name] == now for name, now in former.MOVED.items())
    for now in moved.values():
        command = [word for word in now.split()[:2] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
        if command:
            assert call(*command, "--help")[0] == 0, now


@pytest.mark.parametrize("row", rows_of("Python"), ids=lambda row: row[0])
def test_python_names_that_replace_former_ones_exist(row):
    for code in code_in(row[1]):
        home, _, name = code.rpartition(".") if re.fullmatch(r"pruneaudit\.[\w.]+", code) else ("", "", "")
        if name:
            assert hasattr(import_module(home), name)
        for called in re.findall(r"^(\w+)\(|=(\w+)\(", code):
            assert "".join(called) in pruneaudit.__all__

"""The examples run as they are, in an empty folder, and say where their report is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.py"))}
RUN = [name for name, text in SCRIPTS.items() if "__main__" in text and "sys.argv" not in text]
"""Those that need no files of a user."""


def test_the_page_names_every_script():
    assert set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())) == set(SCRIPTS)
    assert len(RUN) == 3
    assert all(len(text.splitlines()) < 60 for text in SCRIPTS.values())


@pytest.mark.parametrize("name", [RUN[0], *(pytest.param(name, marks=pytest.mark.slow) for name in RUN[1:])])
@pytest.mark.slow
def test_an_example_runs(name, tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=one_thread, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    assert len(table) >= 4
    assert all(0 <= float(number) <= 1 for number in re.findall(r"(?<!\S)\d\.\d+", "\n".join(table)))
    assert (tmp_path / last.removeprefix("report: ")).stat().st_size > 10_000
    assert not list(tmp_path.rglob("set-aside"))

"""Runs the notebooks of examples/, and stores their outputs: python scripts/run_notebooks.py [NAME...].

They are stored with outputs, because GitHub shows them. A test runs them again and compares the figures
(tests/test_notebooks.py); run this after a change of the code that changes them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 900
"""The longest that a cell may take, on a machine that other work shares."""


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs; everything that it writes goes into `folder`.

    Raises:
        CellExecutionError: a cell raises an error.
    """
    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["IPYTHONDIR"] = str(folder / ".ipython")  # no history of other sessions
    settings = {"kernel_name": "python3", "timeout": SECONDS, "startup_timeout": SECONDS}
    settings["extra_arguments"] = ["--log-level=40"]  # errors only
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **settings).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the day
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def stored(notebook: nbformat.NotebookNode) -> str:
    """The notebook as the text of its file."""
    return nbformat.writes(notebook, version=4) + "\n"


def main(names: list[str]) -> None:
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.name in names:
            with tempfile.TemporaryDirectory() as folder:
                path.write_text(stored(executed(path, Path(folder))))
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])

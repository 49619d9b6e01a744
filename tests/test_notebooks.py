"""The notebooks of examples/ run as they are, and the outputs that are stored with them are still right."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
FAST = "audit_predictions.ipynb"
MEASURED = r"-?\d+\.\d+"
"""Figures that training leads to: another processor or torch rounds differently, and training amplifies it."""
SHARE, PERCENT, BYTES = 0.05, 5.0, 0.05
"""How far a share, a percentage, and a size (relatively) may be from what is stored."""
REFRESH = "run: python scripts/run_notebooks.py"

pytestmark = pytest.mark.filterwarnings("ignore:Proactor event loop:RuntimeWarning")


def runner():
    """The script that runs notebooks, as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "scripts" / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell puts out: names of streams, and kinds of data."""
    return [output.get("name") or sorted(output.data) for output in cell.outputs]


def texts(cell):
    """The readable outputs of a cell, without pictures."""
    found = [output.get("text") or output.data.get("text/html") or output.data["text/plain"] for output in cell.outputs]
    return re.sub(r"<svg.*</svg>", "", "\n".join(found), flags=re.DOTALL)


def words(cell):
    """The outputs without their numbers: a sentence of the report that has changed is stale too."""
    return " ".join(re.sub(r"[-+]?\d[\d,.]*", "#", texts(cell)).split())


def is_near(stored, fresh):
    """Whether two figures may come from one notebook on two machines."""
    size = max(abs(stored), abs(fresh))
    allowed = SHARE if size <= 1 else PERCENT if size <= 100 else BYTES * size
    return abs(stored - fresh) <= allowed


def test_they_are_three_and_have_names_for_readers():
    assert len(NOTEBOOKS) == 3
    page = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+\.ipynb)\)", page)) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_with_outputs_that_are_small_and_of_no_machine(name):
    path = EXAMPLES / name
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 100_000
    assert notebook.cells[0].source.startswith("# ")
    assert "What to do next" in notebook.cells[-1].source + notebook.cells[-2].source
    assert any(cell.outputs for cell in code_cells(notebook)), REFRESH
    for cell in code_cells(notebook):
        assert cell.execution_count, REFRESH
        assert not re.search(r"/(tmp|home|root|work)/|\d\d:\d\d:\d\d", texts(cell)), REFRESH


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_links_lead_somewhere(name):
    cells = [cell.source for cell in nbformat.read(EXAMPLES / name, as_version=4).cells if cell.cell_type == "markdown"]
    links = re.findall(r"\]\(([^)#\s]+)", "\n".join(cells))
    assert len(links) > 3
    assert not [link for link in links if not (EXAMPLES / link).exists()]


@pytest.mark.parametrize(
    "name", [name if name == FAST else pytest.param(name, marks=pytest.mark.slow) for name in NOTEBOOKS]
)
def test_it_runs_and_finds_what_is_stored(name, tmp_path):
    stored = nbformat.read(EXAMPLES / name, as_version=4)
    fresh = runner().executed(EXAMPLES / name, tmp_path)
    for before, now in zip(code_cells(stored), code_cells(fresh), strict=True):
        assert "stderr" not in kinds(now), texts(now)  # no warnings
        assert kinds(now) == kinds(before), REFRESH
        assert words(now) == words(before), REFRESH
        figures = [[float(number) for number in re.findall(MEASURED, texts(cell))] for cell in (before, now)]
        assert len(figures[0]) == len(figures[1]), REFRESH
        far = [pair for pair in zip(*figures, strict=True) if not is_near(*pair)]
        assert not far, REFRESH


def test_a_stored_figure_that_is_wrong_is_noticed():
    assert is_near(0.623, 0.64)
    assert not is_near(0.623, 0.7)
    assert not is_near(0.5, -0.5)
    assert is_near(4890.0, 5000.0)
    assert not is_near(4890.0, 9000.0)

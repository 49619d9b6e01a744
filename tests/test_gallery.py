"""The gallery: its page names the reports that scripts/gallery.py makes, and the site takes those that are made."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gallery(monkeypatch):
    yield script("gallery")
    sys.modules.pop("gallery")


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """The hook of the site, which looks for reports in an empty folder."""
    monkeypatch.setenv("PRUNEAUDIT_GALLERY", str(tmp_path / "gallery"))
    (tmp_path / "gallery").mkdir()
    yield script("docs_pages")
    sys.modules.pop("docs_pages")


def test_the_page_has_every_report_once(gallery, pages):
    named = [mark[1] for mark in pages.GALLERY_MARK.finditer(PAGE.read_text())]
    assert sorted(named) == sorted(gallery.REPORTS)
    assert len(named) == PAGE.read_text().count("<!-- gallery ")


def test_without_reports_the_page_says_how_to_make_them(pages):
    page = pages.on_page_markdown(PAGE.read_text())
    assert page.count(pages.NOT_MADE) == 4
    assert "make docs" in pages.NOT_MADE
    assert "gallery/demo" not in page


def test_reports_that_are_made_are_shown(pages):
    for name in ("demo.html", "demo.svg"):
        (pages.GALLERY / name).write_text("made")
    page = pages.on_page_markdown(PAGE.read_text())
    assert page.count(pages.NOT_MADE) == 3
    assert set(re.findall(r"\((gallery/[\w.]+)\)", page)) == {"gallery/demo.html", "gallery/demo.svg"}


def test_recipes_of_the_gallery_are_studies_that_can_be_planned(gallery, tmp_path):
    for name in ("demo", "families", "text"):
        study = gallery.REPORTS[name].study(tmp_path)
        assert study.membership.num_models <= 16
    assert set(gallery.REPORTS) == {"demo", "families", "text", "one-model"}


@pytest.mark.slow
def test_the_site_has_a_report_that_is_made_once(pages, gallery, monkeypatch, tmp_path):
    tiny = ("membership.num_models=3", "training.epochs=1", "data.num_samples=240", "data.num_holdout=50")
    whole = gallery.demo(tmp_path)
    small = gallery.Report(lambda _: whole.changed([*tiny, 'audit.attacks=["loss"]'], "demo"), "frontier")
    monkeypatch.setitem(gallery.REPORTS, "demo", small)
    folder = pages.GALLERY
    first = gallery.make("demo", folder).stat()
    weights = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    assert weights
    gallery.make("demo", folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")} == weights
    program = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "gallery" / "demo.html").stat().st_size == first.st_size
    page = (tmp_path / "site" / "gallery.html").read_text()
    assert 'href="gallery/demo.html"' in page
    assert 'src="gallery/demo.svg"' in page

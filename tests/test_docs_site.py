"""The pages of docs/: links lead somewhere, every page has its place, and what is shown is run."""

import functools
import importlib.util
import inspect
import io
import re
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
import yaml

import pruneaudit
from pruneaudit.attacks import ATTACKS
from pruneaudit.cli import main
from pruneaudit.core.registry import Registry
from pruneaudit.study import recipes, settings_reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
KINDS = ("attacks", "compression", "defenses", "data", "models", "metrics")
TINY_DEMO = (
    *("membership.num_models=3", "training.epochs=1", "data.num_samples=240", "data.num_holdout=50"),
    'audit.attacks=["loss"]',
)


def blocks_of(page):
    """Language and code of every fenced block."""
    text = (DOCS / page).read_text()
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def without_code(page):
    """A page's text with its fenced blocks left out."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@functools.cache
def anchors_of(page):
    """What `#...` may lead to: the headings, as both GitHub and mkdocs name them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def call(line):
    """One command of a page, in this process: starting workers takes longer than all the rest."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "pruneaudit"
    if arguments[0] in ("run", "demo") and "--dry-run" not in arguments:
        arguments += ["--executor", "serial"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code, line
    return arguments[0]


@pytest.fixture
def tiny_demo(monkeypatch):
    """`pruneaudit demo` runs its own study with fewer networks, samples and epochs."""
    packaged = recipes.load_recipe
    monkeypatch.setattr(recipes, "load_recipe", lambda name: packaged(name).changed(TINY_DEMO, name))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", without_code(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def test_every_page_has_its_place_in_the_navigation():
    sections = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = [page for section in sections for pages in section.values() for entry in pages for page in entry.values()]
    assert Counter(listed) == Counter(str(page.relative_to(DOCS)) for page in PAGES)


def test_python_reference_has_every_public_name():
    named = re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text() + (DOCS / "plugin-api.md").read_text(), re.M)
    offered = {name: getattr(pruneaudit, name) for name in pruneaudit.__all__ if name != "__version__"}
    public = {f"pruneaudit.{name}" for name, found in offered.items() if not isinstance(found, Registry)}
    assert public | {"pruneaudit.core.registry.Registry"} <= set(named)
    for name in named:
        home, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(home), attribute).__doc__


def test_threat_models_say_what_attacks_need():
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", (DOCS / "threat-models.md").read_text(), flags=re.MULTILINE)
    told = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows if name in ATTACKS.names()}
    assert len(told) > 15
    for name, (_, _, references, needs, source) in told.items():
        attack = ATTACKS.get(name)
        assert (references != "none") == ("references" in attack.needs), name
        assert ("IN and OUT" in references) == attack().compares_in, name
        assert ("a second release" in needs) == ("two releases" in attack.needs), name
        assert ("200 nulls" in needs) == ("holdout" in attack.needs) or name == "rmia", name
        assert ("to fit on" in needs or "to train on" in needs) == ("fitting" in attack.needs), name
        assert ("weights" in needs) == ("forgetting" in attack.needs), name
        papers = set(re.findall(r"\d{4}\.\d{5}", source))
        assert papers
        assert papers <= set(re.findall(r"\d{4}\.\d{5}", Path(inspect.getfile(attack)).read_text())), name


def test_the_worked_example_says_what_the_page_says():
    shown = dict(blocks_of("concepts.md"))
    assert set(shown) == {"python", "text"}
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(shown["python"], "concepts.md", "exec"), {})
    assert printed.getvalue() == shown["text"]


def test_settings_page_has_a_row_for_every_setting():
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    docs_pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs_pages)
    page = docs_pages.on_page_markdown((DOCS / "settings.md").read_text())
    rows = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert Counter(rows) == Counter(setting.key for setting in settings_reference())


@pytest.mark.slow
def test_quickstart_runs_and_its_report_is_explained(tmp_path, monkeypatch, tiny_demo):
    monkeypatch.chdir(tmp_path)
    called = []
    for language, code in blocks_of("quickstart.md"):
        if language == "toml":
            Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
        elif language == "bash":
            called += [call(line) for line in code.splitlines()]
        elif language == "python":
            exec(compile(code, "quickstart.md", "exec"), {"__name__": "__main__"})
    assert called == ["demo", "audit", "run", "run", "attack", "sanity-check", "check", "run"]
    assert Path("runs/demo-quick/report.html").exists()
    listed = re.findall(r"^\| `([\w.]+)`", (DOCS / "quickstart.md").read_text(), flags=re.MULTILINE)
    listed += ["SHA256SUMS"]
    assert len(listed) > 5
    assert not [name for name in listed if not Path("runs/first", name).exists()]

    page = Path("runs/first/report.html").read_text()
    titles = re.findall(r'<h2 id="(?!the-answer)[^>]*>([^<]+)</h2>', page)  # the first is the answer itself
    explained = re.findall(r"^## (.+)$", (DOCS / "reading-a-report.md").read_text(), flags=re.MULTILINE)
    assert len(titles) > 5
    assert [title for title in explained if title in titles] == titles  # all of them, in the order of the report


@pytest.mark.slow
def test_every_extension_shown_works(tmp_path, monkeypatch):
    """Each file is written into a folder that its package looks into as well; then the page's study uses all."""
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        package = importlib.import_module(f"pruneaudit.{kind}")
        Path(kind).mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / kind)])
    monkeypatch.setattr(ATTACKS, "_registered", dict(ATTACKS._registered))
    written, commands, programs = [], [], []
    for language, code in blocks_of("extending.md"):
        first = code.splitlines()[0].removeprefix("# ")
        if first.startswith("src/pruneaudit/"):
            path = Path(first.removeprefix("src/pruneaudit/"))
            path.write_text(code)
            written.append(path)
        elif language == "toml":
            Path(first).write_text(code)
        elif language == "bash":
            commands += code.splitlines()
        else:
            programs.append(code)
    for code in programs:  # only now: a folder of plug-ins is read once per process
        exec(compile(code, "extending.md", "exec"), names := {"__name__": "__main__"})
        assert {"logit", "loss"} == set(names["audit"].findings["attack"])
    modules = {f"pruneaudit.{path.parts[0]}.{path.stem}" for path in written}
    assert {path.parts[0] for path in written} == set(KINDS)
    try:
        for name in modules:
            module = importlib.import_module(name)
            assert Path(module.__file__).is_relative_to(tmp_path)
            assert module.__doc__.splitlines()[0].endswith((".", "?"))
        for line in commands:
            call(line)
    finally:
        for name in modules & set(sys.modules):
            del sys.modules[name]
    findings = pd.read_csv("runs/mine/findings.csv")
    assert {"loss", "margin:thresholds=per_class", "above_all"} == set(findings["attack"])
    pruned = "magnitude_increase-0.8"
    assert {pruned, f"{pruned}+confidence_penalty-strength=0.2"} < set(findings["release"])
    means = findings[findings["victim"] == "mean"]
    assert means["tnr_at_10%_fnr"].between(0, 1).all()
    assert "tnr_at_10%_fnr" in set(pd.read_csv("runs/mine/comparisons.csv")["metric"])
    assert "TNR at 10% FNR" in Path("runs/mine/report.html").read_text()
    releases = pd.read_csv("runs/mine/releases.csv").set_index("release")
    assert releases.loc[pruned, "sparsity"] == pytest.approx(0.8, abs=0.005)


@pytest.mark.slow
def test_the_site_builds_and_asks_nobody_for_anything(tmp_path):
    program = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    built_pages = sorted((tmp_path / "site").rglob("*.html"))
    pages = {str(page.relative_to(tmp_path / "site").with_suffix("")): page.read_text() for page in built_pages}
    assert {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES} <= set(pages)
    fetched = re.compile(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//")
    assert not [name for name, text in pages.items() if fetched.search(text)]
    assert not [row.key for row in settings_reference() if row.key not in pages["settings"]]
    offered = {name: getattr(pruneaudit, name) for name in pruneaudit.__all__ if name != "__version__"}
    public = [name for name, found in offered.items() if not isinstance(found, Registry)]
    assert not [name for name in public if f'id="pruneaudit.{name}"' not in pages["api"] + pages["plugin-api"]]

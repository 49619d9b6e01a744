"""The street is one-way: a module imports only what stands before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pruneaudit

ROOT = Path(pruneaudit.__file__).parent
STREET = [
    *("errors", "registry", "identity", "seeds", "randomness", "options", "files", "unpacking", "settings_file"),
    *("devices", "threads"),
    *("study", "recipes", "published", "data", "models", "training", "pruning"),
    *("defenses", "signals", "attacks", "metrics", "notebook", "results", "auditing", "selftest", "controls"),
    *("collecting", "pipeline", "runs", "compressing", "report", "gate", "tracking"),
    *("api", "exporting", "steps", "cli"),
]
"""docs/architecture.md describes it."""
NO_MODELS = {"attacks", "metrics", "results", "auditing", "report"}
"""Pure functions of arrays: they never touch a network that is attacked."""
CLASSIFIERS = {"torch"}
"""What attacks may use besides, to train classifiers of their own on signals."""


def place(module: str) -> str:
    """The street address of `pruneaudit.x.y`: x."""
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """All modules that a file imports, at any depth of nesting."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "pruneaudit":
                found |= {f"pruneaudit.{alias.name}" for alias in node.names}
    return found


ENTRANCES = {ROOT / "__init__.py", ROOT / "__main__.py"}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path not in ENTRANCES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert here in STREET
    targets = {place(name) for name in imports_of(path) if name.startswith("pruneaudit.")}
    later = {target for target in targets & set(STREET) if STREET.index(target) > STREET.index(here)}
    assert not later, f"{here} imports {sorted(later)}, which stand after it"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.relative_to(ROOT).parts[0].removesuffix(".py") in NO_MODELS], ids=str
)
def test_attacks_and_metrics_never_touch_a_model(path):
    forbidden = {"torch", "safetensors"} | {f"pruneaudit.{name}" for name in ("data", "models", "training", "pruning")}
    if path.relative_to(ROOT).parts[0] == "attacks":
        forbidden -= CLASSIFIERS
    for name in imports_of(path):
        assert not any(name == bad or name.startswith(f"{bad}.") for bad in forbidden), f"{path} imports {name}"


def test_the_architecture_page_names_every_place():
    page = (ROOT.parents[1] / "docs" / "architecture.md").read_text()
    missing = [name for name in STREET if (ROOT / name).exists() and f"{name}/" not in page]
    missing += [name for name in STREET if (ROOT / f"{name}.py").exists() and f"{name}.py" not in page]
    assert not missing


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "attacks"], ["list", "pruners"]])
def test_help_and_lists_import_no_torch(arguments):
    program = (
        "import sys\nfrom pruneaudit.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL)


def test_a_wrong_study_is_refused_without_torch(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('name = "x"\n[data]\nsource = "npz:absent.npz"\n')
    program = (
        "import sys\nfrom pruneaudit.cli import main\n"
        "try:\n    main(['run', sys.argv[1]])\n"
        "except SystemExit as end:\n    assert end.code == 2, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(study)], check=True, stderr=subprocess.DEVNULL)

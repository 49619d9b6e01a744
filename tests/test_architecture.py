"""Rooms stand in one order: a module imports only from rooms above its own, and nothing goes in a circle."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pruneaudit

ROOT = Path(pruneaudit.__file__).parent
ROOMS = [
    *("core", "metrics", "study", "data", "models", "training", "compression", "defenses"),
    *("signals", "attacks", "evaluation", "external", "engine", "runs", "report", "choosing", "gate", "tracking"),
    *("claims", "api", "published", "cli"),
]
"""docs/architecture.md describes them. Steps and tables of the published systems call the api, hence its place."""
ALLOWED: dict[tuple[str, str], str] = {}
"""Imports against the order, by module and room, each with its reason."""
REPORT = [
    *("escaping", "words", "quantities", "selection", "compressed", "samples"),
    *(
        "conclusions",
        "sentences",
        "tables",
        "figures",
        "paper",
        "two_runs",
        "page",
        "chosen",
        "terminal",
        "notebook",
        "summary",
    ),
]
"""The report: facts, then sentences, then numbers and pictures, then the layouts that place them."""
NO_MODELS = {"attacks", "metrics", "evaluation", "report"}
"""Pure functions of arrays: they never touch a network that is attacked."""
CLASSIFIERS = {"torch"}
"""What attacks may use besides, to train classifiers of their own on signals."""
AUDITS = {
    *("pruneaudit.evaluation.audit.audit", "pruneaudit.api.saved.audit_files"),
    "pruneaudit.external.compress.compress",
}
"""Their keyword arguments are the settings of an audit of predictions, or of a compression, as the options of a command
are."""
HEAVY = {"torch", "pandas", "scipy", "sklearn", "pyarrow", "safetensors", "transformers", "peft", "tokenizers"}
"""What takes long to import."""


def name_of(path: Path) -> str:
    """`pruneaudit.x.y` of a file; a package has its own name."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ENTRANCES = {ROOT / "__init__.py", ROOT / "__main__.py"}
MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py")) if path not in ENTRANCES}


def imports_in(tree: ast.AST, at: str = "module") -> set[tuple[str, str]]:
    """All imports below a node: (module, where), where being `module`, `function` or `types`."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        where = at
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = "function"
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            where = "types"
        if isinstance(node, ast.Import):
            found |= {(alias.name, where) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {(name if name in MODULES else str(node.module), where) for name in names}
        found |= imports_in(node, where)
    return found


@cache
def all_imports() -> dict[str, set[tuple[str, str]]]:
    """What each module imports."""
    return {module: imports_in(ast.parse(path.read_text())) for module, path in MODULES.items()}


def room_of(module: str) -> str:
    """The room of `pruneaudit.x.y`: x; nothing where it is none of ours."""
    return module.split(".")[1] if module.startswith("pruneaudit.") else ""


def crossings(is_wrong) -> list[str]:
    """Imports of ours of which `is_wrong(room, target room)` says so, as text."""
    return [
        f"{module} imports {target}"
        for module, imports in all_imports().items()
        for target, _ in sorted(imports)
        if room_of(target) and is_wrong(room_of(module), room_of(target)) and (module, room_of(target)) not in ALLOWED
    ]


def test_a_module_imports_only_from_rooms_above_its_own():
    assert {room_of(module) for module in MODULES} == set(ROOMS)
    assert crossings(lambda room, target: ROOMS.index(target) > ROOMS.index(room)) == []
    pairs = {(module, room_of(target)) for module, imports in all_imports().items() for target, _ in imports}
    assert ALLOWED.keys() <= pairs, "an exception that nothing needs"


def test_the_report_goes_from_facts_to_sentences_to_layouts():
    parts = [
        (module, module.split(".")[2], target.split(".")[2])
        for module, imports in all_imports().items()
        for target, _ in imports
        if module.count(".") > 1 and module.split(".")[1] == "report" and target.startswith("pruneaudit.report.")
    ]
    assert {part for _, part, _ in parts} <= set(REPORT)
    assert [(module, to) for module, part, to in parts if REPORT.index(to) > REPORT.index(part)] == []


def test_no_module_imports_itself_in_a_circle():
    """Neither when it is imported nor when a function of it runs."""
    after = {module: {to for to, where in found if where != "types"} for module, found in all_imports().items()}
    left = {module: targets & MODULES.keys() - {module} for module, targets in after.items()}
    while free := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in free}
    assert sorted(left) == [], "these import each other, or what does"


def test_core_is_light():
    heavy = {
        (module, name.split(".")[0])
        for module, imports in all_imports().items()
        for name, where in imports
        if room_of(module) == "core" and where == "module"
    }
    assert {(module, name) for module, name in heavy if name in HEAVY} == set()


def test_nothing_imports_the_published_systems_but_the_command_line_and_the_api():
    assert crossings(lambda room, target: target == "published" and room not in ("published", "cli", "api")) == []


def test_attacks_and_metrics_never_touch_a_model():
    forbidden = {"torch", "safetensors"}
    forbidden |= {f"pruneaudit.{room}" for room in ("data", "models", "training", "compression")}
    found = {
        (module, name)
        for module, imports in all_imports().items()
        for name, _ in imports
        for bad in (forbidden - CLASSIFIERS if room_of(module) == "attacks" else forbidden)
        if room_of(module) in NO_MODELS and f"{name}.".startswith(f"{bad}.")
    }
    assert found == set()


def test_functions_take_at_most_seven_parameters_beside_the_machine():
    """Settings classes, commands (whose parameters are options) and audits of predictions may have more."""
    wide = {
        f"{module}.{node.name}": len(names)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name != "__init__" and room_of(module) != "cli"
        if f"{module}.{node.name}" not in AUDITS
        if len(names := {arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)} - {"self", "cls", "runtime"}) > 7
    }
    assert wide == {}


def test_the_architecture_page_names_every_room():
    page = (ROOT.parents[1] / "docs" / "architecture.md").read_text()
    assert [room for room in ROOMS if f"`{room}/`" not in page and f"`{room}.py`" not in page] == []


@pytest.mark.slow
def test_help_lists_and_refusals_import_no_torch(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('name = "x"\n[data]\nsource = "npz:absent.npz"\n')
    lines = {"--help": 0, "run --help": 0, "pruning-mia train --help": 0, "list attacks": 0, "list compressors": 0}
    lines |= {f"run {study}": 2}
    program = (
        "import json, sys\nfrom pruneaudit.cli import main\n"
        "for line, expected in json.loads(sys.argv[1]).items():\n"
        "    try:\n        main(line.split())\n"
        "    except SystemExit as end:\n        assert (end.code or 0) == expected, (line, end.code)\n"
        "    assert 'torch' not in sys.modules, line\n"
        "    assert 'pydantic' not in sys.modules or '--help' not in line, line\n"
    )
    subprocess.run([sys.executable, "-c", program, json.dumps(lines)], check=True, stdout=subprocess.DEVNULL)

"""Lists what is stable in 1.x (docs/stability.md): names, parameters, settings, columns, commands, options, files.

`python tests/golden/public_surface.py` rewrites public_surface.json, at every release and whenever something public is
new. It refuses to drop anything that the list has; `--drop` does it, for the next major version.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pruneaudit
from pruneaudit.core.registry import Registry

HERE = Path(__file__).parent
LIST = HERE / "public_surface.json"
ROOT = HERE.parents[1]
PLUG_INS = {"ATTACKS": "attacks", "COMPRESSORS": "compressors", "DEFENSES": "defences", "MODELS": "networks"}
PLUG_INS |= {"SOURCES": "data sources", "METRICS": "metrics"}

Surface = dict[str, Any]


def surface() -> Surface:
    """Everything of the list, as it is now."""
    return {
        "version": pruneaudit.__version__,
        "python": python_names(),
        "plug-ins": {kind: plug_ins(getattr(pruneaudit, name)) for name, kind in PLUG_INS.items()},
        "recipes": recipes(),
        "settings": settings(),
        "columns": columns(),
        "columns of metrics": metric_columns(),
        "commands": commands(),
        "exit codes": exit_codes(),
        "files": files(),
        "formats": formats(),
    }


def python_names() -> dict[str, Any]:
    """The names on the two pages of the Python reference, each with its parameters and public attributes."""
    pages = "\n".join((ROOT / "docs" / page).read_text() for page in ("api.md", "plugin-api.md"))
    found = {}
    for name in sorted({*re.findall(r"^::: ([\w.]+)$", pages, re.M), *(f"pruneaudit.{n}" for n in pruneaudit.__all__)}):
        home, _, attribute = name.rpartition(".")
        thing = getattr(import_module(home), attribute)
        if inspect.isclass(thing):
            found[name] = {"parameters": parameters(thing), "attributes": attributes(thing)}
        elif callable(thing) and not isinstance(thing, Registry):
            found[name] = {"parameters": parameters(thing)}
        else:
            found[name] = {}
    return found


def parameters(thing: Any) -> list[str]:
    """Parameters in order: `name`, `name=` with a default, `*, name=` by name only, `**name`."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return []
    marks = {inspect.Parameter.KEYWORD_ONLY: "*, ", inspect.Parameter.VAR_POSITIONAL: "*"}
    marks |= {inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        f"{marks.get(parameter.kind, '')}{name}{'' if parameter.default is parameter.empty else '='}"
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]


def attributes(thing: type) -> dict[str, Any]:
    """Public methods with their parameters, and fields and properties."""
    found: dict[str, Any] = {}
    for name in [*getattr(thing, "__annotations__", {}), *getattr(thing, "model_fields", {}), *dir(thing)]:
        if name.startswith("_") or name.startswith("model_") or _is_inherited_from_elsewhere(thing, name):
            continue
        value = inspect.getattr_static(thing, name, None)
        called = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        found[name] = parameters(called) if inspect.isfunction(called) else None
        if isinstance(value, classmethod):
            found[name] = [each for each in found[name] if each != "cls"]
    return dict(sorted(found.items()))


def _is_inherited_from_elsewhere(thing: type, name: str) -> bool:
    """Whether an attribute comes from pydantic, typing or Python itself."""
    homes = (base for base in thing.__mro__ if name in vars(base) or name in vars(base).get("__annotations__", {}))
    home = next(homes, None)
    return home is None or not home.__module__.startswith("pruneaudit")


def plug_ins(registry: Registry[Any]) -> dict[str, list[str]]:
    """Names of plug-ins, each with its options."""
    found = {}
    for name in registry.names():
        options = getattr(registry.get(name), "Options", None)
        found[name] = sorted(options.model_fields) if options else []
    return found


def recipes() -> list[str]:
    """Packaged studies."""
    from pruneaudit.study.recipes import recipe_names

    return sorted(recipe_names())


def settings() -> list[str]:
    """Keys of a study."""
    from pruneaudit.study import settings_reference

    return sorted(setting.key for setting in settings_reference())


def columns() -> dict[str, list[str]]:
    """Columns of every table, in their order."""
    from pruneaudit.evaluation.columns import LATER_COLUMNS, LONG_TABLES, OPTIONAL_TABLES, TABLES

    return {
        name: [*wanted, *LATER_COLUMNS.get(name, ())]
        for name, wanted in (TABLES | LONG_TABLES | OPTIONAL_TABLES).items()
    }


def metric_columns() -> list[str]:
    """Columns of findings that metrics add, at the usual false-positive rates."""
    from pruneaudit.metrics import all_metrics
    from pruneaudit.study.audit import DEFAULT_LEVELS

    return [quantity.column for metric in all_metrics() for quantity in metric.quantities(DEFAULT_LEVELS)]


def commands() -> dict[str, list[str]]:
    """Commands, each with its options and the names of its arguments."""
    from typer.main import get_command

    from pruneaudit.cli import app

    return dict(_commands(get_command(app), ""))


def _commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    if getattr(command, "hidden", False):
        return
    offered = command.get_params(command.context_class(command, info_name=name))
    words = {spelling for parameter in offered for spelling in [*parameter.opts, *parameter.secondary_opts]}
    yield name or "pruneaudit", sorted(words - {"--help"})
    for part, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(inner, f"{name} {part}".strip())


def exit_codes() -> dict[str, int]:
    """What a command's exit code says."""
    from pruneaudit import cli

    return {"done": 0, "failed": cli.EXIT_FAILED, "bad input": cli.EXIT_BAD_INPUT, "interrupted": cli.EXIT_INTERRUPTED}


def files() -> list[str]:
    """Files of a finished run."""
    from pruneaudit.runs.names import RECORDS_FILE, SEALED_ALWAYS, SEALED_IF_THERE

    return sorted({*SEALED_ALWAYS, *SEALED_IF_THERE, RECORDS_FILE})


def formats() -> dict[str, int]:
    """The numbers of file formats."""
    from pruneaudit.data import canaries
    from pruneaudit.evaluation import certificate, search_path
    from pruneaudit.study import former

    return {
        "study, run and findings": former.FORMAT,
        "certificate.json": certificate.FORMAT,
        "search.json": search_path.FORMAT,
        "canaries": canaries.FORMAT,
    }


def missing(frozen: Any, now: Any, where: str = "") -> list[str]:
    """What the list has and the code has not, as paths."""
    if isinstance(frozen, dict) and isinstance(now, dict):
        kept = {key: value for key, value in frozen.items() if key in now and f"{where}/{key}" != "/version"}
        gone = [f"{where}/{key}" for key in frozen if key not in now]
        return gone + [path for key, value in kept.items() for path in missing(value, now[key], f"{where}/{key}")]
    if isinstance(frozen, list) and isinstance(now, list):
        if where.startswith("/python/"):
            return [f"{where}: {problem}" for problem in changed_parameters(frozen, now)]
        return [f"{where}/{each}" for each in frozen if each not in now]
    return [] if frozen == now else [f"{where}: was {frozen}, is {now}"]


def changed_parameters(frozen: list[str], now: list[str]) -> list[str]:
    """Why calls that were right are wrong now: parameters gone, required, moved, or to be given by name."""
    before, after = ({_bare(each): each for each in signature} for signature in (frozen, now))
    found = [f"{name} is gone" for name in before if name not in after]
    required = [name for name, each in after.items() if _is_required(each) and not _is_required(before.get(name, "="))]
    found += [f"{name} is required" for name in required]
    places = [[_bare(each) for each in signature if not each.startswith("*")] for signature in (frozen, now)]
    if places[1][: len(places[0])] != places[0]:
        found.append(f"positions were {places[0]}, are {places[1]}")
    return found


def _bare(parameter: str) -> str:
    return parameter.lstrip("*, ").rstrip("=")


def _is_required(parameter: str) -> bool:
    takes_many = parameter.startswith("*") and not parameter.startswith("*, ")
    return not takes_many and not parameter.endswith("=")


def as_text(found: Surface) -> str:
    """JSON with a line for each name, so that a difference shows what changed."""
    parts = []
    for key, value in found.items():
        items = value.items() if isinstance(value, dict) else ()
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in items)
        parts.append(f" {json.dumps(key)}: " + (f"{{\n{lines}\n }}" if items else json.dumps(value)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: list[str]) -> None:
    now = surface()
    if LIST.exists() and "--drop" not in arguments:
        gone = missing(json.loads(LIST.read_text()), now)
        if gone:
            sys.exit("not written: these are gone (docs/stability.md has the rule):\n  " + "\n  ".join(gone))
    LIST.write_text(as_text(now))
    print(LIST)


if __name__ == "__main__":
    main(sys.argv[1:])

"""`pruneaudit migrate`: translates a study file of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.common import DataRootOption
from pruneaudit.core.errors import RunError, UserError, printable


def command(
    study: Annotated[Path, typer.Argument(help="A study file of an earlier version, TOML or JSON.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The new file; default: NAME.migrated.toml in the same folder.")
    ] = None,
    data_root: DataRootOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Translate a study file of an earlier version.

    The networks of the study stay the same. Comments are lost.
    """
    import tomlkit

    from pruneaudit.core.files import write_atomically, writing
    from pruneaudit.core.settings_file import parse_settings, read_settings
    from pruneaudit.study.migration import migrated

    is_json = study.suffix == ".json"
    target = out or study.with_name(f"{study.stem}.migrated{study.suffix}")
    if target.exists() and not force:
        raise UserError(f"{target}: exists already; give another --out, or --force to replace it")
    former = parse_settings(read_settings(study), str(study), is_json)
    found = migrated(former, str(study))
    num_unused, note = _rows_left_over(found, str(study), data_root)
    if num_unused:
        found = migrated(former, str(study), num_unused)
    note += _refusal(found, str(study))
    with writing(target):
        write_atomically(target, json.dumps(found, indent=1) + "\n" if is_json else tomlkit.dumps(found))
    for line in (*_changes(former, found), *note, f"{target}: written; run it with: pruneaudit run {target}"):
        print(printable(line))


def _rows_left_over(found: dict[str, Any], where: str, data_root: Path | None) -> tuple[int, tuple[str, ...]]:
    """Counts the rows available for a holdout, if the study has public samples and no holdout; with a note."""
    from pruneaudit.core.options import validated
    from pruneaudit.data.drawing import rows_left_over
    from pruneaudit.study import Study
    from pruneaudit.study.parts import SUFFICIENT_HOLDOUT

    data = validated(Study, found, where).data
    if not data.num_public or data.num_holdout:
        return 0, ()
    lacking = f"no holdout: `rmia` takes its z from the audited samples, and `attack_p` needs {SUFFICIENT_HOLDOUT}"
    if data.num_samples is None:
        return 0, (f"the study uses all rows of {data.source.label}, so it gets {lacking}",)
    try:
        num_unused = rows_left_over(data, data_root)
    except (UserError, RunError) as error:
        return 0, (f"{error}; without the data the study gets {lacking}",)
    return num_unused, () if num_unused else (f"{data.source.label} has no further rows, so the study gets {lacking}",)


def _refusal(found: dict[str, Any], where: str) -> tuple[str, ...]:
    """Returns a note if the translated study cannot run as it is: an attack can lack samples that it had before."""
    from pruneaudit.core.options import validated
    from pruneaudit.engine.plan import check_plugins
    from pruneaudit.study import Study

    study = validated(Study, found, where)
    try:
        check_plugins(study)
    except UserError as error:
        return (f"fix this before you run it: {error}",)
    return ()


def _changes(former: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Returns a line for each part of the study that has changed."""
    lines = []
    before, now = former.get("data", {}), found.get("data", {})
    if before != now:
        lines.append(f"data: {_only_in(before, now)} is now {_only_in(now, before)}")
    renamed = sum("pruner" in release for release in former.get("releases", ()))
    if renamed:
        lines.append(f"releases: pruner is now compress ({renamed} of them)")
    if "knowledge" in former.get("audit", {}):
        lines.append(f"audit: knowledge is now references = {json.dumps(found['audit']['references'])}")
    if "engine" in former.get("training", {}):
        lines.append("training: engine is removed; models are trained one by one")
    return lines or ["nothing to translate: only the format of the file changes"]


def _only_in(some: dict[str, Any], others: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in some.items() if others.get(key) != value)

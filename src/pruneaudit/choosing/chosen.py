"""The chosen network of a run folder, as a file for other programs."""

from __future__ import annotations

from pathlib import Path

from pruneaudit.choosing.files import CERTIFICATE_FILE, ChoiceFolder
from pruneaudit.choosing.halves import halves_of
from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.sources import recorded_sources
from pruneaudit.runs.audit_data import held_audit_data
from pruneaudit.runs.export import Exported, ExportFile, export_model
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import DENSE


def export_chosen(
    run: str | Path,
    out: str | Path,
    format: str = "onnx",
    model_id: int | None = None,
    force: bool = False,
    factory: str = "",
) -> Exported:
    """Writes the network that the certificate of a run names.

    Args:
        run: the run's folder, such as runs/demo.
        out: the file.
        format: as for `export`.
        model_id: the model; default: the first one that confirmed, with a target the target.
        force: replace an existing file.
        factory: as for `export`.

    Raises:
        UserError: there is no certificate, it has changed, or it names no network; or as for `export`.

    Example:
        >>> space = 'choose.space=[{compress = "rtn", bits = [4, 8]}]'
        >>> study = pruneaudit.Study.load("study.toml", ["name=small", "membership.num_models=8", space])
        >>> choice = pruneaudit.choose(study, pruneaudit.Limits(max_auc=0.9), out="runs")
        >>> exported = pruneaudit.export_chosen("runs/small", "chosen.safetensors", format="safetensors")
    """
    file = ExportFile(Path(out).expanduser(), format, force, factory)
    file.check()
    held = RunFolder.open(run)
    folder = ChoiceFolder(held.path)
    chosen = folder.checked_certificate().chosen
    if chosen is None:
        raise UserError(
            f"{folder.path / CERTIFICATE_FILE}: names no network, because none was shown to keep all limits;"
            " choose with other limits or another space"
        )
    study = held.study
    releases = {} if study.choose is None else {c.name: c.release for c in study.choose.candidates}
    if chosen.name != DENSE and chosen.name not in releases:
        raise UserError(
            f"{held.path}: its study no longer has the candidate '{chosen.name}' of the certificate; choose again"
        )
    more = [] if chosen.name == DENSE else [releases[chosen.name]]
    before = [release for release in study.releases if release.name != chosen.name]
    audit_data = held_audit_data(study, held.path)
    whole = study.model_copy(update={"releases": (*before, *more)})
    plan = make_plan(whole, audit_data, recorded_sources(held.path), is_whole=False)
    first = halves_of(study).confirm[0]
    return export_model(held, plan, audit_data, (chosen.name, first if model_id is None else model_id), file)

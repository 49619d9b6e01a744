"""`--dry-run` and `--minutes` of `audit-model`: attacks and numbers of references, with their time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.engine.offers import Offer
    from pruneaudit.study import Study


def timed_offers(
    study: Study,
    folder: Path,
    data_root: Path | None,
    device: str,
    jobs: int | None,
    training_minutes: float | None,
) -> list[Offer]:
    """Returns what an audit of the study's target can be, with the time of each.

    Args:
        study: a study with a target.
        folder: its run folder, whose finished parts are not subtracted.
        data_root: as for `pruneaudit.run`.
        device: the device for the tasks.
        jobs: tasks at a time; None: as many as `run` would use.
        training_minutes: time of one training by the user's function; None: unknown.

    Raises:
        UserError: the study cannot be run.
    """
    from pruneaudit.engine.devices import check_device, usual_jobs
    from pruneaudit.engine.offers import offers
    from pruneaudit.engine.probe import Probe
    from pruneaudit.engine.sources import functions_importable
    from pruneaudit.runs.beginning import plan_study

    check_device(device)
    plan, audit_data = plan_study(study, data_root, folder)
    with functions_importable(plan):
        probe = Probe(audit_data, device)
        return offers(study, audit_data, jobs or usual_jobs(device), probe, 60 * (training_minutes or 0))


def chosen_within(values: dict[str, Any], found: Sequence[Offer], minutes: float) -> dict[str, Any]:
    """Returns the settings of a study with as many references as a time allows.

    Raises:
        UserError: not even an audit without references fits into that time.
    """
    from pruneaudit.engine.offers import chosen
    from pruneaudit.study.own_model import with_references

    best = chosen(found, 60 * minutes)
    if best is None:
        least = min(offer.seconds for offer in found) / 60
        raise UserError(
            f"--minutes: got {minutes:g}, but releases and queries alone take about {least:.1f} minutes; give more"
        )
    return with_references(values, best.reached.num_references)


def print_offers(found: Sequence[Offer], is_timed: bool) -> None:
    """Prints a table of attacks, numbers of trainings, minutes, and the AUC that each reached on the demo's bank."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("attack", box=box.SIMPLE_HEAD, title="What an audit can be", title_justify="left")
    for heading in ("trainings", "minutes", "AUC, dense", "AUC, 90% pruned"):
        table.add_column(heading, justify="right")
    for offer in found:
        minutes = f"{offer.seconds / 60:.1f}" if is_timed or not offer.reached.num_references else "?"
        figures = (f"{auc:.3f}" for auc in (offer.reached.dense, offer.reached.pruned))
        table.add_row(offer.reached.attack, str(offer.reached.num_trainings), minutes, *figures)
    console = Console()
    console.print(table)
    console.print(
        "AUC: on the demo's networks. On yours it differs, but the order of the attacks is usually the same.",
        style="dim",
    )

"""Audits saved predictions, without a study or training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.api.page import USUAL_PAGE, PageSettings
from pruneaudit.api.writing import Run, made_for_owner, write_up
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.comparison_plan import named, ready
from pruneaudit.evaluation.given import Paired
from pruneaudit.evaluation.recorded_checks import SELFTEST, record_sanity_checks
from pruneaudit.runs.provenance import provenance
from pruneaudit.signals.signals import Signals
from pruneaudit.study.audit import DEFAULT_LEVELS


@dataclass(frozen=True)
class PredictionFiles:
    """Predictions in the exchange format of `Signals`, `.npz`."""

    signals: Path
    """Predictions of the attacked models."""
    references: Path | None = None
    """Predictions of other models on the same samples."""
    paired: Path | None = None
    """Predictions of another public release of the same models."""
    paired_references: Path | None = None
    """Predictions of the references in that other release."""

    def load(self) -> tuple[Signals, Signals | None, Paired | None]:
        """Loads signals, references and pairs, as `pruneaudit.audit` takes them.

        Raises:
            UserError: a file is unusable, or `paired_references` is given without `paired`.
        """
        if self.paired is None and self.paired_references is not None:
            raise UserError(
                f"paired references: got {self.paired_references} without the victims' other release; add --paired"
            )
        signals, *others = (
            None if path is None else Signals.load(path)
            for path in (self.signals, self.references, self.paired, self.paired_references)
        )
        references, paired, paired_references = others
        assert signals is not None
        return signals, references, None if paired is None else Paired(paired, paired_references)


def audit_files(
    files: PredictionFiles | Path,
    attacks: str = "scores",
    out: str | Path = "audit",
    *,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str | None = None,
    page: PageSettings = USUAL_PAGE,
    runtime: Machine = HERE,
) -> Run:
    """Audits saved predictions, and writes findings, scores and report to a folder; trains no network.

    Args:
        files: the predictions, or the path of those of the attacked models.
        attacks: comma-separated names or groups; "scores": all attacks that the data allow and that train nothing.
        out: the folder to write; files of an earlier audit are replaced.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: the name of the release in findings and report; default: the file's name without its suffix.
        page: settings of the report.
        runtime: its `progress` reports every attack, then the sanity checks.

    Raises:
        UserError: a file is unusable, or lacks what an attack needs.
    """
    files = files if isinstance(files, PredictionFiles) else PredictionFiles(files)
    file = files.signals
    name = file.stem if name is None else name
    signals, references, paired = files.load()
    if references is None:
        _check_has_out_models(signals, attacks, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `about` lists what is left out
        found = audit(signals, references, paired, attacks, seed, fpr_levels, name, runtime)
    runtime.progress.say("sanity checks: the same attacks, on data with known answers")
    record_sanity_checks(found, ready(attacks.split(",")), seed, SELFTEST)
    parts = (signals.canaries, signals.nulls, signals.unseen & ~signals.nulls, signals.copies)
    canaries, holdout, public, copies = (int(part.sum()) for part in parts)
    found.results.about.update(
        provenance(page.command)
        | found.results.about
        | {
            "name": name,
            "protocol": "as in the file",
            "num_models": signals.num_models,
            "seeds": [seed],
            "audit_data": {
                "name": file.name,
                "public": False,
                "num_samples": signals.num_samples - holdout - public - canaries - copies,
                "num_canaries": canaries,
                "num_holdout": holdout,
                "num_public": public,
                "num_copies": copies,
                "num_classes": signals.num_classes,
                "sha256": file_sha256(file),
            },
        }
    )
    found.results.about["warnings"] += made_for_owner(Path(out))
    write_up(found, Path(out), show_records=page.show_records)
    return Run(Path(out), found, 0)


def _check_has_out_models(signals: Signals, attacks: str, file: Path) -> None:
    """Refuses attacks that need references if all models of a file have the same training set.

    Raises:
        UserError: there are such attacks; the message names attacks that work.
    """
    is_one_sided = (
        signals.member == signals.member[:, :1]
    ).all()  # members only, or non-members only: refused elsewhere
    if not signals.trained_alike or is_one_sided:
        return
    asked = expand(named(attacks.split(",")))
    comparing = [plugin.label for plugin in asked if "references" in ATTACKS.get(plugin.name).needs]
    if comparing:
        alone = [name for name in ATTACKS.names() if not ATTACKS.get(name).needs]
        raise UserError(
            f"{file}: all {signals.num_models} models were trained on the same samples, so no sample has a model"
            f" trained without it (an OUT model), and attacks that compare with references ({', '.join(comparing)})"
            " cannot work; give models with other training sets, here or with --references, or use attacks that need"
            f" none: --attacks {','.join(alone)}"
        )

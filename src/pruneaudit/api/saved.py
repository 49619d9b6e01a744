"""Audits saved predictions, without a study or training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pruneaudit.api.page import USUAL_PAGE, PageSettings
from pruneaudit.api.writing import Run, made_for_owner, write_up
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.canaries import BONFERRONI
from pruneaudit.evaluation.comparison_plan import named, ready
from pruneaudit.evaluation.given import check_names, checked_sizes, chosen_baseline
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.evaluation.recorded_checks import SELFTEST, record_sanity_checks
from pruneaudit.external.release_files import read_release_files
from pruneaudit.runs.provenance import provenance
from pruneaudit.signals.signals import Signals
from pruneaudit.study.audit import DEFAULT_LEVELS


@dataclass(frozen=True)
class PredictionFiles:
    """Files of predictions: `.npz`, in the exchange format of `Signals`.

    Example:
        >>> pruneaudit.PredictionFiles("signals.npz").releases()
        {'signals': PosixPath('signals.npz')}
    """

    signals: str | Path | Mapping[str, Path]
    """Predictions of the attacked models: one file, several releases by name, or a folder that `collect` wrote."""
    references: str | Path | Mapping[str, Path] | None = None
    """Predictions of other models on the same samples: one file for all releases, or a file for each release by
    name."""
    baseline: str | None = None
    """The release with which the others are compared; default: `dense`."""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Compressed bytes of releases, by name, for the comparison at equal size."""

    def releases(self, name: str | None = None) -> dict[str, Path]:
        """The files of the attacked models by release.

        Args:
            name: the name of a single release; default: the file's name without its suffix.

        Raises:
            UserError: a name is missing, used twice or not needed here, a size is invalid, or two releases have the
                same file.
        """
        if isinstance(self.signals, Mapping):
            if name is not None:
                raise UserError(
                    f"name: got '{name}' together with releases that have names; leave it out, or give one file"
                )
            found = {release: Path(path) for release, path in self.signals.items()}
        elif Path(self.signals).is_dir():
            return replace(self, signals=read_release_files(Path(self.signals))).releases(name)
        else:
            path = Path(self.signals)
            found = {path.stem if name is None else name: path}
        check_names(list(found))
        chosen_baseline(list(found), self.baseline)
        checked_sizes(list(found), self.sizes)
        _check_different(found, "leave one out")
        return found

    def other_models(self) -> Path | dict[str, Path] | None:
        """Returns the files of references: by release, or one for all.

        Raises:
            UserError: a folder has no list of its files, or two releases have the same file.
        """
        given = self.references
        if given is None or (not isinstance(given, Mapping) and not Path(given).is_dir()):
            return None if given is None else Path(given)
        by_name = given if isinstance(given, Mapping) else read_release_files(Path(given))
        found = {release: Path(path) for release, path in by_name.items()}
        _check_different(found, "give it once if it serves all releases")
        return found


def _check_different(files: Mapping[str, Path], advice: str) -> None:
    """Refuses one file under two names."""
    first: dict[Path, str] = {}
    for name, path in files.items():
        earlier = first.setdefault(path.resolve(), name)
        if earlier != name:
            raise UserError(f"{path}: given for {earlier} and for {name}, expected a file for each; {advice}")


def audit_files(
    files: PredictionFiles | Path,
    attacks: str = "scores",
    out: str | Path = "audit",
    *,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str | None = None,
    outputs: Sequence[str] = (),
    families: Sequence[Sequence[str]] | str = (),
    epsilon_thresholds: str = BONFERRONI,
    page: PageSettings = USUAL_PAGE,
    runtime: Machine = HERE,
) -> Run:
    """Audits saved predictions, and writes findings, scores and report to a folder; trains no network.

    Args:
        files: the predictions, or the path of the file with those of the attacked models.
        attacks: comma-separated names or groups; "scores": all attacks that train nothing and that the data allow.
        out: the folder to write; files of an earlier audit are replaced.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: the name of a single release in findings and report; default: the file's name without its suffix.
        outputs: reduced outputs to attack as well, as for `pruneaudit.audit`.
        families: sets of releases that are attacked together, or "all", as for `pruneaudit.audit`.
        epsilon_thresholds: how bounds on epsilon choose the number of guesses, as for `pruneaudit.audit`.
        page: settings of the report.
        runtime: its `progress` reports every attack, then the sanity checks.

    Raises:
        UserError: a file is unusable, or lacks what an attack needs.
    """
    files = files if isinstance(files, PredictionFiles) else PredictionFiles(files)
    paths = files.releases(name)
    base = chosen_baseline(list(paths), files.baseline)
    signals = {release: Signals.load(path) for release, path in paths.items()}
    others = files.other_models()
    references = loaded(others)
    if references is None:
        for release, path in paths.items():
            _check_has_out_models(signals[release], attacks, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `about` lists what is left out
        found = audit(
            signals,
            references,
            attacks=attacks,
            seed=seed,
            fpr_levels=fpr_levels,
            baseline=base,
            sizes=files.sizes,
            outputs=outputs,
            families=families,
            epsilon_thresholds=epsilon_thresholds,
            runtime=runtime,
        )
    runtime.progress.say("sanity checks: the same attacks, on data with known answers")
    record_sanity_checks(found, ready(attacks.split(",")), seed, SELFTEST)
    found.results.about.update(
        provenance(page.command)
        | found.results.about
        | {"name": ", ".join(paths)}
        | _described(_attacked(found, base), paths[base], seed)
    )
    if len(paths) > 1:
        found.results.about["files"] = _checksums(paths, others)
    found.results.about["warnings"] += made_for_owner(Path(out))
    write_up(found, Path(out), show_records=page.show_records)
    return Run(Path(out), found, 0)


def loaded(references: Path | Mapping[str, Path] | None) -> Signals | dict[str, Signals] | None:
    """The references as `audit` takes them."""
    if isinstance(references, Mapping):
        return {name: Signals.load(path) for name, path in references.items()}
    return None if references is None else Signals.load(references)


def _attacked(found: Audit, release: str) -> Signals:
    """The signals of a release, as they were attacked."""
    return next(kept.setting.attack_input.attacked for kept in found.settings if kept.setting.release == release)


def _described(signals: Signals, file: Path, seed: int) -> dict[str, Any]:
    """What `about` says of the predictions of one release; all releases have the same models and samples."""
    is_in, holdout_rows = ~signals.left_out, signals.untouched_holdout
    parts = (signals.canaries & is_in, holdout_rows, signals.unseen & ~holdout_rows, signals.copies & is_in)
    canaries, holdout, public, copies = (int(part.sum()) for part in parts)
    placebo = int(signals.placebos.sum())
    others = {"num_placebo": placebo, "num_unknown": int((signals.left_out & ~signals.placebos).sum())}
    return {
        "protocol": "as in the file",
        "num_models": signals.num_models,
        "seeds": [seed],
        "audit_data": {
            "name": file.name,
            "public": False,
            "num_samples": signals.num_samples - holdout - public - canaries - copies - sum(others.values()),
            "num_canaries": canaries,
            "num_holdout": holdout,
            "num_public": public,
            "num_copies": copies,
            "num_classes": signals.num_classes,
            **{name: count for name, count in others.items() if count},
            "sha256": file_sha256(file),
        },
    }


def _checksums(paths: Mapping[str, Path], references: Path | Mapping[str, Path] | None) -> dict[str, Any]:
    """Name and SHA-256 of every file, by release."""

    def of(path: Path) -> dict[str, str]:
        return {"name": path.name, "sha256": file_sha256(path)}

    by_release = references if isinstance(references, Mapping) else {} if references is None else {"": references}
    return {
        "signals": {name: of(path) for name, path in paths.items()},
        "references": {name: of(path) for name, path in by_release.items()},
    }


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
            f" trained without it (an OUT model), and attacks that compare with references ({', '.join(comparing)}) "
            f"cannot work; add models with other training sets to the file, give their file with --references, or use "
            f"attacks that need no references: --attacks {','.join(alone)}"
        )

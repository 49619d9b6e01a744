"""An audit of saved predictions: no study, no training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from pruneaudit.api.writing import Run, made_for_owner, write_up
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.controls import SELFTEST, record_controls
from pruneaudit.evaluation.lineup import named, ready
from pruneaudit.evaluation.playing import DEFAULT_LEVELS
from pruneaudit.runs.provenance import provenance
from pruneaudit.signals.signals import Signals


def audit_files(
    file: Path,
    attacks: str = "scores",
    references: Path | None = None,
    paired: Path | None = None,
    paired_references: Path | None = None,
    out: str | Path = "audit",
    seed: int = 0,
    command: str = "",
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    show_records: bool | None = None,
) -> Run:
    """Audits saved predictions: findings, scores and report into a folder, no training.

    Args:
        file: predictions in the exchange format of `Signals`, `.npz`.
        attacks: comma-separated names or groups; "scores" is all that the predictions allow and that train nothing.
        references: predictions of other models on the same samples.
        paired: predictions of the same models in another public release.
        paired_references: predictions of the references in that other release.
        out: the folder; what an earlier audit wrote there is replaced.
        seed: seed of folds and bootstrap.
        command: the command line that repeats this, for the report.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: of the release, in findings and report; default: the file's, without its suffix.
        say: told of every attack before it is played, then of the controls.
        show_records: as for `run`.

    Raises:
        UserError: a file is not usable, or an attack lacks what it needs.
    """
    name = file.stem if name is None else name
    signals = Signals.load(file)
    if references is None:
        _check_has_out_models(signals, attacks, file)
    other_models, other_release, their_release = (
        None if path is None else Signals.load(path) for path in (references, paired, paired_references)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out stands in `about`
        given = signals, other_models, other_release, their_release
        found = audit(*given, attacks, seed, fpr_levels, name, say)
    say("controls: the same attacks where the answer is known")
    record_controls(found, ready(attacks.split(",")), seed, SELFTEST)
    parts = (signals.canaries, signals.reserve, signals.copies)
    canaries, reserve, copies = (int(part.sum()) for part in parts)
    found.results.about.update(
        provenance(command)
        | found.results.about
        | {
            "name": name,
            "protocol": "as in the file",
            "num_models": signals.num_models,
            "seeds": [seed],
            "population": {
                "name": file.name,
                "public": False,
                "num_samples": signals.num_samples - reserve - canaries - copies,
                "num_canaries": canaries,
                "num_reserve": reserve,
                "num_copies": copies,
                "num_classes": signals.num_classes,
                "sha256": file_sha256(file),
            },
        }
    )
    found.results.about["warnings"] += made_for_owner(Path(out))
    write_up(found, Path(out), show_records=show_records)
    return Run(Path(out), found, 0)


def _check_has_out_models(signals: Signals, attacks: str, file: Path) -> None:
    """Refuses attacks that compare with references where all models of a file have one training set.

    Raises:
        UserError: there are such attacks; the message names those that can be played.
    """
    is_one_sided = (signals.member == signals.member[:, :1]).all()  # no members, or nobody else: said elsewhere
    if not signals.trained_alike or is_one_sided:
        return
    asked = expand(named(attacks.split(",")))
    comparing = [plugin.label for plugin in asked if "references" in ATTACKS.get(plugin.name).needs]
    if comparing:
        alone = [name for name in ATTACKS.names() if not ATTACKS.get(name).needs]
        raise UserError(
            f"{file}: all {signals.num_models} models were trained on the same samples, so no sample has a model"
            f" trained without it (an OUT model), and what compares with references ({', '.join(comparing)}) has"
            " nothing to tell members by; give models of other training sets, here or with --references, or play what"
            f" needs none: --attacks {','.join(alone)}"
        )

"""Checks of the data of an audit: can members differ from others for other reasons than training?

`about["data_checks"]` has one entry for each of two checks. Each has `passed`: true, false, or None with the `reason`
why it was not checked.

    inputs    do members and others differ in their inputs? `collect` measures it, because predictions have none
    placebo   do untrained samples differ if half of them are sent as members? Needs placebo rows (`placebo.py`)

A study whose members are drawn by coins has neither entry: both checks would pass by construction. The members of a
target were chosen by its owner, so their inputs are checked. Placebo rows are not needed there, since this program
sends all samples in the same way: that entry has `one_path` instead of counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.evaluation.input_difference import MIN_SAMPLES, input_difference
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.evaluation.placebo import placebo_checks
from pruneaudit.evaluation.recorded_checks import failures, warning
from pruneaudit.signals.left_out import AS_MEMBERS, AS_OTHERS
from pruneaudit.signals.signals import Signals

DATA_CHECKS = "data_checks"
"""The key in an audit's `about`."""
INPUTS, PLACEBO = "inputs", "placebo"
NO_INPUTS = "the predictions come without inputs, and the file has no result of the check by `pruneaudit collect`"
TOO_FEW = f"it needs {MIN_SAMPLES} audited members and {MIN_SAMPLES} other samples"
NO_PLACEBO = "there are no placebo rows"


def record_data_checks(found: Audit, attacks: Mapping[str, Attack], release: str, seed: int) -> list[str]:
    """Plays the attacks on placebo rows, and writes all that is known of the data into the audit's `about`.

    Args:
        found: an audit of predictions; `about` gets `data_checks`, and `sanity_checks` if there are placebo rows.
        attacks: the attacks by label.
        release: the release whose signals tell of the inputs; all releases have the same samples.
        seed: the audit's seed.

    Returns:
        A warning for each check that failed.
    """
    about = found.results.about
    parts = {kept.setting.release: kept.setting.attack_input.attacked for kept in found.settings}
    rows, left_out = placebo_checks(found, attacks, seed)
    if rows or left_out:
        about.update({"sanity_checks": rows, "not_sanity_checked": left_out})
    inputs = _inputs(parts[release])
    about[DATA_CHECKS] = [inputs, _placebo(parts[release], rows)]
    alarms = [warning(label, reason) for label, reason in failures(about).items()]
    return [*([inputs_differ_words(inputs)] if inputs["passed"] is False else []), *alarms]


def target_data_checks(
    x: np.ndarray, y: np.ndarray, member: np.ndarray, counted: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Returns the entries of `about["data_checks"]` for a study with a target.

    Args:
        x: (N, ...) inputs.
        y: (N,) int labels.
        member: (N,) bool, of the target.
        counted: (N,) bool, the audited samples.
        seed: the study's seed.
    """
    placebo = {"check": PLACEBO, "passed": True, "one_path": True}
    found = input_difference(x, y, member, counted, seed)
    if found is None:
        return [{"check": INPUTS, "passed": None, "reason": TOO_FEW}, placebo]
    return [_inputs_entry(found.auc.value, found.auc.low, found.auc.high), placebo]


def target_data_notes(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns a warning if the inputs of the target's members differ from others.

    Args:
        entries: from `target_data_checks`.
    """
    return [inputs_differ_words(entry) for entry in entries if entry["check"] == INPUTS and entry["passed"] is False]


def data_check(about: Mapping[str, Any], check: str) -> dict[str, Any] | None:
    """The entry of one check; None if the results do not speak of it (studies, older versions).

    Args:
        about: the `about` of results.
        check: `INPUTS` or `PLACEBO`.
    """
    return next((dict(entry) for entry in about.get(DATA_CHECKS) or [] if entry["check"] == check), None)


def inputs_differ_words(found: Mapping[str, Any]) -> str:
    """The warning that members and others differ before any model looks.

    Args:
        found: `auc`, `low` and `high`.
    """
    return (
        "members and others differ before any model looks: a classifier that sees only the inputs has AUC"
        f" {found['auc']:.3f} [{found['low']:.3f}, {found['high']:.3f}]; the audit would measure that difference, too"
    )


def _inputs(signals: Signals) -> dict[str, Any]:
    if signals.inputs_auc is None:
        return {"check": INPUTS, "passed": None, "reason": NO_INPUTS}
    return _inputs_entry(*map(float, signals.inputs_auc))


def _inputs_entry(auc: float, low: float, high: float) -> dict[str, Any]:
    return {"check": INPUTS, "passed": low <= 0.5 <= high, "auc": auc, "low": low, "high": high}


def _placebo(signals: Signals, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not signals.placebos.any():
        return {"check": PLACEBO, "passed": None, "reason": NO_PLACEBO}
    counts = {f"num_as_{name}": int(np.count_nonzero(signals.placebo == path)) for name, path in _PATHS.items()}
    if not rows:
        return {"check": PLACEBO, "passed": None, "reason": "no attack scores enough placebo rows", **counts}
    return {"check": PLACEBO, "passed": all(row["passed"] for row in rows), **counts}


_PATHS = {"members": AS_MEMBERS, "others": AS_OTHERS}

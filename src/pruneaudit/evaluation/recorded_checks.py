"""Sanity checks of a run: plays its attacks where the right answer is known, and records the results.

Each attack that trains nothing is played three times (see `check_attacks`): on a simulated bank without a leak, on one
with planted members, and on the run's own dense outputs with membership redrawn. `about["sanity_checks"]` has a row for
each; `about["not_sanity_checked"]` lists attacks that could not be played, with the reason. The seed is the study's, so
that the same run gives the same rows.

Two choices keep false alarms rare. The p-values of `check_attacks` are approximate, and too small if one network is
judged on few samples: in 4,000 simulations 1.1% fell below 0.1% with 20 samples and 0.2% with 100. The run's own
outputs are therefore used only with at least `MIN_SAMPLES`. And an attack that stops with an error (it may need more
classes than the simulated bank has) counts as not played: it neither passed nor failed.
"""

# V victims, N samples

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.evaluation.placebo import BANK, PLACEBO
from pruneaudit.evaluation.sanity_check import MADE_UP, STOPPED, Played, Trial, play, redrawn_setting
from pruneaudit.metrics import Estimate
from pruneaudit.study import DENSE

Row = dict[str, Any]
OWN = "outputs of this run"
"""Name of the bank with the run's own outputs; the release follows in brackets."""
NULL, PLANTED = "null", "planted"
EXPECTED = {NULL: "AUC 0.5: there is no leak", PLANTED: "AUC above 0.5: there is a leak"}
_WHERE = {
    NULL: "on data without a leak",
    PLANTED: "on data with a planted leak",
    PLACEBO: "on placebo rows, which no model was trained on: it measures how members were sent, not membership",
}
MIN_SAMPLES = 100
"""Fewest samples of each victim for a check on the run's own outputs."""
SELFTEST = "pruneaudit sanity-check"
SANITY_CHECK_RUN = f"{SELFTEST} RUN"
"""The command that checks attacks that learn. RUN means the run's folder, whose path is not part of its findings."""
_LONGEST_REASON = 200


def record_sanity_checks(found: Audit, attacks: Mapping[str, Attack], seed: int, command: str) -> list[str]:
    """Plays the sanity checks of the attacks of an audit and writes them into its `about`.

    Args:
        found: the audit; `about["sanity_checks"]` and `about["not_sanity_checked"]` are set.
        attacks: the attacks by label; those that the audit left out are left out here too.
        seed: the study's seed.
        command: the command that checks attacks that learn.

    Returns:
        A warning for each attack that failed.
    """
    played = [label for label in attacks if any(label in scores.by_attack for scores in found.settings)]
    able = {label: attacks[label] for label in played if not attacks[label].trains}
    left_out = [
        _left_out(label, "every bank", f"it trains a classifier, which takes minutes; check it with: {command}")
        for label in played
        if label not in able
    ]
    rows: list[Row] = []
    if able:
        setting = _own_setting(found)
        own = f"{OWN} ({setting.release})"
        redrawn, lack = _redrawn(setting, seed)
        trials = play(able, seed, redrawn, own).trials
        for trial in trials:
            rows += _rows(trial)
            left_out += _stopped(trial)
        left_out += [_left_out(label, own, lack) for label in able if lack]
    _add_to(found.results.about, rows, left_out)
    return [warning(label, reason) for label, reason in failures(found.results.about).items()]


def failures(about: Mapping[str, Any]) -> dict[str, str]:
    """Why attacks failed their sanity checks, by attack; empty if none failed or none was played.

    Args:
        about: the `about` of a run's results, of any version.
    """
    found: dict[str, list[str]] = {}
    for row in about.get("sanity_checks") or []:
        if not row["passed"]:
            where = _WHERE[str(row["kind"])]
            found.setdefault(str(row["attack"]), []).append(f"AUC {row['auc']:.3f} {where}")
    return {label: ", ".join(dict.fromkeys(reasons)) for label, reasons in found.items()}


def _add_to(about: dict[str, Any], rows: list[Row], left_out: list[Row]) -> None:
    """Puts sanity checks into `about`, after those on placebo rows, which the audit played."""
    for key, more in (("sanity_checks", rows), ("not_sanity_checked", left_out)):
        about[key] = [*(row for row in about.get(key) or [] if str(row["bank"]).startswith(BANK)), *more]


def unchecked(about: Mapping[str, Any], attacks: Iterable[str]) -> dict[str, str]:
    """Why attacks were not sanity-checked, by attack; attacks that were are left out.

    Args:
        about: the `about` of a run's results, of any version.
        attacks: the attacks in question.
    """
    checked = {str(row["attack"]) for row in about.get("sanity_checks") or [] if row["kind"] != PLACEBO}
    reasons: dict[str, list[str]] = {}
    for row in about.get("not_sanity_checked") or []:
        reasons.setdefault(str(row["attack"]), []).append(str(row["reason"]))
    missing = "no sanity checks of it are recorded"
    return {
        attack: "; ".join(dict.fromkeys(reasons.get(attack, [missing]))) for attack in attacks if attack not in checked
    }


def warning(label: str, reason: str) -> str:
    """The warning about an attack that failed."""
    return f"do not trust the figures of {label}: it failed its sanity checks ({reason})"


def _own_setting(found: Audit) -> AttackSetting:
    """The attack setting whose outputs are used: that of the dense networks, or the first."""
    settings = [scores.setting for scores in found.settings]
    return next((setting for setting in settings if setting.release == DENSE), settings[0])


def _redrawn(setting: AttackSetting, seed: int) -> tuple[AttackInput | None, str]:
    """The attack setting with membership redrawn; or None and the reason."""
    attacked = setting.attack_input.attacked
    fewest = int(attacked.ordinary[setting.attack_input.victims].sum(axis=1).min())
    if fewest < MIN_SAMPLES:
        return None, f"a victim has {fewest} samples, but {MIN_SAMPLES} are needed"
    return redrawn_setting(setting.attack_input, seed), ""


def _rows(trial: Trial) -> list[Row]:
    """The results on one bank, by attack; made-up banks come without a leak and with planted members."""
    parts = [
        (verdict.attack, kind, part)
        for verdict in trial.verdicts
        for kind, part in ((NULL, verdict.null), (PLANTED, verdict.planted))
    ]
    return [_row(label, trial.name, kind, part) for label, kind, part in parts if part is not None and not part.error]


def _row(label: str, bank: str, kind: str, part: Played) -> Row:
    bank = "made-up bank" if bank == MADE_UP else bank
    return {
        **{"attack": label, "bank": bank, "kind": kind, **_figures(part.auc)},
        **{"expected": EXPECTED[kind], "passed": not part.problem, "problem": part.problem},
    }


def _figures(auc: Estimate) -> Row:
    """The AUC (0..1) with its 95% interval; None if there is none."""
    named = {"auc": auc.value, "low": auc.low, "high": auc.high}
    return {name: None if value != value else float(value) for name, value in named.items()}


def _stopped(trial: Trial) -> list[Row]:
    """The attacks that this bank cannot test, each with the reason."""
    found = [_left_out(label, trial.name, f"it needs {lack}") for label, lack in trial.not_tested.items()]
    for verdict in trial.verdicts:
        errors = [part.error for part in (verdict.null, verdict.planted) if part and part.problem == STOPPED]
        found += [_left_out(verdict.attack, trial.name, f"it stopped: {errors[0]}")] if errors else []
    return found


def _left_out(label: str, bank: str, reason: str) -> Row:
    return {"attack": label, "bank": bank, "reason": " ".join(reason.split())[:_LONGEST_REASON]}

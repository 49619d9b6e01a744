"""Whether a release leaks: what the intervals of the primary attack, and of the others, let one say."""

from __future__ import annotations

import math
from typing import Literal

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import Quantity, headline_tpr
from pruneaudit.report.selection import (
    attack_order,
    finding,
    primary_attack,
)
from pruneaudit.study import DENSE


def better_than_guessing(results: Results, release: str) -> tuple[str, ...]:
    """The attacks but the primary one whose AUC on a release is above guessing, under the primary references."""
    broken, first = failures(results.about), primary_attack(results)
    found = []
    for attack in attack_order(results):
        row = finding(results, release, attack) if attack != first and attack not in broken else None
        if row is not None and row["auc_low"] > 0.5:
            found.append(attack)
    return tuple(found)


Verdict = Literal["no figure", "distrusted", "no interval", "leaks", "leaks at low rates", "reversed", "not shown"]


def networks_of(results: Results, base: str) -> str:
    """`dense networks`, or `network` where a single one that is no study's was attacked."""
    row = finding(results, base, primary_attack(results))
    alone = row is not None and row["num_victims"] == 1
    return ("dense " if base == DENSE else "") + ("network" if alone else "networks")


def verdict(results: Results, base: str) -> Verdict:
    """What the primary attack's intervals on the base release let one say of it."""
    attack = primary_attack(results)
    row = finding(results, base, attack)
    if row is None or math.isnan(row["auc"]):
        return "no figure"
    if attack in failures(results.about):
        return "distrusted"
    if math.isnan(row["auc_low"]) or math.isnan(row["auc_high"]):
        return "no interval"
    if row["auc_low"] > 0.5:
        return "leaks"
    rate = headline_tpr(results.findings.columns)
    if _found(rate, row) and rate is not None and row[f"{rate.column}_low"] > (rate.level or 0.0):
        return "leaks at low rates"
    return "reversed" if row["auc_high"] < 0.5 else "not shown"


def _found(rate: Quantity | None, row: pd.Series) -> str:
    """What the attack finds at the summary's false-positive rate, or nothing where that was refused."""
    if rate is None or rate.level is None or math.isnan(row[rate.column]):
        return ""
    level = f"{100 * rate.level:g}%"
    return f"finds {with_interval(rate, row)} of the members at {level} false positives (guessing: {level})"


def with_interval(quantity: Quantity, row: pd.Series) -> str:
    """A figure of a row, with its interval where it has one."""
    interval = quantity.interval(row[f"{quantity.column}_low"], row[f"{quantity.column}_high"])
    return f"{quantity.value(row[quantity.column])} {interval}".rstrip()


def reason_of(row: pd.Series | None) -> str:
    """Why a row has no figure."""
    return "it has no row in the findings" if row is None else str(row["suppressed"]) or "no reason was recorded"

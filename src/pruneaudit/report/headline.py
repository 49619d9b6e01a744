"""The headline: whether the dense networks leak, as far as the primary attack's intervals let one say so.

The page shows it without figures, the terminal and notebooks with them.
"""

from __future__ import annotations

import math
from typing import Literal

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.agreement import otherwise_found, stronger_words
from pruneaudit.report.quantities import AUC, Quantity, headline_tpr
from pruneaudit.report.selection import (
    finding,
    primary_attack,
)
from pruneaudit.report.words import attack_name, verb
from pruneaudit.study import DENSE

Verdict = Literal["no figure", "distrusted", "no interval", "leaks", "leaks at low rates", "reversed", "not shown"]


def headline(results: Results, base: str) -> str:
    """Whether the networks that all are compared with leak, with figures: for the terminal and notebooks."""
    attack = primary_attack(results)
    if not attack:
        return "No attack was played, so there is nothing to say about leakage."
    row, name, said = finding(results, base, attack), attack_name(attack), verdict(results, base)
    networks = networks_of(results, base)
    if said == "no figure" or row is None:
        return f"{name}, the attack chosen by rule, gave no figure on the {networks}: {reason_of(row)}."
    if said == "distrusted":
        return (
            f"{name}, the attack chosen by rule, failed this run's own sanity checks, so nothing is concluded from it."
        )
    figure, rate = with_interval(AUC, row), headline_tpr(results.findings.columns)
    found = _found(rate, row)
    if said == "no interval":
        return f"{name} reaches AUC {figure} on the {networks}; without an interval nothing is concluded from it."
    leak, beside = verb(int(networks.endswith("network")), "leaks", "leak"), stronger_words(results, base)
    then = f" and {found}" if found else ""
    if said == "leaks":
        return f"The {networks} {leak}: {name} tells members from non-members with AUC {figure}{then}.{beside}"
    if said == "leaks at low rates":
        return (
            f"The {networks} {leak} at low false-positive rates: {name} {found}, "
            f"although its AUC of {figure} does not show more than guessing.{beside}"
        )
    then = f"; it {found}" if found else ""
    if said == "reversed":
        return (
            f"On the {networks} {name} ranks members below non-members: AUC {figure}{then}. "
            f"Check how members and scores were joined before reading on.{beside}"
        )
    rest = otherwise_found(results, base) or " That is no proof that nothing leaks."
    return f"On the {networks} {name} was not shown to do better than guessing: AUC {figure}{then}.{rest}{beside}"


def short_headline(results: Results, base: str) -> str:
    """The same without figures, which stand below it on the page; with them where no direction can be told."""
    attack, networks = attack_name(primary_attack(results)), networks_of(results, base)
    leak, beside = verb(int(networks.endswith("network")), "leaks", "leak"), stronger_words(results, base)
    no_proof = otherwise_found(results, base) or " That is no proof that nothing leaks."
    return {
        "leaks": f"The {networks} {leak}: {attack} tells members from non-members better than guessing.{beside}",
        "leaks at low rates": f"The {networks} {leak} at low false-positive rates under {attack}, if not on average."
        f"{beside}",
        "reversed": f"On the {networks} {attack} ranks members below non-members: check how members and scores were "
        f"joined.{beside}",
        "not shown": f"On the {networks} {attack} was not shown to do better than guessing.{no_proof}{beside}",
    }.get(verdict(results, base)) or headline(results, base)


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

"""Attacks on several releases side by side: on the same victims, samples and references, in one run.

    pruneaudit run families
    python benchmarks/family_attacks.py runs/families

Prints a Markdown table per family. A row is an attack on the whole family, or the attack `family` on the single release
on which it finds most. Intervals are 95%, over victims and samples; differences are paired with `family` on the whole
family. CPU seconds are those of all scores, intervals included (docs/families.md has the table).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from interleaved import machine, table

from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.families import ATTACK, JointAttack
from pruneaudit.runs.folder import RunFolder

ATTACKS = ("ratio_product", "pair_nn", "compleak_mr")
FAMILIES = (
    "dense,dense+finetune,rtn-4,pruned-0.9+finetune,student",
    "rtn-4,pruned-0.9+finetune,student",
)
"""Of the recipe `families`: five releases, and three compressed ones without the dense ones."""
METRICS = {"auc": "AUC", "tpr_at_1%_fpr": "TPR at 1% FPR"}


def settings_of(run: Path, names: Sequence[str]) -> list[AttackSetting]:
    """The attack settings of some releases of a finished run, with matched references."""
    held = RunFolder.open(run)
    plan, audit_data = held.finished()
    return bank_settings({name: held.signals(plan, audit_data, name) for name in names}, ["matched"])


def compared(settings: Sequence[AttackSetting], family: Sequence[str], attacks: Sequence[str], seed: int) -> str:
    """The table of one family."""
    started = time.process_time()
    joint = JointAttack.of(settings, family, (0.01,), seed)
    rows = pd.DataFrame(joint.set_rows([(name,) for name in family] + [tuple(family)])).assign(
        seconds=time.process_time() - started
    )
    whole = rows[rows["num_releases"] == len(family)]
    best = whole["best_part"].iloc[0]
    # The whole minus its best part there; here the best part minus the whole.
    alone = rows[rows["releases"] == best].assign(attack=f"`{ATTACK}` on {best} alone", seconds=float("nan"))
    for end, sign, source in (("", -1, ""), ("_low", -1, "_high"), ("_high", -1, "_low")):
        alone[f"difference{end}"] = sign * whole[f"difference{source}"].to_numpy()
    found = [whole.assign(attack=f"`{ATTACK}`", difference=float("nan")), alone]
    for label, rival in ready(attacks).items():
        started = time.process_time()
        played = pd.DataFrame(joint.rival_rows(label, rival))
        found.append(played.assign(attack=f"`{label}`", seconds=time.process_time() - started))
        print(f"{label}: {found[-1]['seconds'].iloc[0]:.0f} CPU s", flush=True)
    return table(["attack", *_titles(), "CPU s"], [_row(rows) for part in found for _, rows in part.groupby("attack")])


def _titles() -> list[str]:
    return [title for name in METRICS.values() for title in (name, f"{name}, minus `{ATTACK}`")]


def _row(rows: pd.DataFrame) -> list[object]:
    told, cells = rows.set_index("metric"), []
    for metric in METRICS:
        row = told.loc[metric]
        share = metric != "auc"
        cells += [
            _interval(*row[["value", "low", "high"]], share, ""),
            _interval(*row[["difference", "difference_low", "difference_high"]], share, "+"),
        ]
    seconds = rows["seconds"].iloc[0]
    return [rows["attack"].iloc[0], *cells, "" if pd.isna(seconds) else f"{seconds:.0f}"]


def _interval(value: float, low: float, high: float, share: bool, sign: str) -> str:
    if pd.isna(value):
        return ""
    digits = f"{sign}.1%" if share else f"{sign}.3f"
    return f"{value:{digits}} [{low:{digits}}, {high:{digits}}]"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="folder of a finished run")
    arguments.add_argument("--families", nargs="+", default=FAMILIES, help="releases joined by commas")
    arguments.add_argument("--attacks", nargs="*", default=ATTACKS)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    print(machine())
    families = [family.split(",") for family in given.families]
    settings = settings_of(given.run, list(dict.fromkeys(name for family in families for name in family)))
    for family in families:
        print(f"\n{', '.join(family)}\n\n{compared(settings, family, given.attacks, given.seed)}", flush=True)


if __name__ == "__main__":
    main()

"""Driver of pruneaudit, by the rules of the others: same predictions in, scores out, one attack in one process."""

# V victims, K references, A audited samples

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from exchange import Bank, Clock, run, warm_up


def play(
    bank: Bank,
    clock: Clock,
    spec: str,
    num_releases: int = 1,
    which: str = "references",
    all_rows: bool = False,
    thresholds: bool = False,
    everyone: bool = False,
) -> np.ndarray:
    """Scores of an attack as an audit plays it.

    Args:
        bank: predictions.
        clock: counts phi and everything else that starts from logits.
        spec: attack and options, as on the command line.
        num_releases: that the attack sees, the dense one first.
        which: references of the attack.
        all_rows: a classifier learns from all rows, and its last epoch is kept, as the peers do it.
        thresholds: count the learning of the decision threshold too.
        everyone: every model of the bank is a victim, with all others as its references.
    """
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.attack_input import AttackInput
    from pruneaudit.evaluation.crossfit import thresholds as learned_thresholds
    from pruneaudit.study import Plugin

    plugin = Plugin.model_validate(spec)
    kind = ATTACKS.get(plugin.name)
    made: Any = kind(kind.Options.model_validate(plugin.options))
    with_sensitivity = "sensitivity" in kind.needs
    if kind.trains:  # imported before the clock starts, as everybody's libraries are
        warm_up()
        for library in ("pruneaudit.attacks._fitting", "sklearn.tree", "sklearn.linear_model", "sklearn.pipeline"):
            import_module(library)
    if everyone:
        victims = references = _signals(bank, ("victims", "paired", "references"), num_releases, with_sensitivity)
    else:
        victims, references = (_signals(bank, (role,), num_releases, with_sensitivity) for role in ("victims", which))
    rng = np.random.default_rng(0)
    with clock:
        attack_input = AttackInput.of(victims, references)
        if all_rows:
            return _from_all_rows(made, attack_input, rng)[:, bank.audited]
        scores = made.score(attack_input, rng)
        if thresholds:
            learned_thresholds(made, attack_input, scores, 0, rng)
    return scores.victims[: len(bank.rows("victims")), bank.audited]


def _signals(bank: Bank, roles: Sequence[str], num_releases: int, with_sensitivity: bool) -> list[Any]:
    """Signals of some roles, one for each release."""
    from pruneaudit import Signals

    rows, made = [row for role in roles for row in bank.rows(role)], []
    for release in range(num_releases):
        sensitivity = np.stack([bank.sensitivity(row, release) for row in rows]) if with_sensitivity else None
        logits = np.stack([bank.logits(row, release) for row in rows])
        eligible = np.broadcast_to(~bank.rest["holdout"], (len(rows), len(bank.labels)))
        made.append(
            Signals(
                logits,
                bank.labels,
                bank.member[rows],
                eligible=eligible,
                sensitivity=sensitivity,
                model_ids=np.array(rows),
                holdout=bank.rest["holdout"],
            )
        )
    return made


def _from_all_rows(made: Any, attack_input: Any, rng: np.random.Generator) -> np.ndarray:
    """Scores (V, N) of one classifier that learned from every audited row of the references."""
    samples = np.flatnonzero(attack_input.eligible.all(axis=0))
    models = np.arange(attack_input.reference.num_models)
    rows = made.rows(attack_input.references, models, samples, None, rng)
    scorer = made.trained(rows, rows.where(np.zeros(len(rows.member), dtype=bool)), rng)
    scores = np.full(attack_input.eligible.shape, np.nan)
    for row, victim in zip(scores, attack_input.victims, strict=True):
        row[samples] = made._scored(scorer, attack_input.releases, victim, samples)
    return scores


def version() -> str:
    import pruneaudit

    return pruneaudit.__version__


if __name__ == "__main__":
    run({"play": play}, version)

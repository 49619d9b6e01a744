"""How often does a choice break its own limits, and how much larger than necessary is the chosen network?

In simulated studies (`choice_worlds.py`) it is known what every candidate leaks. Three ways of choosing, all by the
program's own functions:

- naive: the smallest candidate whose estimates keep the limits, from the whole bank;
- own bound: the smallest whose one-sided 95% bounds keep them, from the whole bank (not in worlds of scores);
- certified: rungs of 4 and of 8 models and the list of one half, the certificate from the other half.

    python benchmarks/choose.py                      # all worlds, 1,000 studies each
    python benchmarks/choose.py --studies 200 --worlds estimates
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import numpy as np
from choice_worlds import ATTACK, TPR, Estimates, Half, Matrices, Spread, Study, candidate_of

from pruneaudit.choosing.bench import Trial
from pruneaudit.choosing.rungs import Race
from pruneaudit.evaluation.certificate import Candidate, Scope, certify
from pruneaudit.evaluation.measure import Accuracies, Measured
from pruneaudit.evaluation.shortlist import shortlist
from pruneaudit.study.choose import Choose

World = Estimates | Matrices
SCOPE = Scope(
    study="simulated", num_search_models=8, num_confirm_models=8, num_references=7, num_samples=400, num_candidates=20
)
MOST = Choose.model_fields["confirm"].default
WAYS = ("naive", "own bound", "certified")


@dataclass(frozen=True)
class Outcome:
    """What one way of choosing did in many studies."""

    ships: float
    """Share of studies in which it ships a network."""
    breaks: float
    """Share of all studies in which that breaks a limit, over new models and new samples."""
    breaks_here: float
    """The same, over new models on these samples."""
    breaks_of_shipped: float
    """Share among the studies that ship."""
    ratio: float
    """Median of the size in the oracle's, where both ship."""
    error: float
    """Standard error of `breaks`."""


def choose(world: World, study: Study, most: int | None) -> dict[str, int | None]:
    """The candidate that each way ships; None: nothing."""
    listed = shortlist(searched(world, study), world.limits, most).candidates
    confirmed = [candidate_of(world, study, study.confirm, int(one.name)) for one in listed]
    chosen = certify(confirmed, world.limits, SCOPE).chosen
    return {
        "naive": naive(world, study),
        "own bound": by_own_bound(world, study) if isinstance(world, Estimates) else None,
        "certified": None if chosen is None else int(chosen.name),
    }


def naive(world: World, study: Study) -> int | None:
    """The smallest candidate whose estimates from the whole bank keep the limits."""
    limits, whole = world.limits, study.whole
    kept = [
        number
        for number in range(len(study.truth.bytes))
        if whole.estimate(number) <= limits.leakage[world.figure]
        and (limits.min_accuracy is None or whole.accuracy(number).values.mean() >= limits.min_accuracy)
    ]
    return min(kept, key=lambda number: study.truth.bytes[number], default=None)


def by_own_bound(world: World, study: Study) -> int | None:
    """The smallest candidate whose one-sided bounds, from the whole bank, keep the limits."""
    whole = [candidate_of(world, study, study.whole, number) for number in range(len(study.truth.bytes))]
    kept = [int(one.name) for one in whole if one.p_value <= world.limits.alpha]
    return min(kept, key=lambda number: study.truth.bytes[number], default=None)


def searched(world: World, study: Study) -> list[Candidate]:
    """What is left after the rungs of the search, with the figures of the last one."""
    left = [str(number) for number in range(len(study.truth.bytes))]
    race = Race(world.limits, len(left), len(study.rungs), Choose.model_fields["keep"].default)
    for number, half in enumerate(study.rungs):
        trials = {name: _trial(world, study, half, int(name)) for name in left}
        stopped = race.decide(trials, number == len(study.rungs) - 1)
        left = [name for name in left if name not in stopped]
    return [trials[name].candidate for name in left]


def _trial(world: World, study: Study, half: Half, number: int) -> Trial:
    found, accuracy = half.leakage(number), half.accuracy(number)
    measured = cast(Measured, SimpleNamespace(by_column={world.figure: found}))  # all that the race looks at
    candidate = candidate_of(world, study, half, number)
    return Trial(tuple(range(len(found.values))), candidate, Accuracies(accuracy, accuracy), {ATTACK: measured})


def simulate(world: World, num_studies: int, seed: int = 0, most: int | None = MOST) -> Mapping[str, Outcome]:
    """Many studies of a world; the outcome of each way of choosing."""
    limit = world.limits.leakage[world.figure]
    rows: dict[str, list[tuple[bool, bool, bool, float]]] = {way: [] for way in WAYS}
    for number in range(num_studies):
        study = world.draw(np.random.default_rng([seed, number]))
        truth = study.truth
        is_accurate = np.ones_like(truth.bytes, dtype=bool)
        if world.limits.min_accuracy is not None:
            is_accurate = truth.accuracy >= world.limits.min_accuracy
        within = (truth.leakage < limit) & is_accurate
        oracle = truth.bytes[within].min() if within.any() else np.nan
        for way, shipped in choose(world, study, most).items():
            if shipped is None:
                rows[way].append((False, False, False, np.nan))
                continue
            broken_here = truth.here(shipped) >= limit or not is_accurate[shipped]
            ratio = truth.bytes[shipped] / oracle if within[shipped] else np.nan
            rows[way].append((True, not within[shipped], broken_here, ratio))
    return {way: _outcome(np.array(found, dtype=float)) for way, found in rows.items()}


def _outcome(rows: np.ndarray) -> Outcome:
    ships, breaks, here = rows[:, :3].mean(axis=0)
    ratios = rows[:, 3][~np.isnan(rows[:, 3])]
    return Outcome(
        ships=float(ships),
        breaks=float(breaks),
        breaks_here=float(here),
        breaks_of_shipped=float(breaks / ships) if ships else 0.0,
        ratio=float(np.median(ratios)) if len(ratios) else float("nan"),
        error=float(np.sqrt(breaks * (1 - breaks) / len(rows))),
    )


def worlds() -> dict[str, World]:
    """All worlds of the table, by name."""
    found: dict[str, World] = {}
    for figure in ("auc", TPR):
        for correlation in (0.7, 0.8):
            # The number of candidates is varied once.
            for num in (5, 10, 20, 50) if (figure, correlation) == ("auc", 0.7) else (20,):
                for spread in (2.0, 0.5, 0.0):
                    name = f"estimates, {figure}, rho {correlation}, m {num}, spread {spread} s"
                    found[name] = Estimates(Spread(num, spread), figure, correlation)
        for step, unit, error in ((3.0, "half", np.sqrt(2)), (3.0, "bank", 1.0), (0.5, "half", np.sqrt(2))):
            for other, by_accuracy in ((0.88, False), (0.0, False), (0.0, True)):
                name = f"apart, {figure}, {step} s of the {unit}, correlation {other}{', accuracy' * by_accuracy}"
                spread = Spread(20, step * error, True, other, by_accuracy)
                found[name] = Estimates(spread, figure, narrow=0.25 if figure == TPR else 1.0)
    for figure, num, samples, fresh in (("auc", 10, 400, 400), (TPR, 5, 2000, 160)):
        for spread in (0.0, 0.5, 2.0):
            name = f"matrices, {figure}, m {num}, spread {spread} s"
            found[name] = Matrices(Spread(num, spread), figure, num_samples=samples, num_fresh=fresh)
    return found


def line(name: str, found: Mapping[str, Outcome]) -> str:
    """A row of the table."""
    cells = [
        f"{100 * one.breaks:.1f} ({100 * one.breaks_of_shipped:.1f} of shipped; {100 * one.breaks_here:.1f} here)"
        for one in found.values()
    ]
    shipped = "/".join(f"{100 * one.ships:.0f}" for one in found.values())
    return f"| {name} | {' | '.join(cells)} | {shipped} | {found['certified'].ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--worlds", default="", help="only worlds whose names begin so")
    parser.add_argument("--most", type=int, default=MOST, help="candidates to confirm")
    given = parser.parse_args()
    print("| world | naive: breaks, % | own bound | certified | ships, % | size / oracle |")
    print("|---|---|---|---|---|---|")
    for name, world in worlds().items():
        if name.startswith(given.worlds):
            start = time.process_time()
            print(
                line(name, simulate(world, given.studies, most=given.most)),
                f"{time.process_time() - start:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

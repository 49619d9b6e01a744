"""How often does a choice break its own limits, and how much larger than necessary is the chosen network?

In simulated studies (`choice_worlds.py`) it is known what every candidate leaks. Four ways of choosing, all by the
program's own functions:

- naive: the smallest candidate whose estimates keep the limits, from the whole bank;
- own bound: the smallest whose one-sided 95% bounds keep them, from the whole bank;
- certified: the list and its order from one half of the models, the certificate from the other.

    python benchmarks/choose.py                      # all worlds, 1,000 studies each
    python benchmarks/choose.py --studies 200 --worlds estimates
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from choice_worlds import TPR, Estimates, Matrices, Spread, Study, candidate_of

from pruneaudit.evaluation.certificate import Candidate, Scope, certify
from pruneaudit.evaluation.shortlist import HOPELESS, shortlist

World = Estimates | Matrices
SCOPE = Scope(
    study="simulated", num_search_models=8, num_confirm_models=8, num_references=7, num_samples=400, num_candidates=20
)
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
    count = len(study.truth.bytes)
    whole = [candidate_of(world, study, study.whole, number) for number in range(count)]
    searched = [candidate_of(world, study, study.search, number) for number in range(count)]
    listed = shortlist(searched, world.limits, most).candidates
    confirmed = [candidate_of(world, study, study.confirm, int(one.name)) for one in listed]
    chosen = certify(confirmed, world.limits, SCOPE).chosen
    return {
        "naive": smallest(whole, HOPELESS),
        "own bound": smallest(whole, world.limits.alpha),
        "certified": None if chosen is None else int(chosen.name),
    }


def smallest(candidates: list[Candidate], most: float) -> int | None:
    """The smallest candidate with a p-value of at most `most`."""
    kept = [one for one in candidates if one.p_value <= most]
    return int(min(kept, key=lambda one: one.bytes or 0.0).name) if kept else None


def simulate(world: World, num_studies: int, seed: int = 0, most: int | None = None) -> Mapping[str, Outcome]:
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
            broken_here = bool(truth.here[shipped] >= limit) or not is_accurate[shipped]
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
            for spread in (2.0, 0.5, 0.0):
                for num in (5, 10, 20, 50):
                    name = f"estimates, {figure}, rho {correlation}, m {num}, spread {spread} s"
                    found[name] = Estimates(Spread(num, spread), figure, correlation)
        for step in (3.0, 0.5):
            for other, by_accuracy in ((0.88, False), (0.0, False), (0.0, True)):
                name = f"apart, {figure}, {step} s, correlation {other}{', accuracy' if by_accuracy else ''}"
                found[name] = Estimates(Spread(20, step * np.sqrt(2), True, other, by_accuracy), figure)
    for figure, samples in (("auc", 400), (TPR, 2000)):
        for spread in (2.0, 0.5, 0.0):
            found[f"matrices, {figure}, m 10, spread {spread} s"] = Matrices(
                Spread(10, spread), figure, num_samples=samples
            )
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
    parser.add_argument("--most", type=int, default=None, help="candidates to confirm")
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

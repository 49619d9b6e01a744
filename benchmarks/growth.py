"""How do time and memory grow with models, samples, releases and classes? Exponents of a power law, with 95% intervals.

One size is varied, the others stay (`BASE`). Every point has an interpreter of its own: CPU seconds of all threads, and
by how many MB the peak of memory rose above that of an interpreter with everything imported. Measured are the scores
of LiRA and of RMIA (phi included, the middle of three runs), and the audit of all releases with six attacks, each held
against the first release.

    python benchmarks/growth.py
    python benchmarks/growth.py --rounds 3 --vary models
"""

# M models, N samples, C classes

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from interleaved import Spread, fitted_exponent, in_fresh_interpreter, machine, parser, stopwatch, table, take_turns

BASE = {"models": 32, "samples": 5_000, "releases": 1, "classes": 10}
OTHERWISE = {"classes": {"models": 16}}
"""Other sizes of `BASE` where this one is varied: a thousand logits per sample fill the memory."""
SIZES = {
    "models": (16, 32, 64, 128),
    "samples": (2_500, 5_000, 10_000, 20_000, 40_000),
    "releases": (1, 2, 3, 4, 6),
    "classes": (10, 30, 100, 300, 1_000),
}
NUM_HOLDOUT = 1_000
COSTS = {"lira": "scores of `lira`, CPU s", "rmia": "scores of `rmia`, CPU s", "audit": "audit, CPU s"}
COSTS |= {"added": "audit, memory added /MB"}


def measured(num_models: int, num_samples: int, num_releases: int, num_classes: int) -> dict[str, float]:
    """One point, in this interpreter."""
    from made_up import load

    import pruneaudit.evaluation.evaluating  # noqa: F401  # imports count as nothing's cost

    with tempfile.TemporaryDirectory() as folder:
        for release in range(num_releases):
            in_fresh_interpreter(
                str(Path(__file__).with_name("made_up.py")),
                *(folder, num_models, num_samples, num_classes, NUM_HOLDOUT, release),
            )
        with stopwatch() as whole:
            releases = {f"release {release}": load(Path(folder), release) for release in range(num_releases)}
            audited(releases)
        found = {"audit": whole["cpu"], "added": whole["added"]}
        for attack in ("lira", "rmia"):
            found[attack] = statistics.median(seconds_of_scores(attack, Path(folder)) for _ in range(3))
    return found


def audited(releases: dict) -> None:
    """What `pruneaudit run` does with signals: every attack on every release, and all comparisons."""
    from pruneaudit.evaluation import bank_settings
    from pruneaudit.evaluation.audit import DEFAULT_ATTACKS
    from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
    from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate

    first = next(iter(releases))
    comparison_plan = ComparisonPlan(baselines=(first,), undefended=(first,))
    evaluate(bank_settings(releases, ["matched"]), ready(DEFAULT_ATTACKS), Measuring(0), Known(comparison_plan))


def seconds_of_scores(attack: str, folder: Path) -> float:
    """CPU seconds from logits in memory to scores."""
    import numpy as np
    from made_up import load
    from threadpoolctl import threadpool_limits

    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.attack_input import AttackInput

    signals = load(folder)
    with threadpool_limits(limits=1, user_api="blas"), stopwatch() as found:
        ATTACKS.get(attack)().score(AttackInput.of([signals], [signals]), np.random.default_rng(0))
    return found["cpu"]


def one_point(sizes: dict[str, int]) -> dict[str, float]:
    return json.loads(in_fresh_interpreter(__file__, "--only", *sizes.values()))


def grown(varied: str, num_rounds: int) -> tuple[list[list[object]], list[object]]:
    """The points of one varied size as rows, and the row of its exponents."""
    points = {
        str(size): partial(one_point, BASE | OTHERWISE.get(varied, {}) | {varied: size}) for size in SIZES[varied]
    }
    found = take_turns(points, num_rounds)
    spreads = {cost: [Spread.of([run[cost] for run in runs]) for runs in found.values()] for cost in COSTS}
    rows = [
        [varied, f"{size:,}", *(spreads[cost][index] for cost in COSTS)] for index, size in enumerate(SIZES[varied])
    ]
    exponents: dict[str, object] = {
        cost: fitted_exponent(SIZES[varied], [one.median for one in spreads[cost]]) for cost in COSTS
    }
    if varied == "releases":  # one release is scored by itself, however many there are
        exponents |= {"lira": "-", "rmia": "-"}
    return rows, [f"**{varied}**", "**exponent**", *(f"**{value}**" for value in exponents.values())]


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        print(json.dumps(measured(*map(int, sys.argv[2:]))))
        return
    arguments = parser(__doc__, 2)
    arguments.add_argument("--vary", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE")
    chosen = arguments.parse_args()
    print(machine())
    rows: list[list[object]] = []
    for varied in chosen.vary:
        points, exponents = grown(varied, chosen.rounds)
        rows += [*points, exponents]
        print("  ".join(map(str, exponents)), flush=True)
    base = ", ".join(f"{size:,} {name}" for name, size in BASE.items())
    print(f"\nelsewhere {base} (with classes: 16 models); median [min, max] of {chosen.rounds} rounds\n")
    print(table(["varied", "to", *COSTS.values()], rows))


if __name__ == "__main__":
    main()

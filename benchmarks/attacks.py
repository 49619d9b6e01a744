"""Attacks beside loops over victims and samples on the same arrays: time, memory, and do they agree?

Every measurement has an interpreter of its own; loop and package take turns. Both start from the same arrays: phi for
LiRA and RMIA, logits for the scores of predictions, scores for the thresholds. At the big size the loops play some of
the victims only, and the ratio is of seconds per victim.

    python benchmarks/attacks.py                                                                    # 16 x 2,000
    python benchmarks/attacks.py --models 128 --samples 50000 --holdout 10000 --loop-victims 1 --attacks lira rmia
"""

# M models, N samples, C classes, V victims

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interleaved import (
    Spread,
    in_fresh_interpreter,
    machine,
    parser,
    peak_memory,
    ratios,
    shown,
    stopwatch,
    table,
    take_turns,
)

if TYPE_CHECKING:
    import numpy as np

    from pruneaudit.signals.signals import Signals

PREDICTION_ATTACKS = ("loss", "entropy", "modified_entropy")
THRESHOLDS = "class thresholds"
"""Of `modified_entropy`, one for each class, learned on the references of four folds."""
ATTACKS = ("lira", "rmia", *PREDICTION_ATTACKS, THRESHOLDS)
POOL_BELOW = 65
"""Models: LiRA pools variances where a victim has fewer than 64 references."""


def prepared(attack: str, side: str, signals: Signals, num_loop_victims: int) -> Callable[[], np.ndarray]:
    """What is timed: from the arrays in memory to the answer.

    Returns:
        A function that gives the scores (V, N), or the thresholds (V, C), of the victims that this side plays.
    """
    import loops
    import numpy as np

    from pruneaudit.attacks import ATTACKS as PACKAGE
    from pruneaudit.attacks.attack_input import AttackInput
    from pruneaudit.evaluation.crossfit import thresholds

    rng, victims = np.random.default_rng(0), range(num_loop_victims)
    attack_input = AttackInput.of([signals], [signals])
    if attack == THRESHOLDS:
        played = PACKAGE.get("modified_entropy")
        made = played(played.Options(thresholds="per_class"))
        scored = made.score(attack_input, rng)
        if side == "ours":
            return lambda: thresholds(made, attack_input, scored, 0, rng)
        return partial(looped_thresholds, attack_input, scored.victims)
    if side == "ours":
        made = PACKAGE.get(attack)()
        return lambda: made.score(attack_input, rng).victims
    if attack in PREDICTION_ATTACKS:
        return lambda: loops.prediction_scores(attack, signals.logits[:num_loop_victims], signals.labels)
    phi, scored = signals.phi[..., 0], ~signals.nulls
    if attack == "rmia":
        return lambda: loops.rmia(phi, signals.member, scored, victims)
    return lambda: loops.lira(phi, signals.member, scored, signals.num_models < POOL_BELOW, victims)


def looped_thresholds(attack_input: Any, scores: np.ndarray) -> np.ndarray:
    """Thresholds (V, C) learned fold by fold and class by class with the loop over candidates."""
    import loops
    import numpy as np

    from pruneaudit.attacks.folds import settings

    signals = attack_input.attacked
    found = np.full((signals.num_models, signals.num_classes), np.nan)
    for victims, references in settings(attack_input, 0):
        for label in range(signals.num_classes):
            chosen = (signals.labels == label) & ~signals.nulls
            own, member = (array[np.ix_(references, chosen)].ravel() for array in (scores, signals.member))
            found[victims, label] = loops.class_threshold(own, member)
    return found


def measured(attack: str, side: str, folder: Path, num_loop_victims: int) -> dict[str, float]:
    """One side of one attack in this interpreter; what it found is kept in the folder."""
    import numpy as np
    from made_up import load
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):  # as the audit does
        signals = load(folder)
        before: dict[str, float] = {"cpu": 0.0}
        if attack in ("lira", "rmia"):
            with stopwatch() as before:
                assert signals.phi.size
        answer = prepared(attack, side, signals, num_loop_victims)
        with stopwatch() as found:
            values = answer()
    np.save(folder / f"{attack}-{side}.npy", values)
    return found | {"phi": before["cpu"], "peak": peak_memory()}


def difference(attack: str, folder: Path, num_loop_victims: int) -> float:
    """The largest difference between both sides; they must score the same samples."""
    import numpy as np

    loop, ours = (np.load(folder / f"{attack}-{side}.npy") for side in ("loop", "ours"))
    ours = ours if attack == THRESHOLDS else ours[:num_loop_victims]
    where = ~np.isnan(ours)
    if attack in PREDICTION_ATTACKS:
        loop = loop[: len(ours)]  # it scores the holdout too, which nobody asked for
    else:
        assert (where == ~np.isnan(loop)).all(), f"{attack}: both sides must score the same samples"
    return float(np.abs(loop - ours)[where].max())


def compared(attack: str, folder: Path, num_models: int, num_loop_victims: int, num_rounds: int) -> list[object]:
    """The row of one attack."""

    def run(side: str) -> dict[str, float]:
        return json.loads(in_fresh_interpreter(__file__, "--only", attack, side, folder, num_loop_victims))

    played = {"loop": num_models if attack == THRESHOLDS else num_loop_victims, "ours": num_models}
    found = take_turns({side: partial(run, side) for side in played}, num_rounds)
    cpu = {side: [one["cpu"] for one in runs] for side, runs in found.items()}
    each = {side: [seconds / played[side] for seconds in cpu[side]] for side in played}
    added, peak = (
        {side: shown(max(one[key] for one in runs)) for side, runs in found.items()} for key in ("added", "peak")
    )
    with_phi = Spread.of([one["cpu"] + one["phi"] for one in found["ours"]])
    return [
        f"`{attack}`" if attack != THRESHOLDS else attack,
        *(f"{Spread.of(cpu['loop'])} for {played['loop']}", f"{Spread.of(cpu['ours'])} for {num_models}"),
        with_phi if attack in ("lira", "rmia") else "-",
        *(f"**{ratios(each['loop'], each['ours'])}**", f"{difference(attack, folder, num_loop_victims):.0e}"),
        *(f"{added['loop']} / {added['ours']}", f"{peak['loop']} / {peak['ours']}"),
    ]


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        attack, side, folder, num_loop_victims = sys.argv[2:]
        print(json.dumps(measured(attack, side, Path(folder), int(num_loop_victims))))
        return
    arguments = parser(__doc__, 3)
    arguments.add_argument("--models", type=int, default=16, help="default: %(default)s")
    arguments.add_argument("--samples", type=int, default=2_000, help="that are audited; default: %(default)s")
    arguments.add_argument("--classes", type=int, default=10, help="default: %(default)s")
    arguments.add_argument("--holdout", type=int, default=500, help="samples besides: RMIA's z; default: %(default)s")
    arguments.add_argument("--loop-victims", type=int, help="that the loops play; default: all")
    arguments.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    chosen = arguments.parse_args()
    sizes = [chosen.models, chosen.samples, chosen.classes, chosen.holdout]
    print(f"{machine()}\n{sizes[0]} models x {sizes[1]:,} samples x {sizes[2]} classes, {sizes[3]:,} held out")
    header = ["attack", "loop, CPU s for victims", "ours, CPU s for victims", "ours, phi included /s"]
    header += ["ratio per victim", "largest difference", "added /MB, loop / ours", "peak /MB, loop / ours"]
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_interpreter(str(Path(__file__).with_name("made_up.py")), folder, *sizes)
        rows = []
        for attack in chosen.attacks:
            rows.append(
                compared(attack, Path(folder), chosen.models, chosen.loop_victims or chosen.models, chosen.rounds)
            )
            print("  ".join(map(str, rows[-1])), flush=True)
    print(f"\nmedian [min, max] of {chosen.rounds} rounds; memory: the highest\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()

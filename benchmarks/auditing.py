"""How long does the audit of a big bank take, and how much memory?

The bank is made up (phi = how easy the sample is + gain where trained on it + noise) and lies on disk as the store
keeps it, one .npy per model. Every measurement has an interpreter of its own: wall time, CPU time of all threads, by
how much the stage raised the peak of resident memory, and that peak.

    python benchmarks/auditing.py                        # 32 models x 10,000 samples, all stages
    python benchmarks/auditing.py --models 128 --samples 50000 --holdout 10000

`--samples` are those that are audited; the holdout (RMIA's z) comes on top.
"""

# M models, N samples, C classes, V victims, K references, Z holdout samples

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interleaved import Spread, in_fresh_interpreter, machine, parser, shown, stopwatch, table, take_turns

if TYPE_CHECKING:
    from pruneaudit.attacks.attack_input import AttackInput
    from pruneaudit.signals.signals import Signals

# NumPy is imported in the functions: the process that starts the others stays small, or its memory would count too.

SCORE_ATTACKS = (
    *("loss", "confidence", "correctness", "entropy", "modified_entropy", "top1_confidence"),
    *("attack_p", "attack_r", "calibration", "base", "lira", "rmia", "bavaria"),
)
METRICS = ("auc", "bootstrap", "pooled", "classes", "curve", "thresholds")
STAGES = ("load", "phi", *(f"score:{name}" for name in SCORE_ATTACKS), *METRICS, "measure", "findings", "audit")
ON_DEMAND = ("save", "interval")
"""Stages that are run only when they are named."""
LEVELS = (0.1, 0.01, 0.001)


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Runs one stage in this interpreter."""
    from made_up import load
    from threadpoolctl import threadpool_limits

    import pruneaudit.evaluation.audit  # noqa: F401  # imports are no part of a stage
    from pruneaudit.attacks.attack_input import AttackInput

    if stage == "load":
        with stopwatch() as found:
            load(folder)
        return found
    signals = load(folder)
    if stage in ("audit", "save"):
        return audited(stage, signals)
    with threadpool_limits(limits=1, user_api="blas"):  # as the audit does
        attack_input = AttackInput.of([signals], [signals])
        if stage == "phi":
            with stopwatch() as found:
                assert signals.phi.size
        else:
            assert signals.phi.size
            prepared = prepare(stage, attack_input)
            with stopwatch() as found:
                prepared()
    return found


def audited(stage: str, signals: Signals) -> dict[str, float]:
    """The whole audit, or what comes after it."""
    import pruneaudit

    if stage == "audit":
        with stopwatch() as found:
            pruneaudit.audit(signals, attacks="scores")
        return found
    done = pruneaudit.audit(signals, attacks="scores")
    with tempfile.TemporaryDirectory() as out, stopwatch() as found:
        done.save(out)
    return found


def prepare(stage: str, attack_input: AttackInput) -> Callable[[], object]:
    """What a stage does, with everything at hand that it starts from."""
    import numpy as np

    from pruneaudit import metrics
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.evaluation.attack_setting import AttackSetting
    from pruneaudit.evaluation.crossfit import thresholds
    from pruneaudit.evaluation.findings import Writer
    from pruneaudit.evaluation.measure import accuracies, measure

    rng = np.random.default_rng(0)
    if stage.startswith("score:"):
        attack = ATTACKS.get(stage.removeprefix("score:"))()
        return lambda: attack.score(attack_input, rng)
    setting, lira = AttackSetting("signals", "matched", attack_input), ATTACKS.get("lira")()
    if stage == "measure":
        return lambda: measure(lira, "lira", setting, LEVELS, 0)
    if stage == "findings":
        found = measure(lira, "lira", setting, LEVELS, 0)
        writer = Writer(setting, "lira", found, accuracies(attack_input.attacked), 0.0, LEVELS, 0)
        return lambda: [list(part()) for part in (writer.findings, writer.curve, writer.by_class, writer.ppv)]
    scored = lira.score(attack_input, rng)
    scores, member = scored.victims, attack_input.attacked.member
    if stage == "thresholds":
        return lambda: thresholds(lira, attack_input, scored, 0, rng)
    grid = np.logspace(-3, 0, 61)

    def classes() -> None:
        for label in range(attack_input.attacked.num_classes):
            chosen = attack_input.attacked.labels == label
            metrics.auc_influence(scores[:, chosen], member[:, chosen])

    return {
        "auc": lambda: metrics.auc_influence(scores, member),
        "bootstrap": lambda: metrics.bootstrap_tpr(scores, member, LEVELS, 200, rng),
        "pooled": lambda: (
            metrics.pooled_auc(scores, member),
            metrics.bootstrap_pooled_tpr(scores, member, LEVELS, 100, rng),
        ),
        "classes": classes,
        "curve": lambda: metrics.mean_roc(scores, member, grid),
        "interval": lambda: metrics.two_way(*metrics.auc_influence(scores, member)),
    }[stage]


def one_stage(stage: str, folder: str) -> dict[str, float]:
    return json.loads(in_fresh_interpreter(__file__, "--only", stage, folder))


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        print(json.dumps(measured(sys.argv[2], Path(sys.argv[3]))))
        return
    arguments = parser(__doc__, 1)
    arguments.add_argument("--models", type=int, default=32, help="default: %(default)s")
    arguments.add_argument("--samples", type=int, default=10_000, help="that are audited; default: %(default)s")
    arguments.add_argument("--classes", type=int, default=10, help="default: %(default)s")
    arguments.add_argument("--holdout", type=int, default=2_000, help="samples besides: RMIA's z; default: %(default)s")
    arguments.add_argument("--stages", nargs="+", default=STAGES, metavar="STAGE", help=", ".join(STAGES + ON_DEMAND))
    chosen = arguments.parse_args()
    sizes = [chosen.models, chosen.samples, chosen.classes, chosen.holdout]
    print(f"{machine()}\n{sizes[0]} models x {sizes[1]:,} samples x {sizes[2]} classes, {sizes[3]:,} held out\n")
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_interpreter(str(Path(__file__).with_name("made_up.py")), folder, *sizes)
        found = take_turns({stage: partial(one_stage, stage, folder) for stage in chosen.stages}, chosen.rounds)
    rows = []
    for stage, runs in found.items():
        wall, cpu = (Spread.of([run[key] for run in runs]) for key in ("wall", "cpu"))
        rows.append([f"`{stage}`", wall, cpu, *(shown(max(run[key] for run in runs)) for key in ("added", "peak"))])
    print(table(["stage", "wall /s", "CPU /s", "memory added /MB", "peak /MB"], rows))


if __name__ == "__main__":
    main()

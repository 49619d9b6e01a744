"""How long does the audit of a big bank take, and how much memory?

The bank is made up (phi = how easy the sample is + gain where trained on it + noise) and lies on disk as the store
keeps it, one .npy per model. Every measurement has an interpreter of its own: wall time, CPU time of all threads, by
how much the stage raised the peak of resident memory, and that peak.

    python benchmarks/auditing.py                        # 32 models x 10,000 samples, all stages
    python benchmarks/auditing.py --models 128 --samples 50000 --reserve 10000
    python benchmarks/auditing.py --stages loop          # LiRA and RMIA against a loop over victims and samples

`--samples` are those that are audited; the reserve (RMIA's z) comes on top.
"""

# M models, N samples, C classes, V victims, K references, Z reserve samples

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from pruneaudit.attacks.view import View
    from pruneaudit.signals.signals import Signals

# NumPy is imported in the functions: the process that starts the others stays small, or its memory would count too.

GAIN = 1.0
SCORE_ATTACKS = (
    *("loss", "confidence", "correctness", "entropy", "modified_entropy", "top1_confidence"),
    *("attack_p", "attack_r", "calibration", "base", "lira", "rmia", "bavaria"),
)
METRICS = ("auc", "bootstrap", "pooled", "classes", "curve", "thresholds")
STAGES = ("load", "phi", *(f"score:{name}" for name in SCORE_ATTACKS), *METRICS, "measure", "findings", "audit")
ON_DEMAND = ("save", "loop", "interval")
"""Stages that are run only when they are named."""
LEVELS = (0.1, 0.01, 0.001)


def make_bank(folder: Path, num_models: int, num_samples: int, num_classes: int, num_reserve: int) -> None:
    """Writes the made-up signals, model by model."""
    import numpy as np

    rng = np.random.default_rng(0)
    total = num_samples + num_reserve
    labels, easiness = rng.integers(num_classes, size=total), rng.normal(0.5, 1.5, total)
    member = rng.random((num_models, total)) < 0.5
    member[:, :num_reserve] = False
    for model, inside in enumerate(member):
        noise = np.random.default_rng([1, model])
        logits = noise.normal(size=(total, num_classes))
        logits[np.arange(total), labels] = -np.inf
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))  # the others' logsumexp is 0, so phi is the label's
        logits[np.arange(total), labels] = easiness + GAIN * inside + noise.normal(size=total)
        np.save(folder / f"{model}.npy", logits.astype(np.float32))
    np.savez(folder / "rest.npz", labels=labels, member=member, reserve=np.arange(total) < num_reserve)


def load(folder: Path) -> Signals:
    """The bank as `pipeline/assemble.py` puts one together: mapped files, stacked."""
    import numpy as np

    from pruneaudit.signals.signals import Signals

    rest = np.load(folder / "rest.npz")
    files = [np.load(folder / f"{model}.npy", mmap_mode="r") for model in range(len(rest["member"]))]
    eligible = np.broadcast_to(~rest["reserve"], rest["member"].shape)
    return Signals(np.stack(files), rest["labels"], rest["member"], eligible=eligible)


def peak_memory() -> float:
    """Highest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


class Stopwatch:
    """Wall time, CPU time and growth of the peak memory of one part of the program."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu, memory = time.perf_counter(), time.process_time(), peak_memory()
        yield
        self.found = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "added": peak_memory() - memory,
            "peak": peak_memory(),
        }


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Runs one stage in this interpreter."""
    from threadpoolctl import threadpool_limits

    import pruneaudit.auditing.audit  # noqa: F401  # imports are no part of a stage
    from pruneaudit.attacks.view import View

    watch = Stopwatch()
    if stage == "load":
        with watch.running():
            load(folder)
        return watch.found
    signals = load(folder)
    if stage in ("audit", "save"):
        return audited(stage, signals, watch)
    with threadpool_limits(limits=1, user_api="blas"):  # as the audit does
        view = View.of([signals], [signals])
        if stage == "phi":
            with watch.running():
                assert signals.phi.size
        else:
            assert signals.phi.size
            prepared = prepare(stage, view)
            with watch.running():
                prepared()
    return watch.found


def audited(stage: str, signals: Signals, watch: Stopwatch) -> dict[str, float]:
    """The whole audit, or what comes after it."""
    import pruneaudit

    if stage == "audit":
        with watch.running():
            pruneaudit.audit(signals, attacks="scores")
        return watch.found
    found = pruneaudit.audit(signals, attacks="scores")
    with tempfile.TemporaryDirectory() as out, watch.running():
        found.save(out)
    return watch.found


def prepare(stage: str, view: View) -> Callable[[], object]:
    """What a stage does, with everything at hand that it starts from."""
    import numpy as np

    from pruneaudit import metrics
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.auditing.crossfit import thresholds
    from pruneaudit.auditing.findings import Writer
    from pruneaudit.auditing.game import Game
    from pruneaudit.auditing.measure import accuracies, measure

    rng = np.random.default_rng(0)
    if stage.startswith("score:"):
        attack = ATTACKS.get(stage.removeprefix("score:"))()
        return lambda: attack.score(view, rng)
    game, lira = Game("signals", "matched", view), ATTACKS.get("lira")()
    if stage == "measure":
        return lambda: measure(lira, "lira", game, LEVELS, 0)
    if stage == "findings":
        found = measure(lira, "lira", game, LEVELS, 0)
        writer = Writer(game, "lira", found, accuracies(view.attacked), 0.0, LEVELS, 0)
        return lambda: [list(part()) for part in (writer.findings, writer.curve, writer.by_class, writer.ppv)]
    scored = lira.score(view, rng)
    scores, member = scored.victims, view.attacked.member
    if stage == "thresholds":
        return lambda: thresholds(lira, view, scored, 0, rng)
    grid = np.logspace(-3, 0, 61)

    def classes() -> None:
        for label in range(view.attacked.num_classes):
            chosen = view.attacked.labels == label
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


# What follows is the plainest way to write the two attacks: one victim and one sample at a time.


def loop_lira(phi: np.ndarray, member: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """LiRA online with variances pooled over samples, from phi (M, N): each model is a victim of the others."""
    import numpy as np

    scores = np.full(phi.shape, np.nan)
    for victim in range(len(phi)):
        others = np.arange(len(phi)) != victim
        squares, freedom, means = [0.0, 0.0], [0, 0], np.full((phi.shape[1], 2), np.nan)
        for sample in range(phi.shape[1]):
            for side in (0, 1):
                values = phi[others & (member[:, sample] == bool(side)), sample]
                if len(values):
                    means[sample, side] = values.mean()
                    squares[side] += ((values - values.mean()) ** 2).sum()
                    freedom[side] += len(values) - 1
        variances = [total / number for total, number in zip(squares, freedom, strict=True)]
        for sample in np.flatnonzero(scored):
            logs = [
                -((phi[victim, sample] - means[sample, side]) ** 2) / (2 * variances[side])
                - math.log(variances[side]) / 2
                for side in (0, 1)
            ]
            scores[victim, sample] = logs[1] - logs[0]
    return scores


def loop_rmia(
    phi: np.ndarray, member: np.ndarray, scored: np.ndarray, gamma: float = 2.0, a: float = 0.3
) -> np.ndarray:
    """RMIA online, every sample beside every z, from phi (M, N); without the refinement of ties."""
    import numpy as np

    probability = 1 / (1 + np.exp(-phi))
    scores = np.full(phi.shape, np.nan)
    for victim in range(len(phi)):
        others = np.arange(len(phi)) != victim
        z_ratios = np.array(
            [
                probability[victim, z] / (((1 + a) * probability[others, z].mean() + (1 - a)) / 2)
                for z in np.flatnonzero(~scored)
            ]
        )
        for sample in np.flatnonzero(scored):
            inside = others & member[:, sample]
            outside = others & ~member[:, sample]
            if inside.any() and outside.any():
                prior = (probability[inside, sample].mean() + probability[outside, sample].mean()) / 2
                scores[victim, sample] = (probability[victim, sample] / prior >= gamma * z_ratios).mean()
    return scores


def compare_with_loops(folder: Path) -> list[str]:
    """Both attacks by loops and by the package, in this interpreter: times, ratio and largest difference."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.rmia import TIE_STEP
    from pruneaudit.attacks.view import View

    lines = [f"{'attack':<8} {'loop /s':>9} {'ours /s':>9} {'ratio':>8}  largest difference"]
    with threadpool_limits(limits=1, user_api="blas"):
        signals = load(folder)
        view, phi = View.of([signals], [signals]), signals.phi[..., 0]
        for name, loop in (("lira", loop_lira), ("rmia", loop_rmia)):
            options = ATTACKS.get(name).Options(**({"variance": "pooled"} if name == "lira" else {}))
            start = time.perf_counter()
            plain = loop(phi, signals.member, ~signals.reserve)
            slow = time.perf_counter() - start
            times = []
            for _ in range(5):
                start = time.perf_counter()
                ours = ATTACKS.get(name)(options).score(view, np.random.default_rng(0)).victims
                times.append(time.perf_counter() - start)
            assert (np.isnan(plain) == np.isnan(ours)).all(), "both must score the same samples"
            apart = float(np.nanmax(np.abs(plain - ours)))
            assert apart <= (1e-9 if name == "lira" else 1.01 * TIE_STEP), f"{name}: scores differ by {apart}"
            fast = sorted(times)[2]
            lines.append(f"{name:<8} {slow:>9.3f} {fast:>9.4f} {slow / fast:>8.0f}  {apart:.1e}")
    return lines


def in_fresh_interpreter(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--samples", type=int, default=10_000, help="that are audited")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--reserve", type=int, default=2_000, help="samples besides: RMIA's z")
    parser.add_argument("--stages", nargs="+", default=STAGES, metavar="STAGE", help=", ".join(STAGES + ON_DEMAND))
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [arguments.models, arguments.samples, arguments.classes, arguments.reserve]
    if arguments.only:
        what, folder = arguments.only[0], Path(arguments.only[1])
        if what == "make":
            make_bank(folder, *sizes)
        else:
            print("\n".join(compare_with_loops(folder)) if what == "loop" else json.dumps(measured(what, folder)))
        return
    given = [f"--{name}={size}" for name, size in zip(("models", "samples", "classes", "reserve"), sizes, strict=True)]
    size = f"{sizes[0]} models x {sizes[1]:,} samples x {sizes[2]} classes, {sizes[3]:,} in the reserve"
    print(f"{size}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_interpreter(*given, "--only", "make", folder)
        print(f"{'stage':<24} {'wall /s':>8} {'CPU /s':>8} {'added MB':>9} {'peak MB':>8}")
        for stage in arguments.stages:
            answer = in_fresh_interpreter("--only", stage, folder)
            if stage == "loop":
                print(answer, end="", flush=True)
                continue
            found = json.loads(answer)
            print(
                f"{stage:<24} {found['wall']:>8.2f} {found['cpu']:>8.2f} {found['added']:>9.0f} {found['peak']:>8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

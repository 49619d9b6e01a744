"""Classifier attacks beside those of adversarial-robustness-toolbox (ART): time, AUC, balanced accuracy.

A small bank is trained first (TinyCNN on the embedded Fashion-MNIST, overfit). Everybody learns from the same rows:
posteriors, labels and membership of the same models, as many members as non-members; everybody is then asked about
the same victims, which trained nobody. Ours is `nn_cls`, ART's is `MembershipInferenceBlackBox`, given predictions
and labels. Everybody has one thread, and seconds are CPU seconds.

Where ART is not installed, only ours is measured.

    python benchmarks/classifiers.py
    python benchmarks/classifiers.py --rounds 5 --models 24
"""

# M models, n rows, C classes

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import Spread, machine, parser, shown, table, take_turns

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.learned import Rows, posteriors
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.membership import draw_membership, write_membership
from pruneaudit.engine.assemble import release_signals
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.processes import Processes
from pruneaudit.engine.progress import Silent
from pruneaudit.engine.scheduler import carry_out
from pruneaudit.engine.store import Store
from pruneaudit.metrics import auc_influence
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Study

ART = "adversarial-robustness-toolbox"
Asked = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Posteriors (n, C) and labels (n,) in; scores (n,), members' above 0, out."""


@dataclass(frozen=True)
class Known:
    """What everybody learns from."""

    posteriors: np.ndarray  # (n, C) float32
    labels: np.ndarray  # (n,)
    member: np.ndarray  # (n,) bool
    num_classes: int

    def rows(self) -> Rows:
        """The same as `nn_cls` takes it."""
        model = np.zeros(len(self.labels), dtype=np.int64)  # not told: no classifier here asks for it
        return Rows(with_labels(self.posteriors, self.labels), self.labels, self.member, self.num_classes, model)


def with_labels(posteriors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Posteriors and one-hot labels, (n, 2C) float32."""
    return np.hstack([posteriors, np.eye(posteriors.shape[1], dtype=np.float32)[labels]])


def trained_bank(num_models: int, num_samples: int, epochs: int) -> Signals:
    """Signals of an overfit bank."""
    study = Study.model_validate(
        {
            "name": "bench",
            "data": {"num_samples": num_samples},
            "membership": {"num_models": num_models},
            "training": {"epochs": epochs},
        }
    )
    audit_data = load_audit_data(study.data, study.seed)
    plan = make_plan(study, audit_data)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.open_for_writing()
        write_membership(store.root, draw_membership(study, audit_data), audit_data)
        with Processes(2) as workers:
            carry_out(plan, audit_data, store, workers, "cpu", Silent(), checkpoint_seconds=600)
        return release_signals(plan, store, audit_data, DENSE)


def known_of(signals: Signals, models: range) -> Known:
    """As many members as non-members of some models, in an order drawn once."""
    rng, everything = np.random.default_rng(0), np.arange(signals.num_samples)
    answers = np.concatenate([posteriors(signals, model, everything) for model in models])
    labels, member = np.tile(signals.labels, len(models)), signals.member[models].ravel()
    sides = [np.flatnonzero(member), np.flatnonzero(~member)]
    num_each = min(map(len, sides))
    drawn = rng.permutation(np.concatenate([rng.choice(side, num_each, replace=False) for side in sides]))
    return Known(answers[drawn], labels[drawn], member[drawn], signals.num_classes)


def ours(known: Known, held_out: Known | None, epochs: int) -> Asked:
    """`nn_cls`; the epoch is chosen on held-out models, as the audit does it, or else is the last one."""
    attack = ATTACKS.get("nn_cls")
    made: Any = attack(attack.Options(epochs=epochs))
    rows = known.rows()
    selecting = rows.where(np.zeros(len(rows.member), bool)) if held_out is None else held_out.rows()
    scorer = made.trained(rows, selecting, np.random.default_rng(0))
    return lambda answers, labels: scorer(with_labels(answers, labels), labels)


def theirs(known: Known, kind: str, **settings: float) -> Asked:
    """ART's attack of a kind, with its defaults where nothing is set."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # ART's forests draw from it
    black_box = import_module("art.estimators.classification").BlackBoxClassifier
    estimator = black_box(lambda x: x, (known.num_classes,), known.num_classes)
    found = import_module("art.attacks.inference.membership_inference").MembershipInferenceBlackBox
    attack = found(estimator, attack_model_type=kind, **settings)
    inside, outside = known.member, ~known.member
    attack.fit(
        pred=known.posteriors[inside],
        y=known.labels[inside],
        test_pred=known.posteriors[outside],
        test_y=known.labels[outside],
    )
    return lambda answers, labels: attack.infer(None, labels, pred=answers, probabilities=True).ravel() - 0.5


def judged(make: Callable[[], Asked], signals: Signals, victims: range) -> dict[str, float]:
    """Seconds to learn and to answer, and how good the answers are: means over the victims."""
    start = time.process_time()
    asked = make()
    fitted = time.process_time()
    everything = np.arange(signals.num_samples)
    answers = np.concatenate([posteriors(signals, victim, everything) for victim in victims])
    begun = time.process_time()
    scores = asked(answers, np.tile(signals.labels, len(victims))).reshape(len(victims), -1)
    ended = time.process_time()
    member = signals.member[victims]
    rates = [((row > 0)[own].mean() + (row <= 0)[~own].mean()) / 2 for row, own in zip(scores, member, strict=True)]
    area = float(auc_influence(scores, member).values.mean())
    return {"fit": fitted - start, "infer": ended - begun, "auc": area, "accuracy": float(np.mean(rates))}


def variants(known: Known, held_out: Known, forests: bool) -> dict[str, Callable[[], Asked]]:
    """Who takes part, by name."""
    made: dict[str, Callable[[], Asked]] = {
        "ours, `nn_cls` (20 epochs, epoch chosen on 2 further models)": partial(ours, known, held_out, 20),
        "ours, `nn_cls`, 20 epochs, the last": partial(ours, known, None, 20),
        "ours, `nn_cls`, 100 epochs, the last": partial(ours, known, None, 100),
    }
    if util.find_spec("art") is None:
        return made
    same = {"nn_model_epochs": 20, "nn_model_batch_size": 128, "nn_model_learning_rate": 3e-4}
    made["ART, nn, our recipe (20 epochs)"] = partial(theirs, known, "nn", **same)
    made["ART, nn, its defaults (100 epochs)"] = partial(theirs, known, "nn")
    for kind, words in (("rf", "random forest"), ("gb", "gradient boosting")) if forests else ():
        made[f"ART, {kind} ({words})"] = partial(theirs, known, kind)
    return made


def main() -> None:
    arguments = parser(__doc__, 3)
    arguments.add_argument("--models", type=int, default=12, help="two thirds teach, one third are victims")
    arguments.add_argument("--samples", type=int, default=2_000, help="default: %(default)s")
    arguments.add_argument("--epochs", type=int, default=30, help="of the bank's training; default: %(default)s")
    arguments.add_argument("--no-forests", action="store_true", help="leave out ART's forests")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    installed = util.find_spec("art") is not None
    print(f"{machine()}\n{ART} {metadata.version(ART) if installed else 'is not installed: skipped'}")
    signals = trained_bank(chosen.models, chosen.samples, chosen.epochs)
    num_teachers = chosen.models * 2 // 3
    victims = range(num_teachers, chosen.models)
    known, held_out = (
        known_of(signals, part) for part in (range(num_teachers - 2), range(num_teachers - 2, num_teachers))
    )
    ours(known, None, 1)  # to warm up: torch loads parts of itself when they are first needed
    found = take_turns(
        {
            name: partial(judged, make, signals, victims)
            for name, make in variants(known, held_out, not chosen.no_forests).items()
        },
        chosen.rounds,
    )
    rows = []
    for name, runs in found.items():
        fit, infer = (Spread.of([run[key] for run in runs]) for key in ("fit", "infer"))
        rows.append([name, fit, infer, f"{runs[0]['auc']:.3f}", f"{100 * runs[0]['accuracy']:.1f}%"])
    size = f"{len(known.member):,} rows to learn from, {len(victims)} victims x {shown(chosen.samples)} samples"
    print(f"{size}; median [min, max] of {chosen.rounds} rounds\n")
    print(table(["who", "learn, CPU s", "answer, CPU s", "AUC", "balanced accuracy"], rows))


if __name__ == "__main__":
    main()

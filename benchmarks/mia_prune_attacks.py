"""mia_prune's attacks here beside mia_prune's own code, on the same rows of a bank: AUC over seeds, and accuracies.

The bank is a run folder, finished or not; some of its dense models are the victims and others the shadows. Ours are
`nn`, `nn_top3`, `nn_cls` and `samia` with `preset=mia_prune`, and the group `threshold`. Theirs needs a folder with
their code (github.com/Machine-Learning-Security-Lab/mia_prune): its networks, first weights, training step and
thresholds are used as they are. Both sides get the same answers of the same models. Without `--theirs` only ours is
measured.

    OMP_NUM_THREADS=1 python benchmarks/mia_prune_attacks.py runs/demo --theirs ../mia_prune
    OMP_NUM_THREADS=1 python benchmarks/mia_prune_attacks.py runs/demo --attacks samia --shadows 4 5 6
"""

# V victims, K shadows, N samples, C classes, F features, n rows

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from interleaved import machine, table
from torch import Tensor

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.groups import expand
from pruneaudit.attacks.learned import posteriors
from pruneaudit.data.splits import splits_of
from pruneaudit.engine.task_context import stored_model
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.collect import collect
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Plugin
from pruneaudit.training.samples import Samples

LEARNED = ("nn", "nn_top3", "nn_cls", "samia")
PRESET = "mia_prune"
BATCH_SIZE, EPOCHS = 128, 100
"""Of their recipe."""
TOLERANCE = 0.01
"""Of the mean over seeds; twice its standard error where that is more."""


@dataclass(frozen=True)
class Found:
    """What one attack found, means over the victims."""

    auc: float
    accuracy: float
    """Balanced, at the attack's own threshold."""


def bank(run: Path, models: list[int], data_root: Path | None) -> Signals:
    """What some of a run's dense models answer, sensitivity included; asked anew, so that the run may be read-only."""
    study = RunFolder.open(run).study
    plan, audit_data = plan_study(study, data_root, run)
    splits = splits_of(study.membership, study.seed, models, audit_data)
    everything = Samples.of(audit_data, np.ones(len(audit_data.y), dtype=bool), "cpu")
    logits, sensitivities = [], []
    for task in (task for number in models for task in plan.models(DENSE) if task.model_id == number):
        model = stored_model(task.spec, audit_data, run / task.artifact.folder)
        logits.append(collect(model, everything, 1, study.seed)["logits"])
        sensitivities.append(sensitivity(model, everything, study.seed, task.model_id))
    return Signals(
        logits=np.stack(logits),
        labels=audit_data.y,
        member=splits.member,
        eligible=splits.eligible,
        sensitivity=np.stack(sensitivities),
        canary=audit_data.canary,
        ids=audit_data.ids,
        model_ids=np.array(models),
    )


def judged(scores: np.ndarray, limits: np.ndarray, attack_input: AttackInput) -> Found:
    """AUC, and accuracy where scores (V, N) from the limits (V, N) on are called members."""
    areas, rates = [], []
    for row, limit, victim, eligible in zip(scores, limits, attack_input.victims, attack_input.eligible, strict=True):
        member, accused = attack_input.attacked.member[victim, eligible], (row >= limit)[eligible]
        areas.append(float(auc(row[eligible][None], member[None])[0]))
        rates.append((accused[member].mean() + (~accused)[~member].mean()) / 2)
    return Found(float(np.mean(areas)), float(np.mean(rates)))


def ours(attack_input: AttackInput, plugin: Plugin, seed: int) -> Found:
    """An attack of the package, played as in an audit."""
    kind = ATTACKS.get(plugin.name)
    attack = kind(kind.Options.model_validate(plugin.options))
    scores = attack.score(attack_input, np.random.default_rng(seed))
    limits = thresholds(attack, attack_input, scores, seed, np.random.default_rng(seed))  # (V, C)
    return judged(scores.victims, limits[:, attack_input.attacked.labels], attack_input)


class Batches:
    """Rows in an order of their own in every pass, as their data loader gives them."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in torch.randperm(len(self.x)).split(BATCH_SIZE):
            yield self.x[batch], self.y[batch]


def theirs(attack_input: AttackInput, name: str, epochs: int, seed: int) -> Found:
    """Their classifier: every row of the shadows, their network, first weights and training step, the last epoch."""
    attack, rows = ATTACKS.get(name)(), attack_input.reference.ordinary
    features = np.concatenate(
        [attack.features(attack_input.reference, k, np.flatnonzero(row)) for k, row in enumerate(rows)]
    )
    x = torch.from_numpy(features)
    y = torch.from_numpy(attack_input.reference.member[rows].astype(np.int64))
    torch.manual_seed(seed)
    kind = "transformer" if name == "samia" else "mia_fc"
    model = import_module("base_model").BaseModel(
        kind, device="cpu", num_cls=x.shape[1], optimizer="sgd", lr=1e-3, weight_decay=5e-4, epochs=epochs
    )
    for _ in range(epochs):
        model.train(Batches(x, y))
    model.model.eval()
    scores = np.full(attack_input.eligible.shape, np.nan)
    with torch.no_grad():
        for row, victim, eligible in zip(scores, attack_input.victims, attack_input.eligible, strict=True):
            shown = torch.from_numpy(attack.features(attack_input.attacked, victim, np.flatnonzero(eligible)))
            logits = model.model(shown)
            row[eligible] = (logits[:, 1] - logits[:, 0]).double().numpy()
    return judged(scores, np.zeros_like(scores), attack_input)


def their_thresholds(attack_input: AttackInput) -> dict[str, float]:
    """Accuracies of their four threshold attacks, means over the victims, by our names of them."""
    attacker = import_module("attacker_threshold").ThresholdAttacker
    shadows = _sides(attack_input.reference, range(attack_input.reference.num_models))
    found = []
    for victim in attack_input.victims:
        made = attacker(*shadows, *_sides(attack_input.attacked, [victim]), attack_input.attacked.num_classes)
        found.append([*made._mem_inf_benchmarks(), made._mem_inf_benchmarks_non_cls()[0]])
    names = [plugin.label for plugin in expand([Plugin(name="threshold")])]
    return dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))


def _sides(signals: Signals, models: range | list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Posteriors and labels of members, then of non-members."""
    chosen = [(k, signals.ordinary[k] & (signals.member[k] == side)) for side in (True, False) for k in models]
    parts = [(posteriors(signals, k, np.flatnonzero(rows)), signals.labels[rows]) for k, rows in chosen]
    halves = parts[: len(models)], parts[len(models) :]
    return [(np.concatenate([p for p, _ in half]), np.concatenate([y for _, y in half])) for half in halves]


def over_seeds(name: str, play: Callable[[int], Found], seeds: list[int]) -> list[Found]:
    """One play per seed, each told as soon as it is there."""
    found = []
    for seed in seeds:
        began = time.process_time()
        found.append(play(seed))
        seconds = time.process_time() - began
        print(f"{name}, seed {seed}: AUC {found[-1].auc:.4f}, accuracy {found[-1].accuracy:.4f}, {seconds:.0f} CPU s")
        sys.stdout.flush()
    return found


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error over seeds."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan


def learned_row(name: str, mine: list[Found], other: list[Found]) -> list[str]:
    """A line of the table of attacks that learn."""
    (value, error), accuracy = spread([each.auc for each in mine]), spread([each.accuracy for each in mine])[0]
    row = [f"`{name}`", f"{value:.3f} (s.e. {error:.4f})", f"{accuracy:.1%}"]
    if not other:
        return [*row, "-", "-", "-"]
    their, their_error = spread([each.auc for each in other])
    allowed = np.nanmax([TOLERANCE, 2 * error])
    said = f"{value - their:+.3f} ({'within' if abs(value - their) <= allowed else 'beyond'} {allowed:.3f})"
    return [*row, f"{their:.3f} (s.e. {their_error:.4f})", f"{spread([o.accuracy for o in other])[0]:.1%}", said]


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("run", type=Path, help="a run folder, such as runs/demo")
    arguments.add_argument("--victims", type=int, nargs="+", default=[0, 1, 2, 3], help="default: 0 1 2 3")
    arguments.add_argument("--shadows", type=int, nargs="+", default=[4, 5, 6, 7, 8], help="default: 4 5 6 7 8")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    arguments.add_argument("--attacks", nargs="+", choices=[*LEARNED, "threshold"], default=[*LEARNED, "threshold"])
    arguments.add_argument("--epochs", type=int, default=EPOCHS, help="of attacks that learn; default: %(default)s")
    arguments.add_argument("--theirs", type=Path, help="a folder with mia_prune's code")
    arguments.add_argument("--data-root", type=Path, help="where data sets lie")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    if chosen.theirs:
        sys.path.insert(0, str(chosen.theirs))
    print(machine())
    signals = bank(chosen.run, [*chosen.victims, *chosen.shadows], chosen.data_root)
    num_victims = len(chosen.victims)
    victims, shadows = (signals.take_models(rows) for rows in np.split(np.arange(signals.num_models), [num_victims]))
    attack_input = AttackInput.of([victims], [shadows])
    print(f"victims {chosen.victims}, shadows {chosen.shadows}, {int(attack_input.reference.ordinary.sum()):,} rows\n")
    rows = []
    for name in (name for name in LEARNED if name in chosen.attacks):
        assert issubclass(ATTACKS.get(name), ClassifierAttack)
        plugin = Plugin(name=name, options={"preset": PRESET, "epochs": chosen.epochs})
        mine = over_seeds(f"ours, {name}", partial(ours, attack_input, plugin), chosen.seeds)
        other = (
            over_seeds(f"theirs, {name}", partial(theirs, attack_input, name, chosen.epochs), chosen.seeds)
            if chosen.theirs
            else []
        )
        rows.append(learned_row(name, mine, other))
    if rows:
        header = ["attack", "ours, AUC", "accuracy", "theirs, AUC", "accuracy", "AUC, ours less theirs"]
        print("\n" + table(header, rows))
    if "threshold" in chosen.attacks:
        their = their_thresholds(attack_input) if chosen.theirs else {}
        mine_by_label = {plugin.label: ours(attack_input, plugin, 0) for plugin in expand([Plugin(name="threshold")])}
        lines = [
            [f"`{label}`", f"{found.accuracy:.1%}", f"{their[label]:.1%}" if their else "-"]
            for label, found in mine_by_label.items()
        ]
        print("\n" + table(["threshold", "ours, accuracy", "theirs, accuracy"], lines))


if __name__ == "__main__":
    main()

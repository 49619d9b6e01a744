"""Replays CompLeak's queries on a finished run, next to equal queries. The replay is not an audit.

CompLeak (arXiv 2507.16872) loads members through the loader of its training, which crops and flips them for each query
and network, but loads non-members without this. So its attacks detect cropped samples. With two releases they detect
more: both releases get the same image of a non-member, but two different images of a member.

The replay keeps the networks, the attacks and their cross-fitting, and changes only which samples are cropped:

| queries | members | others | an audit |
|---|---|---|---|
| as released | cropped | plain | no |
| plain | plain | plain | yes |
| cropped | cropped | cropped | yes |

Its networks (SAMIA) also keep the epoch that is best on the victim. Attacks that train a network are therefore played
twice: with the epoch chosen on references, and with the victim's best epoch, which is not an audit either. That network
learns from all references outside the victim's fold.

Each attack is played on real members, and on samples that no network was trained on, half of them called members.
There, every difference of the AUC from 0.5 comes from the queries. An audit never plays these queries: `Signals`
refuses asymmetric ones where it can see them, and placebo rows reveal the others (`evaluation/placebo.py`).
"""

# M models, N samples, C classes

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator, torch_generator
from pruneaudit.core.registry import nearest
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.augment import AUGMENTATIONS
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.task_context import stored_model
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.metrics import auc_influence, two_way
from pruneaudit.published.compleak_epochs import best_on_victims
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.parts import MIN_HOLDOUT
from pruneaudit.training.predict import predict
from pruneaudit.training.samples import Samples

NO_AUDIT = (
    "This is not an audit. The rows 'as released' query members in another way than non-members, as CompLeak's code "
    "does; the rows 'best on the victim' choose the epoch by the victim's members. They measure these faults."
)
AS_RELEASED, PLAIN, CROPPED = "as released", "plain", "cropped"
QUERIES = (AS_RELEASED, PLAIN, CROPPED)
"""The samples that are cropped: only members, none, all."""
ON_REFERENCES, ON_VICTIM = "chosen on references", "best on the victim"
"""How the epoch of a network is chosen."""
MEMBERS, NOBODYS = "real members", "nobody trained on"
ATTACKS = ("posterior_rf", "pair_rf")
"""Its forests: NR and SR2."""


def replay(
    run: str | Path,
    releases: Sequence[str] = (),
    attacks: Sequence[str] = ATTACKS,
    device: str = "cpu",
    jobs: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Replays CompLeak's queries on the networks of a finished run, beside equal queries; writes nothing.

    Args:
        run: the run's folder; its networks take images.
        releases: the releases to attack; default: all. Attacks on two releases see the dense networks too.
        attacks: attacks that need no more than posteriors, such as `pair_lr:label=false`.
        device: where to query the networks.
        jobs: attacks to play at a time.
        say: called with a progress message.

    Returns:
        A row for each kind of samples, kind of queries, release and attack: AUC with its 95% interval, and whether an
        audit may ask in this way (`is_audit`).

    Raises:
        UserError: the run is not finished, a release or attack is unknown, an attack needs more than posteriors, the
            samples are no images, or fewer than 200 samples are left that influenced no network.

    Example:
        >>> from pruneaudit.published.compleak_protocol import replay
        >>> found = replay("runs/compleak-fashion", ["pruning-0.7"])  # doctest: +SKIP
    """
    held = RunFolder.open(run)
    plan, audit_data = held.finished()
    asked = _checked(plan, audit_data, releases)
    played, seed = ready(attacks), plan.study.seed
    answers = {}
    for release in dict.fromkeys((DENSE, *asked)):
        say(f"querying {release}")
        answers[release] = _Answers.of(held, plan, audit_data, release, device)
    unused = np.logical_and.reduce([each.signals.untouched_holdout for each in answers.values()])
    if unused.sum() < MIN_HOLDOUT:
        raise UserError(
            f"{run}: {unused.sum()} samples influenced no network, expected {MIN_HOLDOUT} or more; set data.num_holdout"
            f" to {MIN_HOLDOUT} or more, and data.num_public for compressors that look at samples"
        )
    half = _half(np.flatnonzero(unused), answers[DENSE].signals.model_names, seed)
    work = [
        _Attacked(release, label, attack, [answers[name] for name in _seen(attack, release)], queries, called, epoch)
        for called in (half, None)
        for release in asked
        for label, attack in played.items()
        if release != DENSE or "two releases" not in attack.needs
        for queries in QUERIES
        for epoch in ((ON_REFERENCES, ON_VICTIM) if isinstance(attack, ClassifierAttack) else ("",))
    ]
    for one in work:
        if one.queries == PLAIN and (lack := one.attack.lacks(one.attack_input())):
            raise UserError(f"attack '{one.label}': needs {lack}; replay attacks on posteriors, such as {ATTACKS[0]}")
    with ThreadPoolExecutor(jobs) as workers:
        return pd.DataFrame(workers.map(lambda one: one.row(seed, say), work))


def _checked(plan: Plan, audit_data: AuditData, releases: Sequence[str]) -> list[str]:
    """Returns the releases to attack."""
    if audit_data.x.ndim != 4:
        raise UserError(f"replay: got samples of shape {audit_data.x.shape[1:]}, expected images, which can be cropped")
    known = plan.releases
    for name in releases:
        if name not in known:
            raise UserError(f"no release '{name}'{nearest(name, known)}; expected one of: {', '.join(known)}")
    return list(releases or known)


@dataclass(frozen=True, eq=False)
class _Answers:
    """The answers of one release's models to plain and to cropped samples."""

    signals: Signals
    """With the plain answers, and nothing beside them."""
    cropped: np.ndarray
    """(M, N, C) float32: to samples that were cropped and flipped for this model and release alone."""

    @classmethod
    def of(cls, held: RunFolder, plan: Plan, audit_data: AuditData, release: str, device: str) -> _Answers:
        """Reads the plain answers, and queries the networks once more."""
        stored = held.signals(plan, audit_data, release)
        signals = replace(stored, confidence=None, correct=None, sensitivity=None, forgotten=None)
        samples = Samples.of(audit_data, np.ones(len(audit_data.y), dtype=bool), device)
        cropped = []
        for model_id in map(int, signals.model_names):
            task, folder = held.model(plan, release, model_id)
            generator = torch_generator(plan.study.seed, seeds.COMPLEAK_VIEWS, release, model_id)

            def view(x: Any) -> Any:
                return AUGMENTATIONS["crop_flip"](x, generator)  # noqa: B023 - used only in this iteration

            network = stored_model(task.spec, audit_data, folder).to(device)
            cropped.append(predict(network, samples, view).numpy())
        return cls(signals, np.stack(cropped))

    def to(self, queries: str, called: _Called | None) -> Signals:
        """The signals under one kind of queries, for real members or for samples that are called members."""
        whole, plain = self.signals, self.signals.logits
        assert plain is not None  # a study stores logits
        samples = slice(None) if called is None else called.samples
        member = whole.member if called is None else called.member
        logits = {
            AS_RELEASED: np.where(member[..., None], self.cropped[:, samples], plain[:, samples]),
            PLAIN: plain[:, samples],
            CROPPED: self.cropped[:, samples],
        }[queries]
        if called is None:
            return replace(whole, logits=logits)
        return Signals(
            logits=logits,
            labels=whole.labels[samples],
            member=member,
            is_victim=whole.is_victim,
            group=whole.group,
            ids=whole.sample_ids[samples],
            model_ids=whole.model_names,
        )


@dataclass(frozen=True, eq=False)
class _Called:
    """Samples that nobody trained on, some of them called members."""

    samples: np.ndarray
    """(n,) int."""
    member: np.ndarray
    """(M, n) bool."""


def _half(samples: np.ndarray, model_ids: np.ndarray, seed: int) -> _Called:
    """Returns the samples, of which each model calls its own half members."""
    orders = [numpy_generator(seed, seeds.COMPLEAK_CALLED, int(model)).permutation(len(samples)) for model in model_ids]
    return _Called(samples, np.stack(orders) < len(samples) // 2)


def _seen(attack: Attack[Any], release: str) -> tuple[str, ...]:
    return (DENSE, release) if "two releases" in attack.needs else (release,)


@dataclass(frozen=True, eq=False)
class _Attacked:
    """One attack on one release under one kind of queries."""

    release: str
    label: str
    attack: Attack[Any]
    seen: Sequence[_Answers]
    queries: str
    called: _Called | None
    """None: real members."""
    epoch: str
    """How the epoch of a network is chosen; empty for other attacks."""

    def attack_input(self) -> AttackInput:
        """Returns the networks of the run, as victims and as references of one another."""
        releases = [each.to(self.queries, self.called) for each in self.seen]
        return AttackInput.of(releases, releases)

    def row(self, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
        """Plays the attack, with draws that do not depend on the queries, and measures it."""
        samples = MEMBERS if self.called is None else NOBODYS
        say(f"{samples}, {self.queries}: {self.label} on {self.release}")
        attack_input = self.attack_input()
        attacked, victims = attack_input.attacked, attack_input.victims
        rng = numpy_generator(seed, seeds.ATTACK, self.label, self.release)
        if self.epoch == ON_VICTIM and isinstance(self.attack, ClassifierAttack):
            scores = best_on_victims(self.attack, attack_input, rng)
        else:
            scores = self.attack.score(attack_input, rng).victims
        counted, member = np.where(attacked.ordinary[victims], scores, np.nan), attacked.member[victims]
        fewest = min(int((~np.isnan(counted) & side).sum(axis=1).min()) for side in (member, ~member))
        with one_blas_thread():
            auc = two_way(*auc_influence(counted, member), num_trials=fewest)
        return {
            **{"samples": samples, "queries": self.queries, "epoch": self.epoch},
            **{"is_audit": self.queries != AS_RELEASED and self.epoch != ON_VICTIM},
            **{"release": self.release, "attack": self.label},
            **{"auc": float(auc.value), "auc_low": float(auc.low), "auc_high": float(auc.high)},
            **{"num_victims": len(victims), "num_samples": int((~np.isnan(counted)).any(axis=0).sum())},
        }

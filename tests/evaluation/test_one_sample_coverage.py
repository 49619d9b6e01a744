"""Figures of one sample over victims: their bias, the exact test, and what depends on the choice of references.

`-rP` prints the tables. Networks are those of `record_worlds.trained`; where nothing may leak, their coins are drawn
again.
"""

# V victims, N samples

from functools import cache

import numpy as np
import pytest
from record_worlds import Bank, made_up, trained

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.disjoint import disjoint, halves
from pruneaudit.attacks.lira import Lira
from pruneaudit.attacks.record_scores import record_scores
from pruneaudit.attacks.rmia import Rmia
from pruneaudit.metrics import RecipeTest, auc, exposed_by_recipe
from pruneaudit.metrics.detection import barriers
from pruneaudit.metrics.verdicts import fewest_named, jaccard, named_at, q_values

pytestmark = pytest.mark.slow
NUM_AUDITED, NUM_MODELS, NUM_DRAWS = 1500, 272, 6
RATE = 0.1


@cache
def networks() -> Bank:
    return trained(NUM_MODELS, NUM_AUDITED, seed=2)[0]


def some(bank: Bank, rows: np.ndarray) -> Bank:
    return Bank(bank.phi[rows], bank.member[rows])


def null_bank(world: str, num_models: int, rng: np.random.Generator) -> Bank:
    """A bank in which nothing depends on the coins."""
    if world == "normal":
        return made_up(num_models, NUM_AUDITED, rng).redrawn(rng)
    return some(networks(), rng.choice(NUM_MODELS, num_models, replace=False)).redrawn(rng)


def with_own(attack_input: AttackInput) -> AttackInput:
    """Every victim as one of its own references, as in a fit to all models."""
    return AttackInput.of(attack_input.releases, attack_input.references, np.ones_like(attack_input.allowed))


def sample_auc(scores: np.ndarray, member: np.ndarray) -> float:
    """The AUC of one sample over victims, mean over samples."""
    audited = slice(0, NUM_AUDITED)
    return float(np.nanmean(auc(scores[:, audited].T, member[:, audited].T)))


@pytest.mark.parametrize("num_models", [16, 32, 64, 128])
@pytest.mark.parametrize("world", ["normal", "dense"])
@pytest.mark.parametrize("attack", [Lira(), Rmia()], ids=["lira", "rmia"])
def test_a_sample_over_victims_is_biased_unless_references_are_disjoint(attack: Attack, world, num_models):
    rng, found = np.random.default_rng(num_models), []
    for draw in range(NUM_DRAWS):
        signals = null_bank(world, num_models, rng).signals
        usual = AttackInput.of([signals], [signals])
        apart, half = disjoint(usual, draw), halves(usual, draw)[0]
        one, own, other = (attack.score(given, rng).victims for given in (usual, with_own(usual), apart))
        in_halves = [sample_auc(other[half == which], signals.member[half == which]) for which in (0, 1)]
        found.append([sample_auc(one, signals.member), sample_auc(own, signals.member), np.mean(in_halves)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(NUM_DRAWS)
    figures = ", ".join(f"{value:.3f} +- {each:.3f}" for value, each in zip(mean, error, strict=True))
    print(f"{world} {attack.__class__.__name__} {num_models}: leave-one-out, own score left in, disjoint: {figures}")
    assert abs(mean[2] - 0.5) < 0.005
    if isinstance(attack, Lira):
        assert mean[0] < 0.48
        assert mean[1] > 0.52


@pytest.mark.parametrize("num_victims", [14, 28, 64])
def test_the_exact_test_names_nobody_where_nothing_leaks(num_victims):
    """If nothing leaks every list is wrong: at most a share `RATE` of all banks may have one that is not empty."""
    rng, is_listed, small, real = np.random.default_rng([1, num_victims]), [], [], []
    for draw in range(400):
        bank = some(networks(), rng.choice(NUM_MODELS, num_victims, replace=False))
        null = judged(bank.redrawn(rng))
        is_listed.append(num_named(null) > 0)
        small.append(np.mean(null.p_value <= 0.05))
        if draw < NUM_DRAWS:
            true = judged(bank)
            real.append((num_named(true), np.median(true.smallest), fewest_named(true.smallest, RATE)))
    number, smallest, fewest = np.mean(np.array(real, dtype=float), axis=0)
    print(
        f"{num_victims} victims, nothing leaks: lists {np.mean(is_listed):.3f}, p <= 5% {np.mean(small):.4f}; dense:"
        f" named {number:.0f}, smallest p {smallest:.1e}, fewest {fewest:.1f}"
    )
    assert np.mean(is_listed) <= RATE + 2 * np.sqrt(RATE * (1 - RATE) / len(is_listed))
    assert np.mean(small) <= 0.05 + 2 * np.std(small, ddof=1) / np.sqrt(len(small))


def judged(bank: Bank) -> RecipeTest:
    """Of the audited samples, by phi itself: references that are no victims would not change the ranks."""
    return exposed_by_recipe(bank.phi[:, :NUM_AUDITED], bank.member[:, :NUM_AUDITED])


def num_named(test: RecipeTest) -> int:
    return int(named_at(q_values(test.p_value[None]), RATE).sum())


@pytest.mark.parametrize("num_references", [8, 16, 32, 64, 128])
def test_two_sets_of_references_agree_more_the_larger_they_are(num_references):
    bank, rng = networks(), np.random.default_rng(num_references)
    found = {name: [] for name in ("lira online", "rmia online", "lira records", "rmia records")}
    for draw in range(NUM_DRAWS):
        order = rng.permutation(NUM_MODELS)
        victims, others = order[: NUM_MODELS - 256], order[NUM_MODELS - 256 :]
        signals = bank.signals
        lists = {name: [] for name in found}
        for place in (0, 1):
            rows = others[place * num_references : (place + 1) * num_references]
            attack_input = AttackInput.of([signals.take_models(victims)], [signals.take_models(rows)])
            for name, attack in (("lira", Lira()), ("rmia", Rmia())):
                lists[f"{name} online"].append(found_members(attack.score(attack_input, rng).victims, attack_input))
                each = record_scores(name, attack_input, range(len(victims)), draw)
                scores = np.stack([one.audited for one in each])
                lists[f"{name} records"].append(found_members(scores, attack_input))
        for name, (first, second) in lists.items():
            found[name].append(np.mean([jaccard(*rows) for rows in zip(first, second, strict=True)]))
    told = ", ".join(f"{name} {np.mean(each):.2f}" for name, each in found.items())
    print(f"{num_references} references: agreement on the members found at 2% false positives: {told}")
    assert all(np.mean(each) < 1 for each in found.values())
    assert num_references < 128 or min(np.mean(each) for each in found.values()) > 0.7


def found_members(scores: np.ndarray, attack_input: AttackInput) -> np.ndarray:
    """The members (V, N) that score above each victim's threshold at 2% false positives."""
    member = attack_input.attacked.member
    return (scores > barriers(scores, member, 0.02)[:, None]) & member

"""Families of releases: which sets are measured, marginal leakage, the consistency test, and its null."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.family import Deal
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import families
from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.columns import FAMILY_COLUMNS, MARGINAL_COLUMNS
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.families import FAMILY_ERROR, MARGIN, FamilyPlan, JointAttack, family_tables
from pruneaudit.evaluation.family_sets import edges_of, greedy_order, ordered, sets_of
from pruneaudit.metrics import auc_influence, difference_two_way, two_way
from pruneaudit.metrics.multiple import holm, holm_adjusted
from pruneaudit.signals.signals import Signals
from pruneaudit.study.post_processing import source_in

# V victims, N samples

LEVELS = (0.2, 0.1)


def made_release(gain, seed, num_models=12, num_samples=400, noise=1.0):
    """Logits of two classes with phi = difficulty + gain where trained on + noise; members and samples are common."""
    member = np.random.default_rng(0).random((num_models, num_samples)) < 0.5
    difficulty = np.random.default_rng(1).normal(1, 2, num_samples)
    own = np.random.default_rng([2, seed]).normal(0, noise, member.shape)
    phi = difficulty + gain * member + own
    return Signals(logits=np.stack([np.zeros_like(phi), phi], axis=2), labels=np.ones(num_samples, int), member=member)


@pytest.fixture(scope="module")
def releases():
    return {name: made_release(gain, seed) for seed, (name, gain) in enumerate(GAINS.items())}


GAINS = {"dense": 1.5, "again": 1.5, "pruned": 0.6, "useless": 0.0}


@pytest.fixture(scope="module")
def settings(releases):
    return bank_settings(releases, ["matched"])


@pytest.fixture(scope="module")
def tables(settings):
    rivals = ready(["rmia", "back_front"])
    plan = FamilyPlan((tuple(GAINS),), rivals=rivals, repeats={"again": "dense"}, post_processing={"pruned": "dense"})
    return {name: pd.DataFrame(table) for name, table in family_tables(settings, plan, LEVELS, 0).items()}


def test_every_set_of_a_small_family(tables):
    table = tables["families"]
    own = table[(table["attack"] == "family") & (table["metric"] == "auc")]
    expected = ["; ".join(each) for size in range(1, 5) for each in itertools.combinations(GAINS, size)]
    assert list(own["releases"]) == expected
    assert set(own["family"]) == {"; ".join(GAINS)}
    assert set(table["metric"]) == {"auc", "tpr_at_10%_fpr", "tpr_at_20%_fpr"}


def test_figures_are_those_of_the_stack(tables, settings, releases):
    table = tables["families"].set_index(["attack", "releases", "metric"])
    joint = JointAttack.of(settings, tuple(GAINS), LEVELS, 0)
    deal = Deal(joint.attack_input, 0)
    for names in (("pruned",), ("dense", "useless"), tuple(GAINS)):
        scores = deal.scores([deal.evidence(releases[name], releases[name]) for name in names])
        areas = [
            stats.mannwhitneyu(row[inside & known], row[~inside & known]).statistic
            / ((inside & known).sum() * (~inside & known).sum())
            for row, inside, known in zip(scores, releases["dense"].member, np.isfinite(scores), strict=True)
        ]
        row = table.loc[("family", "; ".join(names), "auc")]
        assert row["value"] == pytest.approx(np.mean(areas), abs=2e-3)  # a sample without references is unscored
        assert row["low"] < row["value"] < row["high"]


def test_no_set_is_below_its_best_part_by_the_margin(tables):
    table = tables["families"]
    own = table[(table["attack"] == "family") & (table["metric"] == "auc") & (table["num_releases"] > 1)]
    assert (own["difference"] > -MARGIN).all()
    best = own.set_index("releases")["best_part"]
    assert best["pruned; useless"] == "pruned"
    assert set(best[["dense; pruned", "dense; useless"]]) == {"dense"}


def test_marginal_leakage_telescopes_along_the_greedy_order(tables):
    edges, sets = tables["marginal_leakage"], tables["families"]
    steps = edges[(edges["metric"] == "auc") & edges["step"].notna()].sort_values("step")
    assert list(steps["step"]) == [1, 2, 3, 4]
    assert steps["added"].iloc[2] == "pruned" and steps["added"].iloc[3] == "useless"
    whole = sets[(sets["attack"] == "family") & (sets["metric"] == "auc") & (sets["num_releases"] == 4)]["value"].item()
    shown = steps["difference"]
    assert shown.notna().all()
    assert 0.5 + shown.sum() == pytest.approx(whole)


def test_what_is_news_adds_and_what_is_useless_adds_nothing(tables):
    table = tables["marginal_leakage"]
    rows = table[table["metric"] == "auc"].set_index(["given", "added"])
    again, useless = rows.loc[("dense", "again")], rows.loc[("dense", "useless")]
    assert again["low"] > 0.03
    assert abs(useless["difference"]) < MARGIN and useless["suppressed"] == ""
    assert again["repeats"] == "dense" and rows.loc[("again", "dense")]["repeats"] == "again"
    assert rows.loc[("pruned", "again")]["repeats"] == ""
    assert rows.loc[("dense", "pruned")]["post_processing_of"] == "dense"
    assert rows.loc[("again", "pruned")]["post_processing_of"] == ""
    assert rows.loc[("", "dense")]["difference"] == pytest.approx(
        tables["families"].query("releases == 'dense' and metric == 'auc'")["value"].item() - 0.5
    )


def test_p_values_and_holm_by_hand(settings, tables):
    joint = JointAttack.of(settings, tuple(GAINS), LEVELS, 0)
    quantity = joint.quantities[0]
    table = tables["marginal_leakage"]
    rows = table[table["metric"] == "auc"]
    p_values = []  # one-sided t tests
    for given, added in zip(rows["given"], rows["added"], strict=True):
        names = tuple(given.split("; ")) if given else ()
        after = joint.measured(ordered(tuple(GAINS), [*names, added]))[quantity]
        if names:
            found = difference_two_way(after, joint.measured(names)[quantity])
        else:
            found = two_way(after.values - 0.5, after.influence, bounds=(-1, 1))
        p_values.append(stats.t.sf((found.value + MARGIN) / found.std_error, found.freedom))
    np.testing.assert_allclose(rows["p_value"], p_values, rtol=1e-6)
    order = np.argsort(p_values)
    adjusted, highest = np.empty(len(order)), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1, p_values[index] * (len(order) - place)))
        adjusted[index] = highest
    np.testing.assert_allclose(rows["p_adjusted"], adjusted, rtol=1e-6)


def test_an_attack_that_loses_is_weak_and_says_nothing(settings, monkeypatch):
    """A stack that counts every release alike falls below its best part."""

    def summed(deal, seen):
        weights = np.ones(sum(len(each.victims) for each in seen))
        return np.tensordot(weights, np.concatenate([each.victims for each in seen]), axes=1).astype(float)

    monkeypatch.setattr(families.Deal, "scores", summed)
    found = family_tables(settings, FamilyPlan((("dense", "useless"),)), LEVELS, 0)["marginal_leakage"]
    rows = found.set_index(["given", "added", "metric"])
    weak = rows.loc[("dense", "useless")]
    assert weak["suppressed"].str.contains("weak").all()
    assert weak[["difference", "low", "high"]].isna().all(axis=None)
    assert (weak["p_adjusted"] > FAMILY_ERROR).all()
    assert rows.loc[("useless", "dense", "auc")]["suppressed"] == ""


def test_rivals_are_compared_on_the_whole_family(tables, settings):
    table = tables["families"]
    for label in ("rmia", "back_front"):
        row = table[(table["attack"] == label) & (table["metric"] == "auc")]
        assert list(row["releases"]) == ["; ".join(GAINS)]
        own = table[(table["attack"] == "family") & (table["metric"] == "auc") & (table["num_releases"] == 4)]
        assert row["difference"].item() == pytest.approx(row["value"].item() - own["value"].item(), abs=1e-9)
        assert row["difference_high"].item() < 0


def test_nothing_is_found_where_membership_is_redrawn(releases):
    coins = np.random.default_rng(8).random(releases["dense"].member.shape) < 0.5
    victims = {name: made_release(gain, 20 + seed) for seed, (name, gain) in enumerate(GAINS.items())}
    pairs = zip(victims.values(), releases.values(), strict=True)
    setting = {}
    for name, (victim, reference) in zip(GAINS, pairs, strict=True):
        others = Signals(victim.logits, victim.labels, coins, model_ids=np.arange(50, 62))
        setting[name] = (others, reference)
    given = [
        AttackSetting(name, "matched", AttackInput.of([victim], [reference]))
        for name, (victim, reference) in setting.items()
    ]
    found = family_tables(given, FamilyPlan((tuple(GAINS),)), LEVELS, 0)
    aucs = found["families"].query("metric == 'auc'")
    assert ((aucs["value"] - 0.5).abs() < 0.03).all()
    whole = aucs[aucs["num_releases"] == 4].iloc[0]
    assert whole["low"] < 0.5 < whole["high"]


def test_tables_have_the_columns_of_results(tables):
    assert set(FAMILY_COLUMNS) == set(tables["families"].columns)
    assert set(MARGINAL_COLUMNS) == set(tables["marginal_leakage"].columns)


def test_lattice_and_long_families():
    small, large = list("abcde"), list("abcdefgh")
    assert len(sets_of(small, small)) == 31
    assert len(edges_of(sets_of(small, small), small)) == 5 * 16
    steps = list("hgfedcba")
    found = sets_of(large, steps, ("a", "b"))
    assert len(found) == len(set(found)) < 60
    assert set(map(len, found)) == set(range(1, 9))
    assert {("a", "b", name) for name in "cdefgh"} <= set(found)  # what one more costs now
    assert all(pair > ("g", "h") or pair[1] == "h" for pair in found if len(pair) == 2 and pair != ("a", "b"))
    assert {tuple(name for name in large if name != left) for left in large} <= set(found)


def test_greedy_order_takes_the_largest_gain_each_time():
    worth = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 3.0}

    def leakage(chosen):
        return max(worth[name] for name in chosen) + 0.1 * ("a" in chosen) + 0.01 * len(chosen)

    assert greedy_order(list("abcd"), leakage) == ["b", "a", "c", "d"]
    assert greedy_order(["x", "y"], lambda chosen: float("nan")) == ["x", "y"]


def test_a_source_is_found_through_steps_without_data():
    made = {"int8": "pruned", "pruned": "dense", "odd": "odd"}
    assert source_in(("dense",), "int8", made) == "dense"
    assert source_in(("dense", "pruned"), "int8", made) == "pruned"
    assert source_in(("other",), "int8", made) == ""
    assert source_in(("dense",), "odd", made) == ""


def test_a_family_without_enough_is_refused(releases):
    few = {name: release.take_models(np.arange(3)) for name, release in releases.items()}
    with pytest.raises(UserError, match="at least 3 references"):
        family_tables(bank_settings(few, ["matched"]), FamilyPlan((("dense", "pruned"),)), LEVELS, 0)
    with pytest.raises(UserError, match=r"'prund'.*dense, again"):
        family_tables(bank_settings(releases, ["matched"]), FamilyPlan((("dense", "prund"),)), LEVELS, 0)


def test_holm_adjusted():
    p_values = [0.01, 0.04, np.nan, 0.03, 0.005]
    np.testing.assert_allclose(holm_adjusted(p_values), [0.04, 0.09, np.nan, 0.09, 0.025])
    assert list(holm(p_values, 0.04)) == [True, False, False, False, True]
    assert holm_adjusted([]).shape == (0,)


def test_the_p_value_of_an_estimate_is_that_of_its_interval():
    rng = np.random.default_rng(0)
    scores, member = rng.normal(size=(9, 200)), rng.random((9, 200)) < 0.5
    found = two_way(*auc_influence(scores + 0.3 * member, member))
    assert found.p_at_most(found.low) == pytest.approx(0.025, rel=1e-6)
    assert found.p_at_most(found.value) == pytest.approx(0.5)
    assert found.p_at_most(1.0) > 0.999


def test_one_network_with_references_of_its_own(releases):
    """The usual case of a user: one victim, a file of references for each release."""
    given = []
    for name, release in releases.items():
        victim, others = release.take_models(np.array([3])), release.take_models(np.delete(np.arange(12), 3))
        given.append(AttackSetting(name, "matched", AttackInput.of([victim], [others])))
    found = family_tables(given, FamilyPlan((tuple(GAINS),), released=("dense",)), LEVELS, 0)
    sets = found["families"].query("metric == 'auc'").set_index("releases")
    assert set(sets["num_victims"]) == {1}
    whole = sets.loc["; ".join(GAINS)]
    assert whole["low"] < whole["value"] < whole["high"] < 1
    assert whole["value"] > sets.loc["pruned"]["value"]
    edges = found["marginal_leakage"].query("metric == 'auc'").set_index(["given", "added"])
    assert edges.loc[("", "dense")]["low"] > 0.1
    assert edges.loc[("dense", "again")]["difference"] > 0


def test_releases_with_other_references_are_refused(releases):
    others = {name: release.take_models(np.arange(2, 12)) for name, release in releases.items()}
    given = [
        AttackSetting("dense", "matched", AttackInput.of([releases["dense"]], [releases["dense"]])),
        AttackSetting("pruned", "matched", AttackInput.of([releases["pruned"]], [others["pruned"]])),
    ]
    with pytest.raises(UserError):
        family_tables(given, FamilyPlan((("dense", "pruned"),)), LEVELS, 0)

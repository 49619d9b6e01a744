"""Canaries have findings of their own, and bounds on epsilon that hold."""

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.canaries import EVERY, HYPOTHESES, MIN_RUNS, Bounds
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.evaluating import Measuring, evaluate
from pruneaudit.metrics import (
    auc,
    best_threshold,
    guess_canaries,
    many_run_epsilon,
    one_run_epsilon,
    one_run_gaussian_epsilon,
)
from pruneaudit.signals.signals import Signals

NUM_CANARIES = 60
ATTACKS_PLAYED = ["loss", "lira", "rmia"]


@pytest.fixture
def planted(make_bank):
    """Ordinary samples tell nothing, canaries nearly everything."""
    bank = make_bank(10, 400, gain=0, num_canaries=NUM_CANARIES)
    strong = make_bank(10, 400, gain=8, num_canaries=NUM_CANARIES)
    logits = np.where(bank.canaries[:, None], strong.logits, bank.logits)
    return Signals(logits, bank.labels, bank.member, canary=bank.canary, model_ids=bank.model_ids)


def rows(found, attack, figure):
    table = found.results.canaries
    return table[(table["attack"] == attack) & (table["figure"] == figure)].set_index("victim")


def test_canaries_are_found_where_ordinary_samples_are_not(planted):
    found = audit(planted, attacks=ATTACKS_PLAYED, fpr_levels=(0.1,))
    ordinary = found.findings[found.findings["victim"] == "mean"].set_index("attack")
    for attack in ("lira", "rmia"):
        assert abs(ordinary.loc[attack, "auc"] - 0.5) < 0.05
        canaries = rows(found, attack, "auc").loc["mean"]
        expected = np.mean(
            [
                auc(scores[None], member[None])[0]
                for scores, member in zip(
                    found.scores[attack][:, planted.canaries], planted.member[:, planted.canaries], strict=True
                )
            ]
        )
        assert canaries["value"] == pytest.approx(expected)
        assert canaries["low"] > 0.9
        assert canaries["num_canaries"] == NUM_CANARIES


def test_one_run_bounds_are_those_of_declared_guesses(planted):
    bounds = Bounds(guesses=(0.5, 0.2), delta=1e-5)
    settings = bank_settings({"dense": planted}, ["matched"])
    found = evaluate(settings, ready(["lira"]), Measuring(0, (0.1,), bounds))
    table, scores = rows(found, "lira", "epsilon, one run"), found.scores["lira"][:, planted.canaries]
    included = planted.member[:, planted.canaries]
    shared = []
    for victim, values, truth in zip(planted.model_names, scores, included, strict=True):
        best = {}
        for alpha in (0.05 / 2, 0.05 / 2 / 10):
            scored = ~np.isnan(values)
            num = scored.sum()
            grid = [guess_canaries(values[scored], truth[scored], k, k) for k in (int(num * 0.2), int(num * 0.5))]
            best[alpha] = max(one_run_epsilon(num, *guessed, 1e-5, alpha) for guessed in grid)
        assert table.loc[str(victim), "value"] == pytest.approx(best[0.025], abs=1e-5)
        shared.append(best[0.0025])
    assert table.loc[EVERY, "value"] == pytest.approx(max(shared), abs=1e-5)
    assert table.loc[EVERY, "value"] > 1
    assert (table["delta"] == 1e-5).all()
    assert table["value"].drop(EVERY).max() >= table.loc[EVERY, "value"]


def test_the_gaussian_bound_takes_the_same_guesses_and_is_higher(planted):
    found = audit(planted, attacks=["lira"], fpr_levels=(0.1,))
    general, gaussian = (rows(found, "lira", figure) for figure in ("epsilon, one run", "epsilon, one run, Gaussian"))
    assert list(general.index) == list(gaussian.index)
    assert (gaussian["value"] > general["value"]).all()
    row = gaussian.drop(EVERY).iloc[0]
    grid_size = len(Bounds().guesses)
    expected = one_run_gaussian_epsilon(
        int(row["num_canaries"]), int(row["guesses"]), int(row["correct"]), 1e-5, 0.05 / grid_size
    )
    assert row["value"] == pytest.approx(expected)


def test_every_bound_says_what_it_holds_for_and_how_guesses_were_chosen(planted):
    table = audit(planted, attacks=["loss"], fpr_levels=(0.1,)).results.canaries
    bounds = table[table["figure"] != "auc"]
    assert [HYPOTHESES[figure] for figure in bounds["figure"]] == bounds["hypothesis"].tolist()
    assert set(bounds.loc[bounds["figure"].str.contains("one run"), "thresholds"]) == {"bonferroni"}
    assert set(table.loc[table["figure"] == "auc", "hypothesis"]) == {""}


def test_with_split_thresholds_half_of_the_canaries_choose_and_the_others_are_guessed_about(planted):
    bounds = Bounds(guesses=(0.5, 0.2), thresholds="split")
    settings = bank_settings({"dense": planted}, ["matched"])
    found = evaluate(settings, ready(["loss"]), Measuring(0, (0.1,), bounds))
    for figure, bound in (
        ("epsilon, one run", one_run_epsilon),
        ("epsilon, one run, Gaussian", one_run_gaussian_epsilon),
    ):
        table = rows(found, "loss", figure)
        assert set(table["thresholds"]) == {"split"}
        assert set(table["num_canaries"].drop(EVERY)) == {NUM_CANARIES // 2}
        for _, row in table.drop(EVERY).iterrows():  # the whole alpha, whatever number of pairs was tried
            counts = (int(row[key]) for key in ("num_canaries", "guesses", "correct"))
            assert row["value"] == pytest.approx(bound(*counts, 1e-5, 0.05), abs=1e-5)
        assert table.loc[EVERY, "value"] > 0.5
    again = evaluate(settings, ready(["loss"]), Measuring(0, (0.1,), bounds))
    assert found.results.canaries.equals(again.results.canaries)


def test_many_runs_use_each_tested_victim_once_and_a_threshold_of_the_others(planted):
    found = audit(planted, attacks=["loss", "lira"], fpr_levels=(0.1,))
    assert rows(found, "lira", "epsilon, many runs").empty  # its runs would share references
    row = rows(found, "loss", "epsilon, many runs").loc[EVERY]
    scores, included = found.scores["loss"][:, planted.canaries], planted.member[:, planted.canaries]
    limit = best_threshold(scores[::2].ravel(), included[::2].ravel())
    tested = [(scores[victim, i] >= limit, included[victim, i]) for i, victim in enumerate(range(1, 10, 2))]
    hits = sum(accused and inside for accused, inside in tested)
    alarms = sum(accused and not inside for accused, inside in tested)
    insiders = sum(inside for _, inside in tested)
    assert row["value"] == pytest.approx(many_run_epsilon(hits, insiders, alarms, 5 - insiders, 1e-5))
    assert row["guesses"] == 5


@pytest.mark.parametrize("name", [name for name in ATTACKS_PLAYED if name in ATTACKS.names()])
def test_nothing_to_find_gives_no_bound(name, make_bank):
    bank = make_bank(8, 300, gain=0, num_canaries=100)
    table = audit(bank, attacks=[name], fpr_levels=(0.1,)).results.canaries
    bounds = table[table["figure"].str.startswith("epsilon")]
    assert (bounds.loc[bounds["victim"] == EVERY, "value"] < 0.05).all()


def test_without_canaries_there_is_no_row_and_few_victims_give_no_many_run_bound(make_bank):
    assert audit(make_bank(4, 100), attacks=["loss"], fpr_levels=(0.1,)).results.canaries.empty
    few = audit(make_bank(MIN_RUNS - 1, 100, num_canaries=20), attacks=["loss"], fpr_levels=(0.1,)).results.canaries
    assert set(few["figure"]) == {"auc", "epsilon, one run", "epsilon, one run, Gaussian"}


def test_a_canary_without_a_score_is_left_out_for_that_victim_alone(planted):
    member = planted.member.copy()
    member[1:, -7:] = False  # no IN reference for victim 0; for the others, victim 0 is one where it is a member
    member[0, -7:] = True
    bank = Signals(planted.logits, planted.labels, member, canary=planted.canary)
    found = audit(bank, attacks=["lira"], fpr_levels=(0.1,))
    table = rows(found, "lira", "epsilon, one run")
    scored = (~np.isnan(found.scores["lira"][:, planted.canaries])).sum(axis=1)
    assert table["num_canaries"].drop(EVERY).tolist() == scored.tolist()
    assert scored[0] <= NUM_CANARIES - 7 < scored[1:].min() + 7


@pytest.mark.slow
def test_the_bound_of_every_victim_exceeds_the_truth_in_at_most_5_percent(make_bank):
    """Scores by randomised response: the coin is told right with probability 1 / (1 + e^-1), so epsilon is 1."""
    rng, exceeded, trials = np.random.default_rng(0), 0, 300
    bank = make_bank(6, 260, gain=0, num_canaries=200)
    for _ in range(trials):
        member = rng.random(bank.member.shape) < 0.5
        told = member ^ (rng.random(member.shape) > 1 / (1 + np.exp(-1)))
        logits = np.zeros((*member.shape, 2))
        logits[..., 0] = np.where(told, 2, -2) + rng.normal(size=member.shape) * 1e-3
        signals = Signals(logits, np.zeros(260, int), member, canary=bank.canary)
        table = audit(signals, attacks=["loss"], fpr_levels=(0.1,)).results.canaries
        bound = table[(table["victim"] == EVERY) & (table["figure"] == "epsilon, one run")]["value"].item()
        exceeded += bound > 1
    assert exceeded <= 15 + 3 * np.sqrt(15)

"""Verdicts on records: the lists of a made-up bank, their counts, and what they promise where nothing leaks."""

# V victims, K references, N samples, Z nulls

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.disjoint import halves
from pruneaudit.attacks.record_scores import halves_of_references, record_scores
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import VERDICT_COLUMNS
from pruneaudit.evaluation.records import MODEL, RECIPE, RECORD_COLUMNS, Judging, lists
from pruneaudit.metrics import ppv, tpr_at_fpr
from pruneaudit.metrics.verdicts import rank_p_values, record_verdicts

NUM_MODELS, NUM_SAMPLES, NUM_HOLDOUT, RATE = 14, 850, 450, 0.2


def setting_of(victims, references=None, release="dense"):
    return AttackSetting(release, "matched", AttackInput.of([victims], [victims if references is None else references]))


def judged(settings, **more):
    found = list(lists(settings, Judging(**{"rate": RATE, "score": "lira", "seed": 0} | more)))
    return pd.DataFrame([one.row for one in found]), found


@pytest.fixture(scope="module")
def bank(make_bank):
    return make_bank(NUM_MODELS, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT)


@pytest.fixture(scope="module")
def found(bank):
    return judged([setting_of(bank)])


def test_there_is_a_list_for_each_victim_and_one_for_the_recipe(found, bank):
    table, made = found
    assert list(table.columns) == list(VERDICT_COLUMNS)
    assert table["kind"].tolist() == [MODEL] * NUM_MODELS + [RECIPE]
    assert table["victim"].tolist() == [str(model) for model in range(NUM_MODELS)] + [""]
    assert (table["suppressed"] == "").all()
    for one in made:
        assert list(one.records.columns) == list(RECORD_COLUMNS)
        assert len(one.records) == one.row["num_records"]
        assert one.records["named"].sum() == one.row["num_named"]
        assert one.records["p"].is_monotonic_increasing
        assert set(one.records["id"]) <= set(bank.sample_ids[NUM_HOLDOUT:])


def test_the_counts_of_a_victim_are_those_of_its_list(found, bank):
    table, made = found
    setting = setting_of(bank).attack_input
    (own,) = record_scores("lira", setting, [4], 0)
    verdicts = record_verdicts(own.audited[None], own.nulls[None], RATE)
    named, member = verdicts.named[0], bank.member[4]
    row, records = table.iloc[4], made[4].records
    assert records.set_index("id").loc[500, ["p", "q"]].tolist() == [
        verdicts.p_values[0, 500],
        verdicts.q_values[0, 500],
    ]
    assert set(records.loc[records["named"] == 1, "id"]) == set(np.flatnonzero(named))
    assert (records["class"].to_numpy() == bank.labels[records["id"]]).all()
    num_nulls = int(setting.nulls.sum())
    assert (row["num_nulls"], row["num_references"], row["smallest_p"]) == (num_nulls, 13, 1 / (num_nulls + 1))
    assert row["num_named"] == named.sum() > 20
    assert row["num_named_nonmembers"] == (named & ~member).sum()
    assert row["share_nonmembers"] == pytest.approx((named & ~member).sum() / named.sum())
    share_found = (named & member).sum() / (member & ~np.isnan(own.audited)).sum()
    largest = verdicts.p_values[0, named].max()
    assert (row["share_found"], row["largest_p"]) == (share_found, largest)
    assert row["ppv_at_10%"] == pytest.approx(ppv(share_found, largest, 0.1))
    assert row["fewest"] == np.ceil(row["num_records"] / (num_nulls + 1) / RATE)
    assert row["num_named"] >= row["fewest"]


def test_agreement_is_that_of_two_disjoint_sets_of_references(found, bank):
    table, _ = found
    both = [
        next(record_scores("lira", half, [2], 0)) for half in halves_of_references(setting_of(bank).attack_input, 0)
    ]
    named, members_found = [], []
    for half in both:
        named.append(set(np.flatnonzero(record_verdicts(half.audited[None], half.nulls[None], RATE).named[0])))
        others = np.sort(half.audited[~bank.member[2] & ~np.isnan(half.audited)])[::-1]
        threshold = others[int(0.02 * len(others))]  # at most 2% of the non-members lie above
        members_found.append(set(np.flatnonzero((half.audited > threshold) & bank.member[2])))
        rate = tpr_at_fpr(half.audited[None], bank.member[[2]], (0.02,))[0, 0]
        assert len(members_found[-1]) == pytest.approx(rate * (bank.member[2] & ~np.isnan(half.audited)).sum())
    for column, (one, other) in (("agreement_named", named), ("agreement_found", members_found)):
        assert table[column][2] == pytest.approx(len(one & other) / len(one | other))


def exact_p(scores, inside):
    """The share of all ways to choose the victims trained on a sample that have their scores win as often or more."""

    def wins(chosen):
        return sum(scores[i] > scores[o] for i in chosen for o in set(range(len(scores))) - set(chosen))

    ours = wins(np.flatnonzero(inside).tolist())
    return np.mean([wins(chosen) >= ours for chosen in combinations(range(len(scores)), int(inside.sum()))])


def test_the_recipe_is_judged_over_all_victims_without_references(found, bank):
    table, made = found
    row, records = table.iloc[-1], made[-1].records.set_index("id")
    assert (row["score"], row["num_victims"], row["num_references"]) == ("loss", NUM_MODELS, 0)
    for sample in (451, 620):
        p_value = exact_p(bank.phi[:, sample, 0], bank.member[:, sample])
        assert records.loc[sample, "p"] == pytest.approx(p_value)
    assert row["smallest_p"] == pytest.approx(1 / 3432)  # of 14 victims 7
    assert np.isnan(row["share_nonmembers"])  # nobody is a non-member of a recipe
    assert row["num_named"] > 100


def test_with_references_half_of_the_bank_is_judged_and_ranked_alike(bank):
    table, made = judged([setting_of(bank)], recipe_score="lira")
    row = table.iloc[-1]
    attack_input = setting_of(bank).attack_input
    of_victims, _ = halves(attack_input, 0)
    first = np.flatnonzero(of_victims == 0)
    assert (row["num_victims"], row["num_references"]) == (len(first), NUM_MODELS - len(first)) == (7, 7)
    records = made[-1].records.set_index("id").sort_index()  # without samples that all references were trained on
    for sample in records.index[100:103]:  # references that are no victims move and stretch all victims' scores alike
        p_value = exact_p(bank.phi[first, sample, 0], bank.member[first, sample])
        assert records.loc[sample, "p"] == pytest.approx(p_value)
    assert row["smallest_p"] == pytest.approx(1 / 35)  # of 7 victims 3 or 4
    rmia, _ = judged([setting_of(bank)], recipe_score="rmia")
    loss, _ = judged([setting_of(bank)])
    assert rmia["num_named"].iloc[-1] == row["num_named"] < loss["num_named"].iloc[-1]


def test_some_victims_alone_have_no_list_of_the_recipe(found, bank):
    table, _ = judged([setting_of(bank)], victims=("3", "11"))
    assert table["victim"].tolist() == ["3", "11"]
    assert table["num_named"].tolist() == found[0]["num_named"][[3, 11]].tolist()


def test_stability_is_the_agreement_with_the_release_that_is_repeated(make_bank):
    names = ("pruned", "again", "other")
    settings = [
        setting_of(make_bank(6, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT, noise_seed=seed), release=name)
        for seed, name in enumerate(names)
    ]
    table, made = judged(settings, repeats={"again": "pruned"})
    of_models = table[table["kind"] == MODEL]
    assert of_models["repeats"].tolist() == [""] * 6 + ["pruned"] * 6 + [""] * 6
    by_list = {(one.row["release"], one.row["victim"]): one.records for one in made}
    first, again = (set(by_list[name, "2"].query("named == 1")["id"]) for name in names[:2])
    row = of_models[(of_models["release"] == "again") & (of_models["victim"] == "2")].iloc[0]
    assert row["stability"] == pytest.approx(len(first & again) / len(first | again))
    assert 0 < row["stability"] < 1
    assert of_models.loc[of_models["release"] != "again", "stability"].isna().all()
    alone, _ = judged(settings[1:2], repeats={"again": "pruned"})  # the first one is not asked for
    assert alone["stability"].isna().all()


def test_victims_without_references_are_judged_by_their_loss(make_bank):
    bank = make_bank(3, NUM_SAMPLES, gain=6.0, num_holdout=NUM_HOLDOUT)
    setting = AttackSetting("dense", "matched", AttackInput.of([bank], []))
    table, made = judged([setting], score="loss")
    of_models = table[table["kind"] == MODEL]
    assert (of_models["num_references"] == 0).all()
    assert of_models[["agreement_named", "agreement_found"]].isna().all(axis=None)
    p_values = rank_p_values(bank.phi[1, NUM_HOLDOUT:, 0][None], bank.phi[1, bank.nulls, 0][None])[0]
    assert sorted(p_values) == made[1].records["p"].tolist()


def test_references_of_their_own_serve_all_victims(make_bank):
    """External references are no victims: all victims are compared with all of them, for the recipe too."""
    bank = make_bank(6, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT)
    others = make_bank(10, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT, seed=5, first_id=50)
    table, _ = judged([setting_of(bank, others)], recipe_score="lira")
    assert (table["num_references"] == 10).all()
    assert table["num_victims"].iloc[-1] == 6
    assert table["smallest_p"].iloc[-1] == pytest.approx(1 / 20)
    assert table["fewest"].iloc[-1] == 400 / 20 / RATE
    strict, _ = judged(
        [setting_of(bank, others)], rate=0.01, recipe_score="lira"
    )  # 400 samples at 1 / 20 are above 1% * 400 / 400
    assert np.isnan(strict["fewest"].iloc[-1])
    few, _ = judged([setting_of(bank, others.take_models(np.arange(2)))], recipe_score="rmia")
    assert "2 references" in few["suppressed"].iloc[-1]
    assert np.isnan(few["num_named"].iloc[-1])


def test_protocol_disjoint_has_lists_too(make_bank):
    """Each group's references saw other samples than its victim: offline scores need no more."""
    bank = make_bank(12, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT)
    group, is_victim = np.repeat([0, 1], 6), np.tile(np.arange(6) == 0, 2)
    eligible, member = np.zeros((12, NUM_SAMPLES), dtype=bool), bank.member.copy()
    rng = np.random.default_rng(0)
    for each in (0, 1):
        mine = (rng.random(NUM_SAMPLES) < 0.5) & (np.arange(NUM_SAMPLES) >= NUM_HOLDOUT)
        victim, shadows = 6 * each, np.arange(6 * each + 1, 6 * each + 6)
        eligible[victim], member[victim] = mine, member[victim] & mine
        member[shadows] &= ~mine
    phi = np.random.default_rng(1).normal(size=member.shape) + 4.0 * member
    logits = np.stack([np.zeros_like(phi), phi], axis=2)
    held_out = np.arange(NUM_SAMPLES) < NUM_HOLDOUT
    signals = type(bank)(
        logits, np.ones(NUM_SAMPLES, dtype=int), member, eligible, is_victim=is_victim, group=group, holdout=held_out
    )
    table, _ = judged([setting_of(signals)])
    of_models = table[table["kind"] == MODEL]
    assert (of_models["num_named"] > 20).all()
    assert (of_models["share_nonmembers"] < 2 * RATE).all()
    assert of_models["num_records"].tolist() == eligible[is_victim].sum(axis=1).tolist()


def test_where_nothing_leaks_lists_are_empty_but_for_the_nominal_rate(make_bank):
    """Every name is then false. With the rate q a list has any at all in at most q of the victims."""
    any_named, banks = {MODEL: [], RECIPE: []}, 12
    for seed in range(banks):
        table, _ = judged([setting_of(make_bank(12, 800, gain=0.0, num_holdout=NUM_HOLDOUT, seed=seed))])
        for kind, rows in table.groupby("kind"):
            any_named[kind] += (rows["num_named"] > 0).tolist()
    error = np.sqrt(RATE * (1 - RATE) / banks)  # victims of one bank share their samples
    assert max(map(np.mean, any_named.values())) <= RATE + 2 * error


def test_the_realised_share_of_nonmembers_is_at_most_the_nominal_one(make_bank):
    shares = []
    for seed in range(6):
        table, _ = judged([setting_of(make_bank(10, NUM_SAMPLES, gain=4.0, num_holdout=NUM_HOLDOUT, seed=seed))])
        shares.append(table[table["kind"] == MODEL]["share_nonmembers"].fillna(0).mean())
    assert np.mean(shares) <= RATE / 2 + 2 * np.std(shares) / np.sqrt(len(shares))  # half are members

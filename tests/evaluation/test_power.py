"""Power against the number of references: the curves, subset by subset, against a loop."""

# V victims, K references, N samples, S subsets

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.given import given_settings
from pruneaudit.evaluation.power import Drawing, nested_places, power_rows, subset_sizes
from pruneaudit.evaluation.power_attacks import power_attacks
from pruneaudit.metrics import auc, tpr_at_fpr
from pruneaudit.signals.signals import Signals

LEVELS = (0.1,)
TPR = "tpr_at_10%_fpr"


def setting_of(signals):
    return AttackSetting("dense", "matched", AttackInput.of([signals], [signals]))


def table(setting, attacks=("lira", "rmia"), **drawing):
    rows = power_rows([setting], ready(list(attacks)), Drawing(LEVELS, seed=0, **drawing))
    return pd.DataFrame(rows)


def of(found, **chosen):
    for column, value in chosen.items():
        found = found[found[column] == value]
    return found


@pytest.fixture(scope="module")
def bank(make_bank):
    return make_bank(7, 460, num_holdout=220)


def scores_by_hand(signals, label, victim, references):
    """Scores (N,) of one victim, from signals that hold nobody else than it and these references."""
    rows = [victim, *references]
    own = signals.take_models(np.array(rows))
    allowed = np.array([[False] + [True] * len(references)])
    attack_input = replace(AttackInput.of([own], [own]), victims=np.array([0]), allowed=allowed)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = next(iter(ready([label]).values())).score(attack_input, np.random.default_rng(0)).victims
    return np.where(own.ordinary[0], found[0], np.nan)


@pytest.mark.parametrize("label", ["lira", "rmia", "calibration", "attack_r", "rmia:mode=offline:a=0.5"])
def test_each_value_is_the_mean_over_subsets_that_are_played_alone(bank, label):
    setting = setting_of(bank)
    drawing = Drawing(LEVELS, seed=0, num_subsets=3)
    found = pd.DataFrame(power_rows([setting], ready([label]), drawing))
    places = nested_places(setting.attack_input, drawing)
    for count in (2, 4):
        areas, rates, shares = [], [], []
        for v in range(7):
            member = bank.member[[v]]
            scores = [scores_by_hand(bank, label, v, np.flatnonzero(place[v] < count)) for place in places]
            areas.append(np.mean([auc(one[None], member)[0] for one in scores]))
            rates.append(np.mean([tpr_at_fpr(one[None], member, LEVELS)[0, 0] for one in scores]))
            shares.append(np.mean([np.isfinite(one).sum() / bank.ordinary[v].sum() for one in scores]))
        row = of(found, kind="measured", num_references=count, samples="scored", metric="auc").iloc[0]
        assert row["value"] == pytest.approx(np.mean(areas), abs=1e-12)
        assert row["share_scored"] == pytest.approx(np.mean(shares), abs=1e-12)
        assert (row["lowest"], row["highest"]) == pytest.approx((min(areas), max(areas)), abs=1e-12)
        row = of(found, num_references=count, samples="scored", metric=TPR).iloc[0]
        assert np.isnan(row["value"]) or row["value"] == pytest.approx(np.mean(rates), abs=1e-12)


def test_subsets_are_nested_without_replacement_and_the_same_for_every_release(bank):
    drawing = Drawing(LEVELS, seed=0, num_subsets=4)
    places = nested_places(setting_of(bank).attack_input, drawing)
    assert places.shape == (4, 7, 7)
    for place in places:
        for v in range(7):
            assert sorted(place[v]) == [0, 1, 2, 3, 4, 5, 7]  # each once; the victim has no place
            assert place[v, v] == 7
    assert len({place.tobytes() for place in places}) == 4
    assert (nested_places(setting_of(bank).attack_input, replace(drawing, seed=1)) != places).any()
    turned = bank.take_models(np.arange(7)[::-1])  # an order of rows is no order of models
    again = nested_places(setting_of(turned).attack_input, drawing)
    assert (again[:, ::-1, ::-1] == places).all()


def test_sizes_are_powers_of_two_and_all():
    assert list(map(subset_sizes, (1, 3, 8, 27))) == [(1,), (1, 2, 3), (1, 2, 4, 8), (1, 2, 4, 8, 16, 27)]


def test_with_all_references_the_figures_are_those_of_the_findings(bank):
    attacks = ["lira", "rmia", "rmia:mode=offline", "attack_r"]
    found = audit(bank, attacks=attacks, fpr_levels=LEVELS)
    setting = given_settings({"signals": bank}, None, "signals")[0]
    rows = of(table(setting, attacks, num_subsets=1), kind="measured", num_references=6, samples="scored")
    assert set(rows["num_subsets"]) == {1}
    for attack in attacks:
        means = of(found.findings, attack=attack, victim="mean").iloc[0]
        for metric in ("auc", TPR):
            row = of(rows, attack=attack, metric=metric).iloc[0]
            expected = [means[f"{metric}{end}"] for end in ("", "_low", "_high")]
            assert [row["value"], row["low"], row["high"]] == pytest.approx(expected, abs=1e-12)


def test_the_share_of_scored_samples_is_that_of_samples_with_both_kinds():
    # Two references. Sample by sample, how many of them are members: 0 1 1 2 1 0; online needs one of each kind.
    member = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0]], dtype=bool)
    rng = np.random.default_rng(0)
    signals = Signals(rng.normal(size=(3, 6, 3)), np.zeros(6, int), member, is_victim=np.array([True, False, False]))
    found = of(table(setting_of(signals), ["rmia"]), samples="scored", metric="auc")
    shares = dict(zip(found["num_references"], found["share_scored"], strict=True))
    assert shares == {1: 0.0, 2: 0.5}
    none = found[found["num_references"] == 1].iloc[0]
    assert np.isnan(none["value"]) and "references" in none["suppressed"]


def test_common_samples_are_those_that_the_fewest_references_allow(bank):
    found = of(table(setting_of(bank), ["rmia"], num_subsets=2), metric="auc", kind="measured")
    scored, common = of(found, samples="scored"), of(found, samples="common")
    assert common["value"].iloc[1] == scored["value"].iloc[1]  # two references, the fewest
    assert (common["value"].iloc[2:].to_numpy() != scored["value"].iloc[2:].to_numpy()).all()
    steps = common["value"].diff().iloc[2:].to_numpy()
    assert common["difference"].iloc[2:].to_numpy() == pytest.approx(steps, abs=1e-12)
    assert (common["difference_low"].iloc[2:] < common["difference"].iloc[2:]).all()


def test_one_victim_has_its_own_interval_and_the_spread_of_its_references(bank):
    one = replace(bank, is_victim=np.arange(7) == 3)
    found = of(table(setting_of(one), ["rmia"], num_subsets=3), metric="auc", samples="scored", kind="measured")
    assert set(found["num_victims"]) == {1}
    last = found.iloc[-1]
    alone = audit(one, attacks=["rmia"], fpr_levels=LEVELS).findings
    expected = of(alone, victim="mean").iloc[0]
    assert (last["low"], last["high"]) == pytest.approx((expected["auc_low"], expected["auc_high"]), abs=1e-12)
    others = setting_of(bank.take_models(np.array([0, 1, 2, 4, 5, 6])))  # each with five references, at most
    own = of(table(others, ["rmia"], num_subsets=3), metric="auc", samples="scored", num_references=5).iloc[0]
    assert (last["lowest"], last["highest"]) == pytest.approx((own["lowest"], own["highest"]), abs=1e-12)


def test_attacks_without_a_curve_are_refused_with_the_reason(bank, make_bank):
    settings = [setting_of(bank)]
    assert list(power_attacks((), settings)[0]) == ["lira", "rmia"]
    for name, words in (("loss", "no references"), ("nn", "train its networks")):
        with pytest.raises(UserError, match=words):
            power_attacks((name,), settings)
    is_victim = np.arange(7) == 0
    victim = replace(bank, member=bank.member & is_victim[:, None], is_victim=is_victim)  # OUT references only
    assert list(power_attacks((), [setting_of(victim)])[0]) == ["lira:mode=offline", "rmia:mode=offline"]
    alone = make_bank(1, 300)
    with pytest.raises(UserError, match="reference"):
        power_attacks((), [setting_of(alone)])
    played, notes = power_attacks(("scores",), settings)
    assert "rmia" in played and any("'loss'" in note for note in notes)

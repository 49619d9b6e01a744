"""Attacks on less than is stored: what the table `outputs` says, and that no other table changes."""

import json

import numpy as np
import pandas as pd
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import Here
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.outputs import output_rows, scores_of
from pruneaudit.evaluation.results import Results
from pruneaudit.signals.reduced_outputs import reduced
from pruneaudit.signals.signals import Signals
from pruneaudit.study.outputs import Outputs

# M models, N samples, C classes

LADDER = ("probabilities", "round:2", "round:1", "top:3", "top:1", "label")
ATTACKS = ("loss", "lira", "rmia")


def of(found, **chosen):
    """The rows of the table with these values."""
    rows = found.results.outputs
    for column, value in chosen.items():
        rows = rows[rows[column] == value]
    return rows


def value(found, **chosen):
    return of(found, **chosen)["value"].item()


def softmax32(logits):
    p = np.exp(logits.astype(float) - logits.max(axis=-1, keepdims=True))
    return (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def bank(make_bank):
    return make_bank(12, 660, num_holdout=400)


@pytest.fixture(scope="module")
def found(bank):
    return audit(bank, attacks=ATTACKS, outputs=LADDER)


def test_each_attack_has_what_is_stored_and_then_each_output(found):
    for attack in ATTACKS:
        rows = of(found, attack=attack, metric="auc")
        assert rows["outputs"].tolist() == ["logits", *LADDER]
        assert rows["difference"].isna().tolist() == [True, *[False] * len(LADDER)]


def test_the_first_row_is_the_finding(found):
    findings = found.findings[found.findings["victim"] == "mean"].set_index("attack")
    for attack in ATTACKS:
        row = of(found, attack=attack, metric="auc", outputs="logits").iloc[0]
        finding = findings.loc[attack]
        assert row[["value", "low", "high"]].tolist() == finding[["auc", "auc_low", "auc_high"]].tolist()
        assert value(found, attack=attack, metric="tpr_at_10%_fpr", outputs="logits") == finding["tpr_at_10%_fpr"]


def test_no_other_result_changes(bank, found, tmp_path):
    plain = audit(bank, attacks=ATTACKS)
    for name in ("findings", "comparisons", "curves", "classes", "ppv", "attack_comparisons"):
        pd.testing.assert_frame_equal(getattr(plain.results, name), getattr(found.results, name))
    assert plain.results.about == found.results.about
    assert plain.results.outputs.empty
    found.results.save(tmp_path)
    assert len(json.loads((tmp_path / "findings.json").read_text())["outputs"]) == len(found.results.outputs)
    pd.testing.assert_frame_equal(Results.load(tmp_path).outputs, found.results.outputs)
    plain.results.save(tmp_path)  # the same folder: nothing stale stays
    assert not (tmp_path / "outputs.csv").exists()
    assert "outputs" not in json.loads((tmp_path / "findings.json").read_text())
    assert Results.load(tmp_path).outputs.empty


def test_probabilities_give_what_their_logits_give(found):
    for attack in ATTACKS:
        assert abs(of(found, attack=attack, outputs="probabilities", metric="auc")["difference"].item()) < 1e-4


@pytest.mark.parametrize("name", ["round:1", "round:2"])
def test_an_output_gives_what_an_audit_of_such_predictions_gives(bank, found, name):
    decimals = int(name[-1])
    rounded = Signals(
        probabilities=np.round(softmax32(bank.logits), decimals),
        resolution=10.0**-decimals,
        **{each: getattr(bank, each) for each in ("labels", "member", "eligible", "model_ids")},
    )
    with pytest.warns(UserWarning, match="are 0 or 1 at their resolution"):
        given = audit(rounded, attacks=ATTACKS)
    means = given.findings[given.findings["victim"] == "mean"].set_index("attack")
    for attack in ATTACKS:
        assert value(found, attack=attack, outputs=name, metric="auc") == pytest.approx(
            means.loc[attack, "auc"], abs=3e-4
        )


def test_references_show_no_more_than_victims(make_bank):
    victims, references = make_bank(4, 300), make_bank(8, 300, seed=1, first_id=10)
    both = audit(victims, references, attacks=["lira"], outputs=["top:1"])
    less = [reduced(part, Outputs.parse("top:1")) for part in (victims, references)]
    given = audit(*less, attacks=["lira"])
    expected = given.findings[given.findings["victim"] == "mean"]["auc"].item()
    assert value(both, outputs="top:1", metric="auc") == pytest.approx(expected, abs=1e-12)


def test_several_releases_have_the_rows_that_each_has_alone(make_bank):
    releases = {"dense": make_bank(6, 200), "pruned": make_bank(6, 200, noise_seed=1, gain=0.8)}
    together = audit(releases, attacks=["lira", "rmia", "back_front"], outputs=["label"]).results.outputs
    alone = audit(releases["pruned"], attacks=["lira", "rmia"], outputs=["label"], name="pruned").results.outputs
    assert set(together.loc[together["attack"] == "back_front", "release"]) == {"pruned"}  # it compares two releases
    mine = together[(together["release"] == "pruned") & (together["attack"] != "back_front")]
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), alone)


def test_a_difference_is_paired(found):
    for attack in ATTACKS:
        stored = of(found, attack=attack, outputs="logits", metric="auc").iloc[0]
        for row in of(found, attack=attack, metric="auc").iloc[1:].itertuples():
            assert row.difference == pytest.approx(row.value - stored["value"], abs=1e-12)
            assert row.difference_low <= row.difference <= row.difference_high
    row = of(found, attack="rmia", outputs="round:1", metric="auc").iloc[0]
    assert row["difference_high"] - row["difference_low"] < (row["high"] - row["low"]) / 2


def test_less_output_shows_less_with_references(found):
    areas = [value(found, attack="rmia", outputs=name, metric="auc") for name in ("logits", "top:1", "label")]
    assert areas[0] > areas[1] > areas[2] > 0.5


def test_without_a_signal_nothing_is_found_at_any_output(make_bank):
    found = audit(make_bank(12, 600, gain=0.0), attacks=ATTACKS, outputs=LADDER)
    rows = of(found, metric="auc")
    assert len(rows) == len(ATTACKS) * (1 + len(LADDER))
    assert (abs(rows["value"] - 0.5) < 0.03).all()
    assert ((rows["low"] <= 0.5) & (rows["high"] >= 0.5)).all()


def test_the_area_of_a_label_is_that_of_the_accuracies(bank, found):
    right = bank.logits.argmax(axis=2) == bank.labels
    rates = [
        [right[row, side[row] & bank.scored[row]].mean() for side in (bank.member, ~bank.member)]
        for row in range(bank.num_models)
    ]
    expected = np.mean([(1 + inside - outside) / 2 for inside, outside in rates])
    assert value(found, attack="loss", outputs="label", metric="auc") == pytest.approx(expected, abs=1e-12)


def test_a_rate_that_ties_make_impossible_is_suppressed_with_the_share_that_ties(bank, found):
    row = of(found, attack="loss", outputs="label", metric="tpr_at_10%_fpr").iloc[0]
    assert np.isnan(row["value"])
    assert np.isnan(row["difference"])
    right = (bank.logits.argmax(axis=2) == bank.labels) & ~bank.member & bank.scored
    share = np.mean(right.sum(axis=1) / (~bank.member & bank.scored).sum(axis=1))
    assert row["tied"] == pytest.approx(share)
    assert "more than 10%" in row["suppressed"]
    assert "TPR at 10% FPR" in row["suppressed"]
    few = of(found, attack="rmia", outputs="label", metric="tpr_at_1%_fpr")["suppressed"].item()
    assert "non-members are needed" in few  # the reason of the findings comes first
    assert value(found, attack="rmia", outputs="label", metric="tpr_at_10%_fpr") > 0.1


@pytest.mark.parametrize("name", ["label", "round:1"])
@pytest.mark.parametrize("attack", ["lira", "rmia", "rmia:mode=offline", "calibration"])
def test_samples_with_the_same_outputs_tie(bank, name, attack):
    """Also where references give them in another order: the last digits of a sum depend on it."""
    less = reduced(bank, Outputs.parse(name))
    setting = AttackSetting("dense", "matched", AttackInput.of([less], [less]))
    scores = scores_of(ready([attack])[attack], attack, setting, Outputs.parse(name), 0)
    others = np.arange(1, bank.num_models)
    seen = {}
    for sample in np.flatnonzero(bank.scored[0]):
        phi, inside = less.phi[others, sample, 0], bank.member[others, sample]
        key = less.phi[0, sample, 0], tuple(np.sort(phi[inside])), tuple(np.sort(phi[~inside]))
        assert seen.setdefault(key, scores[0, sample]) == scores[0, sample] or np.isnan(scores[0, sample])
    assert len(seen) < bank.scored[0].sum()


def test_labels_of_queries_tell_more_than_one_label():
    rng = np.random.default_rng(0)
    member = rng.random((10, 400)) < 0.5
    phi = rng.normal(0, 1, 400)[:, None] + 1.5 * member[..., None] + rng.normal(size=(10, 400, 16))
    logits = np.stack([np.zeros((10, 400)), phi[..., 0]], axis=2)
    signals = Signals(logits=logits, labels=np.ones(400, dtype=int), member=member, confidence=phi, correct=phi > 0)
    found = audit(signals, attacks=["lira"], outputs=["label", "label:queries"])
    once, often = (value(found, outputs=name, metric="auc") for name in ("label", "label:queries"))
    assert often > once + 0.05


def test_given_probabilities_are_named_so(make_bank):
    bank = make_bank(6, 200)
    given = Signals(probabilities=softmax32(bank.logits), labels=bank.labels, member=bank.member)
    with pytest.warns(UserWarning, match="logits are not stored"):
        found = audit(given, attacks=["loss", "lira"], outputs=["logits", "probabilities", "round:1"])
    assert of(found, attack="lira", metric="auc")["outputs"].tolist() == ["probabilities", "round:1"]
    plain = found.findings[(found.findings["victim"] == "mean") & (found.findings["attack"] == "lira")]["auc"].item()
    assert value(found, attack="lira", outputs="probabilities", metric="auc") == plain


def test_attacks_that_train_are_not_repeated(bank):
    setting = AttackSetting("dense", "matched", AttackInput.of([bank], [bank]))
    rows, notes = output_rows([setting], ready(["nn"]), {}, [Outputs.parse("label")], (0.1,), 0)
    assert rows == []
    assert len(notes) == 1
    assert "'nn'" in notes[0]


@pytest.mark.parametrize("outputs", [["lables"], ["top:0"], ["round:x"], ["label:queries"], "label,top:0"])
def test_outputs_that_do_not_exist_are_refused_before_any_attack(make_bank, outputs):
    begun = []

    class Line:
        def say(self, text):
            begun.append(text)

    with pytest.raises(UserError) as caught:
        audit(make_bank(4, 60), attacks=["loss"], outputs=outputs, runtime=Here(progress=Line()))
    assert str(caught.value).startswith("outputs: got '")
    assert begun == []


def test_predicted_classes_determine_only_labels():
    rng = np.random.default_rng(0)
    given = Signals(
        predicted=rng.integers(3, size=(4, 60)), labels=rng.integers(3, size=60), member=rng.random((4, 60)) < 0.5
    )
    with pytest.raises(UserError, match=r"'top:1'.*predicted classes"):
        audit(given, attacks=["correctness"], outputs=["top:1"])
    found = audit(given, attacks=["correctness"], outputs=["label"])
    assert of(found, metric="auc")["outputs"].tolist() == ["label"]

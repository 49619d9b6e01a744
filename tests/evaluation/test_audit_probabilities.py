"""Audits of probabilities, predicted classes and one logit; and of files in which a model stands twice."""

import warnings

import numpy as np
import pytest

from command_line import succeed
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.report.selection import primary_attack
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes


def mean_auc(found, attack):
    rows = found.findings
    return rows[(rows["attack"] == attack) & (rows["victim"] == "mean")]["auc"].item()


def softmax(z):
    p = np.exp(z.astype(float) - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def renamed(bank, first, **changes):
    given = {"logits": bank.logits, "labels": bank.labels, "member": bank.member}
    return Signals(**given | {"model_ids": np.arange(first, first + bank.num_models)} | changes)


def test_probabilities_give_what_their_logits_give(make_bank):
    bank = make_bank(6, 150)
    given = Signals(probabilities=softmax(bank.logits), labels=bank.labels, member=bank.member)
    attacks = ["loss", "confidence", "entropy", "modified_entropy", "correctness", "lira", "rmia"]
    found, expected = audit(given, attacks=attacks), audit(bank, attacks=attacks)
    for attack in attacks:
        assert mean_auc(found, attack) == pytest.approx(mean_auc(expected, attack), abs=2e-3), attack
    told = found.results.about["probabilities"]
    assert told["floored"] == 0
    assert "lira" not in told
    assert found.results.about["primary"]["floored"] is False
    assert "probabilities" not in expected.results.about


@pytest.fixture(scope="module")
def forests():
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_digits(return_X_y=True)
    x, y = x[:200], y[:200]
    member = np.random.default_rng(0).random((4, 200)) < 0.5
    p = [RandomForestClassifier(20, random_state=i).fit(x[k], y[k]).predict_proba(x) for i, k in enumerate(member)]
    return {"probabilities": np.stack(p), "labels": y, "member": member}


def test_forests_with_exact_zeros_are_audited(forests):
    p = forests["probabilities"]
    assert (p == 0).mean() > 0.3
    signals = Signals(**forests)
    np.testing.assert_allclose(signals.resolution, [0.05, 0.05])
    with pytest.warns(UserWarning):
        found = audit(signals, attacks=["loss", "correctness", "lira", "rmia"])
    assert mean_auc(found, "loss") > 0.8  # forests know their members by heart
    assert np.isfinite(found.findings["auc"]).all()
    true = p[:, np.arange(200), forests["labels"]]
    told = found.results.about["probabilities"]
    assert any("(0.05)" in note for note in found.results.about["warnings"])
    assert told["floored"] == pytest.approx(np.isin(true, (0, 1)).mean())
    assert told["resolution_at_0"] == pytest.approx(0.05)
    assert told["lira_auc"] == pytest.approx(mean_auc(found, "lira"))
    assert told["floored"] > 0.01
    assert primary_attack(found.results) == "rmia"
    assert found.results.about["primary"]["floored"] is True


def test_forests_from_the_command_line(forests, tmp_path):
    np.savez(tmp_path / "forests.npz", **forests)
    succeed("audit", tmp_path / "forests.npz", "--attacks", "loss,correctness", "--out", tmp_path / "out")
    assert "0.05" in (tmp_path / "out" / "report.html").read_text()


def test_whether_lira_depends_on_the_floor_is_told(make_bank):
    bank = make_bank(8, 300)
    given = {"labels": bank.labels, "member": bank.member}
    with pytest.warns(UserWarning):
        found = audit(Signals(probabilities=softmax(bank.logits).round(1), **given), attacks=["lira"])
    told = found.results.about["probabilities"]
    assert told["lira_auc"] == pytest.approx(mean_auc(found, "lira"))
    moved = abs(told["lira_auc"] - told["lira_auc_finer"]) > 0.01
    assert moved == any("depends on that choice" in note for note in found.results.about["warnings"])


def test_predicted_classes_are_enough_for_correctness_and_for_nothing_else(make_bank):
    bank = make_bank(6, 150)
    classes = Signals(predicted=bank.logits.argmax(-1), labels=bank.labels, member=bank.member)
    found, expected = audit(classes, attacks=["correctness"]), audit(bank, attacks=["correctness"])
    assert mean_auc(found, "correctness") == mean_auc(expected, "correctness")
    right = classes.is_correct
    by_hand = [(r[m].mean() + 1 - r[~m].mean()) / 2 for r, m in zip(right, bank.member, strict=True)]
    assert mean_auc(found, "correctness") == pytest.approx(np.mean(by_hand))
    for attack in ("loss", "lira", "nn"):
        with pytest.raises(UserError, match=f"'{attack}' needs logits or probabilities") as caught:
            audit(classes, attacks=[attack])
        assert "correctness" in str(caught.value)


def test_equal_classes_are_warned_of(make_bank):
    bank = make_bank(4, 100)
    classes = bank.logits.argmax(-1)
    classes[3] = classes[1]
    with pytest.warns(UserWarning, match="models 1 and 3 predict the same class"):
        audit(Signals(predicted=classes, labels=bank.labels, member=bank.member), attacks=["correctness"])


def test_one_logit_for_two_classes():
    rng = np.random.default_rng(0)
    member, y = rng.random((8, 400)) < 0.5, rng.integers(0, 2, 400)
    z = rng.normal(size=member.shape) + np.where(y, 1, -1) * (1 + member)
    own = np.where(y, z, -z)
    by_hand = np.mean([(s[m][:, None] > s[~m]).mean() for s, m in zip(own, member, strict=True)])
    found = audit(Signals(logits=z, labels=y, member=member), attacks=["loss"])
    assert mean_auc(found, "loss") == pytest.approx(by_hand, abs=1e-6)


def test_a_copy_in_references_is_refused_under_another_id_only(make_bank):
    victims, others = make_bank(3, 100), make_bank(6, 100, seed=1, first_id=10)
    logits, member = others.logits.copy(), others.member.copy()
    logits[4], member[4] = victims.logits[1], victims.member[1]
    with pytest.raises(UserError, match=r"references: model 14 answers exactly as victim 1"):
        audit(victims, references=renamed(others, 10, logits=logits, member=member), attacks=["lira"])
    same = np.array([10, 11, 12, 13, 1, 15])
    found = audit(
        victims, references=renamed(others, 10, logits=logits, member=member, model_ids=same), attacks=["lira"]
    )
    assert not found.settings[0].setting.attack_input.allowed[1, 4]


def test_a_copy_among_probabilities_is_found_beside_logits(make_bank):
    victims, others = make_bank(3, 100), make_bank(6, 100, seed=1, first_id=10)
    logits, member = others.logits.copy(), others.member.copy()
    logits[4], member[4] = victims.logits[1], victims.member[1]
    given = {"logits": None, "probabilities": softmax(logits), "member": member}
    with pytest.raises(UserError, match=r"references: model 14 answers exactly as victim 1"):
        audit(victims, references=renamed(others, 10, **given), attacks=["lira"])


def test_a_lossless_release_is_legitimate_and_a_swapped_one_is_not(make_bank):
    bank = make_bank(4, 100)
    with pytest.warns(UserWarning, match="exactly as dense"):
        found = audit({"dense": bank, "packed": renamed(bank, 0)}, attacks=["loss"])
    assert np.isfinite(found.findings["auc"]).all()
    swapped = renamed(bank, 0, logits=bank.logits[[1, 0, 2, 3]])
    with pytest.raises(UserError, match=r"signals of dense: model 0 answers exactly as model 1 of signals of packed"):
        audit({"dense": bank, "packed": swapped}, attacks=["loss"])


@pytest.mark.parametrize("place", ["dense", "pruned"])
def test_a_victims_answers_in_the_other_release_are_no_reference(make_bank, place):
    dense, pruned = make_bank(3, 100), make_bank(3, 100, noise_seed=1)
    references = {
        "dense": make_bank(4, 100, first_id=10, seed=1),
        "pruned": make_bank(4, 100, first_id=10, seed=1, noise_seed=1),
    }
    logits = references[place].logits.copy()
    logits[2] = dense.logits[0]
    references[place] = renamed(references[place], 10, logits=logits)
    with pytest.raises(UserError, match=rf"references of {place}: model 12 answers exactly as victim 0 of"):
        audit({"dense": dense, "pruned": pruned}, references, attacks=["back_front"])


def test_victims_and_references_treat_a_zero_alike(make_bank):
    victims, others = make_bank(3, 100), make_bank(6, 100, seed=1, first_id=10)
    coarse, fine = softmax(victims.logits).round(1), softmax(others.logits).round(3)
    given = {"logits": None, "model_ids": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = audit(
            renamed(victims, 0, probabilities=coarse, **given),
            references=renamed(others, 10, probabilities=fine, **given),
            attacks=["lira"],
        )
    attack_input = found.settings[0].setting.attack_input
    np.testing.assert_allclose(attack_input.attacked.resolution, [0.001, 0.001])
    np.testing.assert_array_equal(attack_input.attacked.resolution, attack_input.reference.resolution)

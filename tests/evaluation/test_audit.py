"""The audit as users call it: what goes in, what comes out, what is refused, what is written."""

import json

import numpy as np
import pandas as pd
import pytest

import pruneaudit.evaluation.outcome as outcome
from pruneaudit.attacks import ATTACKS
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit, bank_settings
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.evaluation.results import Results
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Plugin

# V victims, N samples


def mean_of(found, attack, column="auc"):
    rows = found.findings[(found.findings["attack"] == attack) & (found.findings["victim"] == "mean")]
    return rows[column].item()


def test_everything_by_default(make_bank):
    found = audit(make_bank(6, 150))
    assert list(found.scores) == ["loss", "confidence", "entropy", "modified_entropy", "lira", "rmia"]
    for scores in found.scores.values():
        assert scores.shape == (6, 150)
    assert mean_of(found, "lira") > mean_of(found, "loss") > 0.6
    assert "<table" in found._repr_html_()
    assert not len(found.comparisons)


def test_attacks_by_name_text_and_option(make_bank):
    bank = make_bank(6, 150)
    found = audit(bank, attacks="loss, lira:mode=offline")
    assert list(found.scores) == ["loss", "lira:mode=offline"]
    given = audit(bank, attacks=[Plugin(name="lira", options={"mode": "offline"})])
    np.testing.assert_array_equal(given.scores["lira:mode=offline"], found.scores["lira:mode=offline"])
    assert list(audit(bank, attacks=["loss", "loss"]).scores) == ["loss"]


def test_all_leaves_out_what_lacks_something_with_a_warning(make_bank):
    with pytest.warns(UserWarning) as warned:
        found = audit(make_bank(1, 100), attacks="all")
    left_out = {name for name in ATTACKS.names() if ATTACKS.get(name).needs}
    assert set(found.scores) == set(ATTACKS.names()) - left_out
    told = {str(warning.message) for warning in warned}
    assert told == set(found.results.about["warnings"])
    assert len(told) == len(left_out)
    assert any("'lira' left out: it needs reference models" in text for text in told)
    assert any("'attack_p' left out: it needs at least 200 samples in half B of the holdout" in text for text in told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ["lyra"]}, r"unknown attack 'lyra' \(did you mean 'lira'\?\); expected one of: .*loss"),
        ({"attacks": ["lira:mood=offline"]}, r"options of attack 'lira': unknown key 'mood' \(did you mean 'mode'\?\)"),
        ({"attacks": ["rmia:gamma=0"]}, "options of attack 'rmia': 'gamma': got 0, expected: .*1"),
        ({"attacks": ["loss:"]}, "expected name:key=value"),
        ({"attacks": []}, "attacks: got none, expected some of: .*confidence"),
        ({"attacks": ""}, "unknown attack ''"),
        ({"attacks": ["loss", "lira"]}, "attack 'lira' needs reference models for every victim .* leave it out"),
        ({"fpr_levels": []}, r"fpr_levels: got \[\], expected rates above 0 and below 1"),
        ({"fpr_levels": [0.1, 0]}, r"fpr_levels: got \[0.1, 0\]"),
        ({"fpr_levels": [1.0]}, r"fpr_levels: got \[1.0\]"),
        ({"name": "n" * 81}, "name: got 81 characters .* at most 80"),
    ],
)
def test_what_is_refused(changes, message, make_bank):
    with pytest.raises(UserError, match=message):
        audit(make_bank(1, 60), **{"attacks": ["loss"], **changes})


def test_references_of_their_own(make_bank):
    victims, references = make_bank(2, 200), make_bank(8, 200, seed=1, first_id=10)
    found = audit(victims, references=references, attacks=["lira"])
    assert found.scores["lira"].shape == (2, 200)
    assert len(found.settings[0].setting.attack_input.reference.model_names) == 8
    assert mean_of(found, "lira") > 0.65
    assert np.isfinite(mean_of(found, "lira", "balanced_accuracy"))


def test_references_that_include_the_victims_do_not_serve_them(make_bank):
    everyone = make_bank(8, 200)
    victims = everyone.take_models(np.array([0, 1]))
    found = audit(victims, references=everyone, attacks=["lira"]).scores["lira"]
    np.testing.assert_allclose(found, audit(everyone, attacks=["lira"]).scores["lira"][:2])


def test_without_ids_equal_numbers_are_no_equal_models(make_bank):
    victims, references = make_bank(2, 100), make_bank(6, 100, seed=1)
    unnamed = Signals(references.logits, references.labels, references.member)
    attack_input = audit(victims, references=unnamed, attacks=["lira"]).settings[0].setting.attack_input
    assert attack_input.allowed.all()


def test_a_victim_is_never_its_own_reference(make_bank):
    bank = make_bank(6, 200, gain=0)
    unnamed = Signals(bank.logits, bank.labels, bank.member)
    with pytest.raises(UserError, match="answers exactly as victim 0"):
        audit(unnamed, references=unnamed, attacks=["lira"])
    renamed = Signals(bank.logits, bank.labels, bank.member, model_ids=np.arange(6) + 10)
    with pytest.raises(UserError, match="answers exactly as victim 0"):
        audit(bank, references=renamed, attacks=["lira"])
    found = audit(bank, references=bank, attacks=["lira"]).findings.set_index("victim").loc["mean"]
    assert found["auc_low"] < 0.5 < found["auc_high"]


def test_equal_seeds_give_equal_findings_and_the_seed_matters(make_bank):
    bank = make_bank(6, 200)
    one, same, other = (audit(bank, attacks=["loss", "lira"], fpr_levels=[0.1], seed=s).findings for s in (3, 3, 4))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)
    pd.testing.assert_series_equal(one["auc"], other["auc"])


def test_one_attack_more_changes_nothing_about_the_others(make_bank):
    bank = make_bank(6, 200)
    alone = audit(bank, attacks=["lira"]).findings
    among = audit(bank, attacks=["loss", "lira", "rmia"]).findings
    pd.testing.assert_frame_equal(among[among["attack"] == "lira"].reset_index(drop=True), alone)


def test_what_is_saved_can_be_read_again(make_bank, tmp_path):
    releases = {"dense": make_bank(4, 120, 1.5, 20, 10), "pruned": make_bank(4, 120, 0.5, 20, 10, noise_seed=1)}
    settings = bank_settings(releases, ("matched", "dense"))
    found = evaluate(
        settings, ready(["loss", "lira"]), Measuring(0), Known(ComparisonPlan(("dense",)), about={"name": "small"})
    )
    folder = found.save(tmp_path / "new" / "folder")
    loaded = Results.load(folder)
    pd.testing.assert_frame_equal(loaded.findings, found.findings, check_dtype=False)
    pd.testing.assert_frame_equal(loaded.comparisons, found.comparisons, check_dtype=False)
    primary = {"attack": "lira", "num_references": 3, "floored": False}
    assert loaded.about == {"name": "small", "warnings": [], "primary": primary}
    records = json.loads((folder / "findings.json").read_text())
    assert len(records["findings"]) == len(found.findings)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    scores = pd.read_parquet(folder / "scores.parquet")
    assert len(scores) == 3 * 4 * 100  # three attack settings, four victims, what is not the holdout
    chosen = scores[(scores["release"] == "pruned") & (scores["references"] == "dense") & (scores["model_id"] == 2)]
    assert chosen["sample_id"].tolist() == list(range(20, 120))
    assert chosen["canary"].tolist() == [n >= 110 for n in range(20, 120)]
    np.testing.assert_array_equal(chosen["member"], releases["pruned"].member[2, 20:])
    np.testing.assert_array_equal(chosen["lira"], found.scores["pruned/dense/lira"][2, 20:])


def test_saved_twice_gives_the_same_bytes(make_bank, tmp_path):
    bank = make_bank(4, 100)
    for name in ("one", "two"):
        audit(bank, attacks=["loss", "lira"]).save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_folder_that_cannot_be_written(make_bank, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot write there"):
        audit(make_bank(2, 60), attacks=["loss"]).save(tmp_path / "taken")


def test_attacks_are_compared_with_loss_and_the_primary_one_on_the_same_pairs(make_bank):
    bank = make_bank(8, 300, 1.5, 20, 0)
    found = audit(bank, attacks=["lira", "loss", "rmia"], fpr_levels=[0.1])
    assert list(dict.fromkeys(found.findings["attack"])) == ["lira", "loss", "rmia"]  # as declared
    assert list(found.scores) == ["lira", "loss", "rmia"]
    assert found.results.about["primary"] == {"attack": "rmia", "num_references": 7, "floored": False}
    attack_comparisons = found.results.attack_comparisons
    pairs = set(zip(attack_comparisons["attack"], attack_comparisons["against"], strict=True))
    assert pairs == {("lira", "loss"), ("rmia", "loss"), ("lira", "rmia")}
    mean = found.findings[found.findings["victim"] == "mean"].set_index("attack")
    for row in attack_comparisons[attack_comparisons["metric"] == "auc"].itertuples():
        assert row.difference == pytest.approx(mean.loc[row.attack, "auc"] - mean.loc[row.against, "auc"])
        assert row.low < row.difference < row.high
    width = (attack_comparisons["high"] - attack_comparisons["low"])[attack_comparisons["metric"] == "auc"].max()
    assert width < mean["auc_high"].sub(mean["auc_low"]).max() * 1.5  # pairing takes away what the attacks share
    assert audit(bank, attacks=["lira"]).results.attack_comparisons.empty


def test_every_attack_has_one_paired_difference_to_the_primary_one(make_bank):
    played = ["attack_r", "base", "bavaria", "calibration", "confidence", "lira", "loss", "rmia"]
    found = audit(make_bank(6, 200, 1.5, 10, 0), attacks=played, fpr_levels=[0.1]).results
    primary = found.about["primary"]["attack"]
    assert primary == "rmia"
    rows = found.attack_comparisons[found.attack_comparisons["metric"] == "auc"]
    against = [set(pair) for pair in zip(rows["attack"], rows["against"], strict=True)]
    for attack in set(found.findings["attack"]) - {primary}:
        assert against.count({attack, primary}) == 1, attack


def test_without_references_the_primary_attack_is_the_strongest_that_can_be_played(make_bank):
    bank = make_bank(2, 120, 1.5, 10, 0)
    alone = bank.take_models(np.array([0]))
    with pytest.warns(UserWarning, match="left out"):
        found = audit(alone, attacks="scores", fpr_levels=[0.3]).results
    assert found.about["primary"] == {"attack": "modified_entropy", "num_references": 0, "floored": False}


@pytest.mark.filterwarnings("ignore:.*left out")
def test_references_that_saw_none_of_the_samples_are_compared_with_offline(make_bank):
    bank = make_bank(6, 300, 1.5)
    victim = bank.take_models(np.array([0]))
    strangers = Signals(bank.logits[1:], bank.labels, np.zeros_like(bank.member[1:]), model_ids=np.arange(5) + 1)
    found = audit(victim, strangers, attacks="scores", fpr_levels=[0.3]).results
    assert found.about["primary"]["attack"] == "rmia:mode=offline"
    assert {"rmia:mode=offline", "lira:mode=offline", "base:mode=offline"} <= set(found.findings["attack"])
    assert not {"rmia", "lira"} & set(found.findings["attack"])
    with pytest.raises(UserError, match="trained on samples of the victims"):
        audit(victim, strangers, attacks=["rmia"])


def test_a_path_in_the_place_of_signals_is_refused(make_bank):
    with pytest.raises(UserError, match=r"signals: got str, expected Signals; use Signals\.load"):
        audit("predictions.npz")
    with pytest.raises(UserError, match="references: got str"):
        audit(make_bank(4, 60), references="references.npz")


@pytest.mark.parametrize("rows_at_once", [1, 400])
def test_scores_are_written_some_victims_at_a_time(make_bank, tmp_path, monkeypatch, rows_at_once):
    found = audit({"dense": make_bank(5, 150), "pruned": make_bank(5, 150, gain=1.0)}, attacks="loss,lira")
    whole = pd.read_parquet(found.save(tmp_path / "whole") / "scores.parquet")
    monkeypatch.setattr(outcome, "ROWS_AT_ONCE", rows_at_once)
    parts = pd.read_parquet(found.save(tmp_path / "parts") / "scores.parquet")
    pd.testing.assert_frame_equal(parts, whole)
    for release in ("dense", "pruned"):
        rows = parts[parts["release"] == release]
        assert rows["model_id"].tolist() == np.repeat(np.arange(5), 150).tolist()
        for attack in ("loss", "lira"):
            stored = found.scores[f"{release}/matched/{attack}"].ravel()
            np.testing.assert_array_equal(rows[attack].to_numpy(), stored)

"""A run records whether its attacks work where the answer is known, and says so where they do not."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from pruneaudit.api import Runtime, attack, audit_files, report_again, run
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.attacks.lira import Lira
from pruneaudit.core.files import seal_files
from pruneaudit.evaluation import audit, bank_settings
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.outcome import Audit, SettingScores
from pruneaudit.evaluation.recorded_checks import (
    MIN_SAMPLES,
    NULL,
    OWN,
    PLANTED,
    SANITY_CHECK_RUN,
    failures,
    record_sanity_checks,
)
from pruneaudit.evaluation.results import RESULT_FILES, Results
from pruneaudit.evaluation.sanity_check import GAIN, made_up_bank, made_up_releases, redrawn_setting
from pruneaudit.study import Study

# M models, N samples

HONEST = ("loss", "lira", "rmia")
STUDY = {
    "name": "tiny",
    "data": {"source": "digits", "num_samples": 200, "num_holdout": 60},
    "membership": {"num_models": 4},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"epochs": 1},
    "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
    "audit": {"attacks": ["loss", "lira"], "fpr_levels": [0.2]},
}


class Cheat(Attack):
    """Reads the victims' membership."""

    def score(self, attack_input, rng):
        return Scores(attack_input.attacked.member[attack_input.victims] + rng.normal(size=attack_input.eligible.shape))


class Flipped(Lira):
    """Turns LiRA's sign."""

    def score(self, attack_input, rng):
        return Scores(-super().score(attack_input, rng).victims)


class Blind(Attack):
    """Guesses."""

    def score(self, attack_input, rng):
        return Scores(rng.normal(size=attack_input.eligible.shape))


class ManyClasses(Attack):
    """Needs more classes than the made-up bank has."""

    def score(self, attack_input, rng):
        if attack_input.attacked.num_classes < 10:
            raise IndexError("class 7 of 5")
        return Scores(rng.normal(size=attack_input.eligible.shape))


class Learner(Attack):
    """Says that it learns, and must not be played."""

    trains = True

    def score(self, attack_input, rng):
        raise AssertionError("played")


@pytest.fixture
def registered(monkeypatch):
    """Registers attacks for one test."""
    monkeypatch.setattr(ATTACKS, "_registered", {})
    return lambda attack: ATTACKS.register(attack.__name__.lower(), attack).__name__.lower()


@pytest.fixture
def recorded(results):
    """A function from attacks and their attack settings to what is recorded, and the warnings."""

    def record(attacks, settings, seed=0):
        found = Audit(
            results, tuple(SettingScores(setting, dict.fromkeys(attacks, np.zeros(0))) for setting in settings)
        )
        return found.results.about, record_sanity_checks(found, ready(attacks), seed, SANITY_CHECK_RUN)

    return record


def leaking(gain=GAIN):
    return [
        AttackSetting("dense", "matched", bank_settings({"dense": made_up_bank(5, gain)}, ("matched",))[0].attack_input)
    ]


def test_honest_attacks_pass_on_all_three(recorded):
    about, warnings = recorded(HONEST, leaking())
    rows = about["sanity_checks"]
    assert warnings == []
    assert about["not_sanity_checked"] == []
    assert {row["attack"]: sum(other["attack"] == row["attack"] for other in rows) for row in rows} == dict.fromkeys(
        HONEST, 3
    )
    assert all(row["passed"] and row["low"] < row["auc"] < row["high"] for row in rows)
    own = [row for row in rows if row["bank"].startswith(OWN)]
    assert [row["kind"] for row in own] == [NULL] * 3
    assert all(abs(row["auc"] - 0.5) < 0.06 for row in own), "what leaks is not the redrawn membership"
    assert all(row["low"] > 0.5 for row in rows if row["kind"] == PLANTED)


@pytest.mark.parametrize(
    ("attack", "kinds", "words"),
    [
        (Cheat, {NULL}, "without a leak"),
        (Flipped, {PLANTED}, "planted leak"),
        (Blind, {PLANTED}, "planted leak"),
    ],
)
def test_a_bad_attack_fails_and_no_other(recorded, registered, attack, kinds, words):
    name = registered(attack)
    about, warnings = recorded((*HONEST, name), leaking())
    assert {(row["attack"], row["kind"]) for row in about["sanity_checks"] if not row["passed"]} == {
        (name, kind) for kind in kinds
    }
    assert len(warnings) == 1
    assert name in warnings[0]
    assert words in failures(about)[name]


def test_what_learns_or_stops_is_named_and_has_neither_passed_nor_failed(recorded, registered):
    learner, stopping = registered(Learner), registered(ManyClasses)
    about, warnings = recorded(("loss", learner, stopping), leaking())
    assert warnings == []
    assert {row["attack"] for row in about["sanity_checks"]} == {"loss"}
    reasons = {item["attack"]: item["reason"] for item in about["not_sanity_checked"]}
    assert SANITY_CHECK_RUN in reasons[learner]
    assert reasons[stopping] == "it stopped: IndexError: class 7 of 5"


def test_only_what_was_played_is_controlled(recorded, results):
    found = Audit(results, (SettingScores(leaking()[0], {"loss": np.zeros(0)}),))
    record_sanity_checks(found, ready(HONEST), 0, SANITY_CHECK_RUN)
    assert {row["attack"] for row in results.about["sanity_checks"]} == {"loss"}


def test_few_samples_are_left_to_the_made_up_bank(recorded):
    signals = made_up_bank(5)
    for num_samples, has_own in ((MIN_SAMPLES - 1, False), (MIN_SAMPLES, True)):
        eligible = signals.scored & (np.cumsum(signals.scored, axis=1) <= num_samples)
        chosen = dataclasses.replace(signals, eligible=eligible)
        about, _ = recorded(("loss",), bank_settings({"dense": chosen}, ("matched",)))
        assert any(row["bank"].startswith(OWN) for row in about["sanity_checks"]) == has_own
        reasons = [item["reason"] for item in about["not_sanity_checked"]]
        assert len(reasons) == (not has_own)
        assert all(f"{MIN_SAMPLES - 1} samples" in reason and f" {MIN_SAMPLES} " in reason for reason in reasons)


def test_the_seed_makes_the_rows(recorded):
    texts = [json.dumps(recorded(HONEST, leaking(), seed)[0]["sanity_checks"], allow_nan=False) for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


def test_pairs_are_redrawn_alike_and_references_stay():
    dense, pruned = made_up_releases(2, GAIN)
    settings = bank_settings({"dense": dense, "pruned": pruned}, ("matched",))
    attack_input = redrawn_setting(settings[1].attack_input, 0)
    first, last = attack_input.releases
    np.testing.assert_array_equal(first.member, last.member)
    assert (last.member != pruned.member)[:, ~pruned.untouched_holdout].mean() == pytest.approx(0.5, abs=0.05)
    assert attack_input.references == (dense, pruned)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(Study.model_validate(STUDY), out=tmp_path_factory.mktemp("runs"), runtime=Runtime(executor="serial"))


def test_a_run_records_its_controls_and_another_attack_its_own(finished, tmp_path):
    saved = Results.load(finished.folder)
    assert [row["attack"] for row in saved.about["sanity_checks"]] == ["loss", "loss", "lira", "lira", "loss", "lira"]
    assert all(row["passed"] for row in saved.about["sanity_checks"])
    assert saved.about["sanity_checks"][-1]["bank"] == f"{OWN} (dense)"
    records = json.loads((finished.folder / "findings.json").read_text())
    assert records["sanity_checks"] == saved.about["sanity_checks"]
    assert "where the answer is known" in finished.report.read_text()
    again = attack(finished.folder, ["rmia"], tmp_path / "again")
    assert {row["attack"] for row in again.audit.results.about["sanity_checks"]} == {"rmia"}


def test_a_run_with_a_cheat_warns_and_so_does_its_log(registered, tmp_path):
    name = registered(Cheat)
    study = Study.model_validate(STUDY | {"audit": STUDY["audit"] | {"attacks": ["loss", name]}})
    found = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    assert set(failures(found.audit.results.about)) == {name}
    assert f"do not trust the figures of {name}" in (found.folder / "run.log").read_text()
    assert "Do not trust the figures of cheat" in found.report.read_text()


def test_an_older_run_without_controls_loads_and_is_written_up(finished, tmp_path):
    results = Results.load(finished.folder)
    for key in ("sanity_checks", "not_sanity_checked"):
        del results.about[key]
    results.save(tmp_path)
    shutil.copy(finished.folder / "scores.parquet", tmp_path)
    assert "sanity_checks" not in json.loads((tmp_path / "findings.json").read_text())
    seal_files(tmp_path, [*RESULT_FILES, "scores.parquet"])
    report_again(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "This run did not record" in page
    assert "Do not trust" not in page


def test_saved_predictions_are_controlled_too(tmp_path):
    signals = made_up_bank(7, GAIN)
    np.savez(
        tmp_path / "answers.npz",
        **{key: getattr(signals, key) for key in ("logits", "labels", "member", "eligible")},
    )
    found = audit_files(tmp_path / "answers.npz", "loss,lira", out=tmp_path / "audit")
    about = found.audit.results.about
    assert [row["passed"] for row in about["sanity_checks"]] == [True] * 6
    assert about["sanity_checks"][-1]["bank"] == f"{OWN} (answers)"


def test_one_model_alone_is_controlled(recorded):
    alone = made_up_bank(5, GAIN).take_models(np.array([2]))
    found = audit(alone, attacks=["loss"], fpr_levels=[0.3])
    about, _ = recorded(("loss",), [found.settings[0].setting])
    assert [row["passed"] for row in about["sanity_checks"]] == [True] * 3


@pytest.mark.slow
def test_false_alarms_on_own_outputs_are_rare(recorded):
    """A family error of 0.1%: five alarms in 400 runs, of whatever shape, would have a chance below 0.1%."""
    alarms = 0
    for seed in range(400):
        bank = made_up_bank(seed, GAIN).take_models(np.arange(1 + seed % 8))
        about, _ = recorded(("loss", "entropy"), bank_settings({"dense": bank}, ("matched",)), seed)
        alarms += any(not row["passed"] for row in about["sanity_checks"] if row["bank"].startswith(OWN))
    assert alarms < 5

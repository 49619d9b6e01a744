"""The gate for certificates: which budgets a certificate covers."""

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.certificate import Candidate, Scope, certify
from pruneaudit.evaluation.limit_test import Question, answer
from pruneaudit.evaluation.limits import Limits
from pruneaudit.gate import certificate_markdown, certificate_record, check_certificate, read_certificate
from pruneaudit.metrics import PerVictim

LIMITS = Limits(min_accuracy=0.75, max_tpr={0.01: 0.05}, max_auc=0.6)
SCOPE = Scope(
    study="s",
    study_hash="ab" * 32,
    attacks=("rmia",),
    num_search_models=8,
    num_confirm_models=8,
    num_references=7,
    num_samples=500,
    num_candidates=5,
)


def certificate(limits=LIMITS, share=0.5):
    """Of one candidate, whose figures are a share of each limit of leakage."""
    spread = 0.001 * np.arange(-4.0, 4.0)
    tests = [answer(Question(f, v), PerVictim(share * v + spread, np.zeros((8, 2)))) for f, v in limits.leakage.items()]
    return certify([Candidate(name="rtn-4", bytes=100.0, tests=tuple(tests))], limits, SCOPE)


@pytest.mark.parametrize(
    ("budgets", "outcome", "code"),
    [
        ({}, "within", 0),
        ({"max_auc": "0.6"}, "within", 0),
        ({"max_auc": "0.7", "max_tpr": ["1%:0.05"], "min_accuracy": "0.7"}, "within", 0),
        ({"max_auc": "0.59"}, "over", 1),
        ({"max_tpr": ["1%:5%", "1%:0.04"]}, "over", 1),
        ({"min_accuracy": "0.8"}, "over", 1),
        ({"max_tpr": ["0.1%:0.05"]}, "suppressed", 2),
        ({"max_tpr": ["0.1%:0.05"], "max_auc": "0.5"}, "suppressed", 2),
    ],
)
def test_budgets_are_covered_by_limits_of_the_same_figure(budgets, outcome, code):
    gate = check_certificate(certificate(), **budgets)
    assert (gate.outcome, gate.exit_code) == (outcome, code)
    record = certificate_record(gate, "c.json")
    assert (record["exit_code"], record["chosen"], len(record["demands"])) == (
        code,
        "rtn-4",
        sum(1 if isinstance(given, str) else len(given) for given in budgets.values()),
    )


def test_a_certificate_that_names_no_network_does_not_pass():
    gate = check_certificate(certificate(share=1.0))
    assert (gate.outcome, gate.exit_code, gate.chosen) == ("over", 1, None)
    assert "not shown to keep all limits" in certificate_markdown(gate, "c.json")


def test_a_limit_that_it_lacks_is_not_answered():
    gate = check_certificate(certificate(limits=Limits(max_auc=0.6)), min_accuracy="0.5")
    assert gate.exit_code == 2


def test_another_study_is_refused():
    assert check_certificate(certificate(), "ab" * 32).exit_code == 0
    with pytest.raises(UserError, match="another study"):
        check_certificate(certificate(), "cd" * 32)


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ({"max_advantage": "0.1"}, ["--max-advantage", "--max-tpr"]),
        ({"max_auk": "0.1"}, ["max_auk", "max_auc"]),
        ({"max_tpr": ["0.05"]}, ["FPR:BUDGET"]),
        ({"max_auc": "big"}, ["--max-auc", "big"]),
    ],
)
def test_wrong_budgets_are_refused(budgets, words):
    with pytest.raises(UserError) as error:
        check_certificate(certificate(), **budgets)
    assert all(word in str(error.value) for word in words)


def test_the_summary_has_name_limits_and_budgets():
    gate = check_certificate(certificate(), notes=["a note"], max_auc="0.59")
    text = certificate_markdown(gate, "some/certificate.json")
    words = ["rtn-4", "not certified", "`some/certificate.json`", "AUC at most 0.59: not covered", "a note"]
    assert [word for word in words if word not in text] == []
    assert "\\x" not in text


def test_a_changed_file_is_refused(tmp_path):
    file = certificate().write(tmp_path / "certificate.json")
    found, notes = read_certificate(file)
    assert found == certificate() and len(notes) == 1  # nothing says whether it was changed
    seal_files(tmp_path, [file.name])
    assert read_certificate(file) == (certificate(), ())
    file.write_text(file.read_text().replace("500", "900"))
    with pytest.raises(UserError, match="has changed"):
        read_certificate(file)
    (tmp_path / "SHA256SUMS").unlink()
    file.write_text(file.read_text().replace('"chosen"', '"failed"'))
    with pytest.raises(UserError, match="do not follow"):
        read_certificate(file)

"""What `pruneaudit audit` makes of predictions with something wrong: one line, exit code 2, nothing written."""

import numpy as np
import pandas as pd
import pytest

# M models, N samples, C classes

NUM_MODELS, NUM_SAMPLES, NUM_CLASSES = 4, 40, 3


def predictions(seed=0, **changes):
    """Arrays that can be audited, some replaced."""
    rng = np.random.default_rng(seed)
    arrays = {
        "logits": rng.normal(size=(NUM_MODELS, NUM_SAMPLES, NUM_CLASSES)),
        "labels": np.arange(NUM_SAMPLES) % NUM_CLASSES,
        "member": rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5,
    }
    return arrays | changes


def taken(arrays, samples):
    """The arrays for some of the samples, in the order that `samples` gives."""
    return {key: value[samples] if key in ("labels", "ids") else value[:, samples] for key, value in arrays.items()}


@pytest.fixture
def audit(call, tmp_path):
    """Runs `pruneaudit audit` on arrays: (exit code, standard output, standard error)."""

    def run(victims, references=None, other=None, attacks="loss,lira"):
        np.savez(tmp_path / "victims.npz", **victims)
        command = ["audit", tmp_path / "victims.npz", "--attacks", attacks, "--out", tmp_path / "audit"]
        if references is not None:
            np.savez(tmp_path / "references.npz", **references)
            command += ["--references", tmp_path / "references.npz"]
        if other is not None:
            np.savez(tmp_path / "dense.npz", **other)
            command.append(tmp_path / "dense.npz")
        return call(*command)

    return run


@pytest.fixture
def refuses(audit, tmp_path):
    """Checks that predictions are refused in one line that holds some words."""

    def check(*words, **given):
        code, out, err = audit(**given)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for word in words:
            assert word in err
        assert not (tmp_path / "audit").exists()

    return check


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["logits", "sensitivity"])
def test_numbers_that_are_none(refuses, key, broken):
    if key == "logits" and broken == -np.inf:
        broken = np.nan  # -inf is a probability of 0 there; tests/signals/test_answers.py has it
    values = np.ones((NUM_MODELS, NUM_SAMPLES, NUM_CLASSES))
    values[2, 3, 1] = broken
    refuses("victims.npz", key, "model 2", victims=predictions(**{key: values}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": np.arange(NUM_SAMPLES) % 3 + 1}, ["labels", "1..3", "0..2"]),
        ({"labels": np.arange(NUM_SAMPLES) % 3 - 1}, ["labels", "-1..1", "0..2"]),
        ({"labels": np.full(NUM_SAMPLES, np.nan)}, ["labels", "integers"]),
        ({"ids": np.zeros(NUM_SAMPLES, int)}, ["ids", "different"]),
        ({"ids": np.array(["a", "a"] * 20)}, ["ids", "different"]),
        ({"model_ids": np.array([1, 2, 2, 3])}, ["model_ids", "different"]),
        ({"member": np.ones((NUM_MODELS, NUM_SAMPLES), bool)}, ["victim 0", "no non-member"]),
        ({"member": np.zeros((NUM_MODELS, NUM_SAMPLES), bool)}, ["no model with members", "`member`"]),
        ({"is_victim": np.zeros(NUM_MODELS, bool)}, ["is_victim", "no model"]),
        ({"canary": np.ones(NUM_SAMPLES, bool)}, ["no model with members", "`canary`"]),
        ({"sensitivity": np.ones((NUM_MODELS, NUM_SAMPLES, 2))}, ["sensitivity", "(4, 40, 2)", "(4, 40, 3)"]),
        ({"logits": np.full((NUM_MODELS, NUM_SAMPLES, NUM_CLASSES), 1 / 3)}, ["probabilities", "`probabilities`"]),
        ({"group": np.arange(NUM_MODELS)}, ["'lira'", "reference models for every victim"]),
    ],
)
def test_arrays_that_make_no_sense(refuses, changes, words):
    refuses(*words, victims=predictions(**changes))


def test_references_on_other_samples(refuses):
    victims, others = predictions(), predictions(seed=1)
    backwards = np.arange(NUM_SAMPLES)[::-1]
    refuses("same samples", victims=victims, references=taken(others, np.arange(NUM_SAMPLES - 1)))
    refuses("same samples", victims=victims, references=taken(others, backwards))
    ids = np.arange(NUM_SAMPLES)
    named, others = victims | {"ids": ids}, others | {"ids": ids}
    refuses("same samples", "ids", victims=named, references=taken(others, backwards))
    refuses("same samples", "ids", victims=named, references=others | {"ids": ids + 1})
    refuses("same samples", "ids", victims=named, references=others | {"ids": ids.astype(str)})
    refuses("same samples", "ids", victims=named, references=others | {"ids": np.roll(ids, 1)})


def test_references_that_answer_otherwise(refuses):
    wider = np.zeros((NUM_MODELS, NUM_SAMPLES, NUM_CLASSES + 1))
    refuses("4 classes", victims=predictions(), references=predictions(seed=1, logits=wider))
    queries = np.zeros((NUM_MODELS, NUM_SAMPLES, 2))
    refuses("2 queries", victims=predictions(), references=predictions(seed=1, confidence=queries))


def test_a_release_of_other_models_samples_or_members(refuses):
    ids = np.arange(NUM_MODELS)
    both = "releases dense and victims"
    refuses(both, "model_ids", victims=predictions(model_ids=ids), other=predictions(model_ids=ids + 1))
    refuses(both, "member", victims=predictions(), other=predictions(seed=1))
    refuses(both, "labels", victims=predictions(), other=predictions(labels=np.arange(NUM_SAMPLES)[::-1] % NUM_CLASSES))
    refuses(both, "39", victims=predictions(), other=taken(predictions(), np.arange(NUM_SAMPLES - 1)))


def test_missing_needs_are_named(refuses):
    sensitive = predictions(sensitivity=np.ones((NUM_MODELS, NUM_SAMPLES, NUM_CLASSES)))
    refuses("'samia'", "sensitivity", victims=predictions(), attacks="samia")
    refuses("'samia'", "sensitivity", victims=sensitive, references=predictions(seed=1), attacks="samia")
    refuses("'attack_p'", "holdout", victims=predictions(), attacks="loss,attack_p")
    alone = {key: value if key == "labels" else value[:1] for key, value in predictions().items()}
    refuses("'lira'", "reference models", victims=alone)


@pytest.mark.parametrize("attacks", ["", "loss,,lira", "lirra", "lira:mode=onlin", "lira:moed=online", "lira:mode"])
def test_unknown_attacks(refuses, attacks):
    refuses("attack", victims=predictions(), attacks=attacks)


def test_a_class_without_a_sample_is_fine(audit, tmp_path):
    """Networks may know classes that nothing audited belongs to."""
    logits = np.random.default_rng(0).normal(size=(NUM_MODELS, NUM_SAMPLES, 6))
    code, _, err = audit(predictions(logits=logits), attacks="scores")
    assert code == 0, err
    assert set(pd.read_csv(tmp_path / "audit" / "classes.csv")["class_id"]) == {0, 1, 2}


def test_answers_that_are_all_alike_give_half_an_auc(audit, tmp_path):
    code, _, err = audit(predictions(logits=np.zeros((NUM_MODELS, NUM_SAMPLES, NUM_CLASSES))), attacks="loss,rmia")
    assert code == 0, err
    findings = pd.read_csv(tmp_path / "audit" / "findings.csv")
    assert findings.loc[findings["victim"] == "mean", "auc"].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(("attacks", "comparing"), [("loss,lira,rmia", "lira, rmia"), ("scores", "attack_r, base, ")])
def test_models_of_one_training_set_have_nothing_to_compare_with(audit, refuses, tmp_path, attacks, comparing):
    alike = predictions()
    alike["member"] = np.repeat(alike["member"][:1], NUM_MODELS, axis=0)
    said = f"with references ({comparing}"
    refuses(
        "victims.npz",
        "all 4 models were trained on the same samples",
        "OUT model",
        said,
        victims=alike,
        attacks=attacks,
    )
    _, _, err = audit(alike, attacks=attacks)
    code, _, _ = audit(alike, attacks=err.split()[-1])  # what the message suggests
    assert code == 0
    findings = pd.read_csv(tmp_path / "audit/findings.csv")
    assert findings.loc[findings["victim"] == "mean", "auc"].notna().all()


def test_references_of_other_training_sets_may_serve_models_of_one(audit):
    alike = predictions(model_ids=np.arange(NUM_MODELS))
    alike["member"] = np.repeat(alike["member"][:1], NUM_MODELS, axis=0)
    others = predictions(1, model_ids=np.arange(10, 10 + NUM_MODELS))
    assert audit(alike, references=others | {"labels": alike["labels"]}, attacks="loss,lira")[0] == 0

"""What `Signals` refuses and how it says so, what it accepts, and what it derives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.signals.derived import scaled_confidence
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes

SMALL = {
    "logits": np.arange(24, dtype=np.float32).reshape(2, 4, 3),
    "labels": np.array([0, 1, 2, 0]),
    "member": np.array([[True, False, True, False], [False, True, False, True]]),
}


def refused(**changes):
    """The message with which these changes to good signals are refused."""
    with pytest.raises(UserError) as caught:
        Signals(**{**SMALL, **changes})
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(name, place, value):
    array = SMALL[name].astype(np.result_type(SMALL[name].dtype, np.asarray(value).dtype))
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("labels", (5,), "(4)"),
        ("labels", (4, 1), "(4)"),
        ("member", (4, 2), "(2, 4)"),
        ("eligible", (2, 3), "(2, 4)"),
        ("is_victim", (4,), "(2)"),
        ("group", (3,), "(2)"),
        ("confidence", (2, 4), "(2, 4, queries)"),
        ("confidence", (2, 4, 0), "(2, 4, queries)"),
        ("correct", (2, 3, 1), "(2, 4, queries)"),
        ("sensitivity", (2, 4, 2), "(2, 4, 3)"),
        ("canary", (2,), "(4)"),
        ("ids", (3,), "(4)"),
        ("model_ids", (), "(2)"),
    ],
)
def test_wrong_shapes(name, shape, expected):
    message = refused(**{name: np.zeros(shape, dtype=int)})
    assert message == f"{name}: got shape {shape}, expected {expected} to fit logits (2, 4, 3)"


@pytest.mark.parametrize("form", ["logits", "probabilities"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 0, 3), (0, 4, 3), (), (2, 4, 3, 1)])
def test_wrong_shape_of_answers(shape, form):
    message = refused(**{"logits": None, form: np.zeros(shape)})
    assert message.startswith(f"{form}: got shape {shape}, expected (models, samples, classes)")
    assert (f"{form}[None]" in message) == (shape == (4, 3))  # four samples: one model


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 1)])
def test_one_number_for_three_classes(shape):
    message = refused(logits=np.zeros(shape))
    assert str(shape) in message and "(models, samples, 3)" in message
    assert "[None]" not in message


def test_lists_serve_but_not_ragged_ones():
    assert Signals(**{name: value.tolist() for name, value in SMALL.items()}).num_classes == 3
    assert "unequal lengths" in refused(logits=[[[1, 2], [3]]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["logits", "probabilities", "confidence", "sensitivity"])
def test_numbers_that_are_not_finite_name_the_model(name, value):
    array = np.zeros((2, 4, 3))
    array[1, 2, 0] = value
    if name == "logits" and value == -np.inf:
        return  # the logarithm of a probability of 0, for a class that is not the label
    changes = {"logits": None} if name == "probabilities" else {}
    message = refused(**changes, **{name: array})
    assert message.startswith(f"{name}: NaN or infinity for model 1; leave that model out")


@pytest.mark.parametrize("name", ["logits", "confidence", "sensitivity"])
def test_numbers_beyond_float32(name):
    array = np.zeros((2, 4, 3))
    array[0, 0, 0] = 1e39
    assert refused(**{name: array}) == f"{name}: values beyond float32's range (3.4e38); rescale them"


@pytest.mark.parametrize("value", [np.array("x"), np.array(True), np.array(1j)])
def test_logits_that_are_no_numbers(value):
    assert "expected numbers" in refused(logits=np.full((2, 4, 3), value))


@pytest.mark.parametrize(("label", "got"), [(3, "0..3"), (-1, "-1..2")])
def test_labels_out_of_range(label, got):
    message = refused(labels=changed("labels", 0 if label < 0 else 3, label))
    assert message == f"labels: got {got}, expected 0..2 (logits have 3 classes); number the classes from 0"


def test_labels_that_are_no_integers():
    assert refused(labels=SMALL["labels"].astype(float)) == (
        "labels: got float64, expected integers; use labels.astype(int)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("member", changed("member", (0, 0), 2)),
        ("member", changed("member", (0, 0), 0.5)),
        ("eligible", changed("member", (0, 0), np.nan)),
        ("member", SMALL["member"].astype(str)),
        ("eligible", np.full((2, 4), -1)),
        ("is_victim", np.array([0, 2])),
        ("correct", np.full((2, 4, 1), 3)),
        ("canary", np.array([0, 0, 0, 9])),
    ],
)
def test_what_is_neither_true_nor_false(name, value):
    assert "0 and 1, expected bool" in refused(**{name: value})


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_zeros_and_ones_serve_as_bool(dtype):
    signals = Signals(**{**SMALL, "member": SMALL["member"].astype(dtype), "canary": np.zeros(4, dtype)})
    assert signals.member.dtype == signals.canary.dtype == np.dtype(bool)
    np.testing.assert_array_equal(signals.member, SMALL["member"])


@pytest.mark.parametrize(("row", "lacking"), [(0, "member"), (1, "non-member")])
def test_a_victim_needs_both_kinds(row, lacking):
    everywhere = lacking == "non-member"
    message = refused(member=changed("member", row, everywhere), model_ids=np.array(["first", "second"]))
    assert message.startswith(f"victim {('first', 'second')[row]}: no {lacking} among its eligible samples")
    reference = np.arange(2) != row
    assert len(Signals(**{**SMALL, "member": changed("member", row, everywhere), "is_victim": reference}).victims) == 1


def test_members_that_are_canaries_or_not_eligible_do_not_count():
    only_last = np.array([[False, False, False, True], [False, True, False, True]])
    assert refused(member=only_last, canary=np.arange(4) == 3).startswith("victim 0: no member")
    assert refused(member=only_last, eligible=changed("member", slice(None), np.arange(4) < 3)).startswith("victim 0")


@pytest.mark.parametrize("given", [{"is_victim": np.zeros(2, bool)}, {"member": np.zeros((2, 4), bool)}])
def test_a_file_can_hold_references_alone(given):
    references = Signals(**{**SMALL, **given})
    assert not len(references.victims)
    assert len(references.take_models(np.arange(2)).victims) == 2
    with pytest.raises(UserError, match="no model with members"):
        AttackInput.of([references], [])


def test_samples_that_references_answer_stay_nulls():
    """A holdout of the victim is a null, although the references' file does not say that it is not scored there."""
    eligible = np.array([[True, True, False, False]] * 2)
    member = SMALL["member"] & eligible
    victims = Signals(**{**SMALL, "member": member, "eligible": eligible, "model_ids": np.array(["a", "b"])})
    answers = SMALL["logits"] + 1
    unlike = Signals(labels=SMALL["labels"], logits=answers, member=np.zeros((2, 4), bool), model_ids=["c", "d"])
    together = AttackInput.of([victims], [unlike])
    np.testing.assert_array_equal(together.nulls | together.fitting, [False, False, True, True])
    trained = Signals(
        labels=SMALL["labels"], logits=answers, member=np.eye(2, 4, k=2, dtype=bool), model_ids=["c", "d"]
    )
    assert not (together.of([victims], [trained]).nulls | together.of([victims], [trained]).fitting).any()


@pytest.mark.parametrize(
    ("name", "values", "axis"),
    [
        ("ids", np.array([0, 1, 1, 2]), "sample"),
        ("ids", np.array([0.0, 1.0, 2.0, 3.0]), "sample"),
        ("model_ids", np.array(["a", "a"]), "model"),
    ],
)
def test_ids_that_name_nothing_uniquely(name, values, axis):
    assert refused(**{name: values}).startswith(f"{name}: expected one different integer or text per {axis}")


@pytest.mark.parametrize("group", [np.array([0.0, 1.0]), np.array(["a", "b"])])
def test_groups_that_are_no_integers(group):
    assert refused(group=group).startswith(f"group: got {group.dtype}, expected one integer per model")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, ">f4"])
def test_other_number_types_become_float32(dtype):
    signals = Signals(**{**SMALL, "logits": SMALL["logits"].astype(dtype)})
    assert signals.logits.dtype == np.float32
    np.testing.assert_array_equal(signals.logits, SMALL["logits"])


array_of_anything = st.one_of(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint64, bool, "U2", "S2", "c8", "M8[s]"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.none(),
    st.text(max_size=3),
    st.floats(),
    st.lists(st.lists(st.integers(), max_size=2), max_size=2),
)
KEYS = ("logits", "labels", "member", "eligible", "is_victim", "group", "confidence", "correct", "canary", "ids")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(KEYS), value=array_of_anything)
def test_whatever_is_given_only_user_errors_come_back(name, value):
    if value is None and name in SMALL:
        return
    try:
        signals = Signals(**{**SMALL, name: value})
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(signals.phi).all()


def test_phi_is_that_of_the_plain_query(bank):
    assert bank.phi.shape == (12, 300, 1)
    assert bank.phi.dtype == np.float64
    for row in range(bank.num_models):
        np.testing.assert_allclose(bank.phi[row, :, 0], scaled_confidence(bank.logits[row], bank.labels))


def test_given_confidence_and_correctness_win_over_logits(complete):
    np.testing.assert_array_equal(complete.phi, complete.confidence)
    np.testing.assert_array_equal(complete.is_correct, complete.correct[..., 0])
    assert complete.num_queries == 2


def test_defaults_of_what_is_not_given(bank):
    assert bank.num_queries == 1
    assert bank.victims.tolist() == bank.model_names.tolist() == list(range(12))
    assert bank.groups.tolist() == [0] * 12
    assert bank.sample_ids.tolist() == list(range(300))
    assert bank.scored.all()
    assert bank.ordinary.all()
    assert not bank.untouched_holdout.any()
    np.testing.assert_array_equal(bank.is_correct, bank.logits.argmax(axis=2) == bank.labels)


def test_holdout_is_in_no_training_set_and_never_scored(complete):
    assert complete.untouched_holdout.tolist() == [n < 40 for n in range(300)]
    assert not complete.ordinary[:, :40].any()
    assert not complete.ordinary[:, 290:].any()
    assert complete.ordinary[:, 40:290].all()
    assert complete.scored[:, 290:].all()
    assert 100 in complete.model_names
    assert complete.victims.tolist() == [m for m in range(12) if m % 3]
    trained_on = complete.member.copy()
    trained_on[5, 0] = True
    other = Signals(logits=complete.logits, labels=complete.labels, member=trained_on, eligible=complete.eligible)
    assert other.untouched_holdout.tolist() == [0 < n < 40 for n in range(300)]


def test_some_of_the_models(complete):
    rows = np.array([7, 0, 3])
    taken = complete.take_models(rows)
    assert taken.model_names.tolist() == [107, 100, 103]
    assert taken.victims.tolist() == [0, 1, 2]
    assert taken.groups.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(taken.sample_ids, complete.sample_ids)
    for name in (
        "logits",
        "member",
        "scored",
        "ordinary",
        "phi",
        "is_correct",
        "sensitivity",
        "structure",
        "start_saliency",
    ):
        np.testing.assert_array_equal(getattr(taken, name), getattr(complete, name)[rows], err_msg=name)
    np.testing.assert_array_equal(taken.canaries, complete.canaries)


def test_some_models_of_the_simplest_bank(bank):
    taken = bank.take_models(np.array([2]))
    assert taken.eligible is None
    assert taken.num_models == 1
    np.testing.assert_array_equal(taken.phi, bank.phi[[2]])


def test_probabilities_are_not_taken_for_logits():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (3, 20))
    member = np.tile(np.arange(20) % 2 == 0, (3, 1))
    labels = np.arange(20) % 4
    with pytest.raises(UserError, match="got probabilities"):
        Signals(probabilities, labels, member)
    assert Signals(np.log(probabilities), labels, member).num_models == 3


def test_probabilities_of_any_model_are_noticed():
    logits = np.array(SMALL["logits"])
    logits[1] = np.exp(logits[1]) / np.exp(logits[1]).sum(axis=1, keepdims=True)
    assert "got probabilities for model 1" in refused(logits=logits)
    assert "for model second" in refused(logits=logits, model_ids=np.array(["first", "second"]))


def test_what_belongs_together_must_fit():
    confidence, correct = np.zeros((2, 4, 3), np.float32), np.zeros((2, 4, 2), bool)
    assert "(2, 4, 2), but confidence (2, 4, 3)" in refused(confidence=confidence, correct=correct)
    assert "negative" in refused(sensitivity=np.full((2, 4, 3), -0.1))


def test_some_models_with_another_membership_are_signals_of_their_own(bank):
    part = bank.take_models(np.array([1, 3]))
    other = replace(part, member=~part.member)
    np.testing.assert_array_equal(other.member, ~part.member)
    np.testing.assert_array_equal(other.phi, part.phi)
    np.testing.assert_array_equal(other.logits_of(1), part.logits_of(1))

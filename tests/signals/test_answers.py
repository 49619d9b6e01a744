"""The forms of answers: what is recognised under a wrong key, which key the message names, and that it then works."""

import re

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes

M, N, C = 3, 200, 10


def bank(seed=0):
    """Logits of confident networks, labels, membership."""
    rng = np.random.default_rng(seed)
    member, labels = rng.random((M, N)) < 0.5, rng.integers(0, C, N)
    z = rng.normal(size=(M, N, C))
    z[:, np.arange(N), labels] += 5 + 1.5 * member
    return z, {"labels": labels, "member": member}


def softmax(z):
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def message_of(**given):
    with pytest.raises(UserError) as caught:
        Signals(**given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


DISGUISES = {
    "as they are": lambda p: p,
    "3 decimals": lambda p: p.round(3),
    "2 decimals": lambda p: p.round(2),
    "1 decimal": lambda p: p.round(1),
    "float16": lambda p: p.astype(np.float16),
    "a row of zeros": lambda p: np.where(np.arange(N)[:, None] == 7, 0, p),
    "3 decimals and a tenth of the rows damaged": lambda p: np.where(np.arange(N)[:, None] % 10 == 0, 0, p.round(3)),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_probabilities_in_the_place_of_logits(disguise):
    z, rest = bank()
    p = DISGUISES[disguise](softmax(z))
    message = message_of(logits=p, **rest)
    assert "probabilities for model 0" in message
    assert "`probabilities`" in message
    assert np.isfinite(Signals(probabilities=p, **rest).phi).all()


@pytest.mark.parametrize(("factor", "decimals"), [(100, 8), (100, 2), (100, 0)])
def test_percent(factor, decimals):
    z, rest = bank()
    percent = (softmax(z) * factor).round(decimals)
    percent[:, 5] = 0
    for key in ("logits", "probabilities"):
        message = message_of(**{key: percent}, **rest)
        assert "divide by 100" in message and ("`probabilities`" in message or key == "probabilities")
    expected = np.log(softmax(z)[0, 0, rest["labels"][0]])
    found = Signals(probabilities=percent / 100, **rest).logits_of(0)[0, rest["labels"][0]]
    assert found == pytest.approx(expected, abs=0.02)


def test_votes():
    z, rest = bank()
    rng = np.random.default_rng(0)
    votes = np.stack([rng.multinomial(25, softmax(model[n])) for model in z for n in range(N)]).reshape(M, N, C)
    assert "divide by 25" in message_of(logits=votes, **rest)
    assert Signals(probabilities=votes / 25, **rest).resolution.tolist() == [1 / 25, 1 / 25]


def test_logits_are_left_alone():
    z, rest = bank()
    for given in (z, z - z.min() + 1, np.abs(z), z.round(2), z * 0.01, np.zeros_like(z), -np.abs(z)):
        np.testing.assert_array_equal(Signals(logits=given, **rest).logits, given.astype(np.float32))


def test_logarithms_of_probabilities_are_logits():
    z, rest = bank()
    plain, logs = Signals(logits=z, **rest), Signals(logits=np.log(softmax(z)), **rest)
    np.testing.assert_allclose(logs.phi, plain.phi, atol=1e-4)
    assert logs.probabilities is None


def test_logarithms_of_zeros_are_what_they_come_from():
    z, rest = bank()
    p = softmax(z).round(3)
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    assert np.isneginf(logs).any()
    found, expected = Signals(logits=logs, **rest), Signals(probabilities=p, **rest)
    np.testing.assert_allclose(found.phi, expected.phi, rtol=1e-3)
    np.testing.assert_allclose(found.resolution, [0.001, 0.001])
    assert found.logits is None


def test_a_class_masked_by_minus_infinity():
    z, rest = bank()
    rest["labels"] = rest["labels"] % 9
    masked = z.copy()
    masked[..., 9] = -np.inf
    signals, without = Signals(logits=masked, **rest), Signals(logits=z[..., :9], **rest)
    np.testing.assert_allclose(signals.phi, without.phi, atol=1e-5)
    rest["labels"][4] = 9
    message = message_of(logits=masked, **rest)
    assert "sample 4" in message and "`probabilities`" in message


@pytest.mark.parametrize("factor", [-1, 3])
def test_logits_in_the_place_of_probabilities(factor):
    z, rest = bank()
    assert "`logits`" in message_of(probabilities=factor * z, **rest)


def test_logarithms_and_sigmoids_in_the_place_of_probabilities():
    z, rest = bank()
    assert "`logits`" in message_of(probabilities=np.log(softmax(z)), **rest)
    assert "sum to more than 1" in message_of(probabilities=1 / (1 + np.exp(-z)), **rest)
    assert "sum to 0.01" in message_of(probabilities=softmax(z) / 100, **rest)


def test_the_largest_probabilities_may_be_all_there_are():
    z, rest = bank()
    p = softmax(z)
    top = np.where(p >= np.sort(p, axis=-1)[..., -3:-2], p, 0)
    assert np.isfinite(Signals(probabilities=top, **rest).phi).all()


def test_hard_labels():
    z, rest = bank()
    classes = z.argmax(axis=-1)
    one_hot = np.eye(C)[classes]
    message = message_of(logits=one_hot, **rest)
    assert "`predicted`" in message and "argmax(-1)" in message
    signals = Signals(predicted=classes, **rest)
    np.testing.assert_array_equal(signals.is_correct, classes == rest["labels"])
    with np.errstate(divide="ignore"):
        for same in (Signals(probabilities=one_hot, **rest), Signals(logits=np.log(one_hot), **rest)):
            np.testing.assert_array_equal(same.predicted, classes)
            assert same.probabilities is None and same.resolution is None
    assert signals.take_models(np.array([2])).is_correct.shape == (1, N)
    with pytest.raises(UserError, match="logits or probabilities"):
        signals.phi  # noqa: B018


@pytest.mark.parametrize(
    "predicted", [np.zeros((M, N, 1), int), np.full((M, N), -1), np.full((M, N), 0.5), np.full((M, N), "a")]
)
def test_what_is_no_class(predicted):
    assert message_of(predicted=predicted, **bank()[1]).startswith("predicted: got")


def test_one_form_is_given_and_no_more():
    z, rest = bank()
    assert message_of(**rest).startswith("logits: missing")
    message = message_of(logits=z, probabilities=softmax(z), **rest)
    assert "logits" in message and "probabilities" in message
    assert message_of(logits=z, member=rest["member"]).startswith("labels: missing")
    assert message_of(logits=z, labels=rest["labels"]).startswith("member: missing")
    assert message_of(logits=z, resolution=0.1, **rest).startswith("resolution")
    for wrong in (0, 2, np.ones(3), "x"):
        assert message_of(probabilities=softmax(z), resolution=wrong, **rest).startswith("resolution")


def binary():
    rng = np.random.default_rng(0)
    member, y = rng.random((M, N)) < 0.5, rng.integers(0, 2, N)
    z = rng.normal(size=(M, N)) + np.where(y, 1, -1) * (1 + member)
    return z, np.where(y, z, -z), {"labels": y, "member": member}


@pytest.mark.parametrize("shape", [(M, N), (M, N, 1)])
def test_one_logit_is_that_of_class_1(shape):
    z, phi, rest = binary()
    signals = Signals(logits=z.reshape(shape), **rest)
    np.testing.assert_allclose(signals.phi[..., 0], phi, rtol=1e-5)
    np.testing.assert_array_equal(signals.is_correct, phi > 0)
    assert signals.num_classes == 2


@pytest.mark.parametrize("shape", [(M, N), (M, N, 1)])
def test_one_probability_is_that_of_class_1(shape):
    z, phi, rest = binary()
    sigmoid = 1 / (1 + np.exp(-z)).reshape(shape)
    np.testing.assert_allclose(Signals(probabilities=sigmoid, **rest).phi[..., 0], phi, rtol=1e-6)
    for given, dividing in ((sigmoid, ""), (sigmoid * 100, "divided by 100 ")):
        message = message_of(logits=given, **rest)
        assert "`probabilities`" in message and dividing in message
    rounded = Signals(probabilities=sigmoid.round(2), **rest)
    np.testing.assert_allclose(rounded.resolution, [0.01, 0.01])


@pytest.mark.parametrize("key", ["logits", "probabilities", "predicted"])
def test_every_form_survives_a_file(tmp_path, key):
    z, rest = bank()
    given = {"logits": z, "probabilities": softmax(z).round(2), "predicted": z.argmax(-1)}[key]
    signals = Signals(**{key: given}, **rest)
    signals.save(tmp_path / "s.npz")
    loaded = Signals.load(tmp_path / "s.npz")
    np.testing.assert_array_equal(getattr(loaded, key), getattr(signals, key))
    assert (loaded.resolution is None) == (key != "probabilities")
    np.testing.assert_array_equal(loaded.is_correct, signals.is_correct)
    if key == "probabilities":
        np.testing.assert_array_equal(loaded.resolution, [0.01, 0.01])
        np.testing.assert_array_equal(loaded.phi, signals.phi)


def test_the_share_of_rows_is_told():
    z, rest = bank()
    p = softmax(z)
    p[:, :50] = 0
    shares = re.findall(r"(\d+\.\d)% of its rows", message_of(logits=p, **rest))
    assert shares == ["75.0"]

"""One model under two ids is refused wherever it would be its own reference."""

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.signals.copies import equal_labels
from pruneaudit.signals.signals import Signals

M, N, C = 5, 150, 4


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(M, N, C)).astype(np.float32)
    return z, {"labels": rng.integers(C, size=N), "member": rng.random((M, N)) < 0.5}


def softmax(z):
    p = np.exp(z.astype(float))
    return p / p.sum(axis=-1, keepdims=True)


FORMS = {
    "logits": lambda z: z,
    "probabilities": softmax,
    "logarithms with zeros": lambda z: np.log(softmax(z * 4).round(2) + (z == 9)),
    "a masked class": lambda z: np.concatenate([z, np.full_like(z[..., :1], -np.inf)], axis=-1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_copy_is_refused_and_both_are_named(form):
    z, rest = arrays()
    rest["model_ids"] = np.array(["a", "b", "c", "d", "e"])
    key = "probabilities" if form == "probabilities" else "logits"
    Signals(**{key: FORMS[form](z)}, **rest)
    z[3] = z[1]
    with pytest.raises(UserError, match="models b and d ") as caught:
        Signals(**{key: FORMS[form](z)}, **rest)
    assert "leave model d out" in str(caught.value)


def test_rounding_makes_no_other_model():
    z, rest = arrays()
    z[4] = z[0] * np.float32(1 + 1e-6)
    with pytest.raises(UserError, match="models 0 and 4"):
        Signals(logits=z, **rest)
    z[4, 7, 0] += 0.01
    assert Signals(logits=z, **rest).num_models == M


def test_models_that_say_the_same_of_every_sample_are_no_copies():
    z, rest = arrays()
    z[[1, 2]] = 0
    z[[3, 4]] = [1, 2, 3, 4]
    assert Signals(logits=z, **rest).num_models == M


def test_a_model_repeated_without_memory_is_a_copy_too():
    z, rest = arrays()
    with pytest.raises(UserError, match="models 0 and 1"):
        Signals(logits=np.broadcast_to(z[0], z.shape), **rest)


def test_equal_classes_are_legitimate():
    z, rest = arrays()
    classes = z.argmax(axis=-1)
    assert equal_labels(Signals(predicted=classes, **rest)) is None
    classes[4] = classes[2]
    assert equal_labels(Signals(predicted=classes, **rest)) == (2, 4)
    assert equal_labels(Signals(logits=z, **rest)) is None

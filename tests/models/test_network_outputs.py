"""Which part of a network's output holds the logits, and hooks that take it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.models._outputs import answering, as_before, as_written, check_answer, for_now, logits_in

# B batch, C classes

B = 4
LOGITS, OTHER, FEATURES = torch.zeros(B, 3), torch.ones(B, 3), torch.ones(B, 6)
NUMBERS, MAPS, LOSS, ONE = (
    torch.zeros(B, 3, dtype=torch.int64),
    torch.ones(B, 3, 2, 2),
    torch.tensor(1.0),
    torch.ones(B),
)


class Named(NamedTuple):
    hidden: Tensor
    logits: Tensor


CLEAR: dict[str, tuple[Any, int | None]] = {
    "tensor": (LOGITS, None),
    "dict": ({"loss": LOSS, "logits": LOGITS}, None),
    "named": (Named(OTHER, LOGITS), 3),
    "alone": ((LOGITS,), None),
    "loss first": ((LOSS, LOGITS, MAPS), None),
    "numbers": ([NUMBERS, LOGITS, None, "text"], None),
    "by its width": ((FEATURES, LOGITS), 3),
}
UNCLEAR: dict[str, tuple[Any, int | None]] = {
    "width unknown": ((FEATURES, LOGITS), None),
    "two": ((LOGITS, OTHER), 3),
    "none": ((LOSS, MAPS, NUMBERS), 3),
    "nested": ((LOSS, (LOGITS,)), 3),
    "empty": ((), 3),
    "no key": ({"scores": LOGITS}, 3),
    "two of one": ((ONE, ONE[:, None]), 2),
}


@pytest.mark.parametrize("name", CLEAR)
def test_the_only_logits_are_taken(name: str) -> None:
    output, num_classes = CLEAR[name]
    assert logits_in(output, num_classes) is LOGITS


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_not_clear_stays_and_is_refused(name: str) -> None:
    output, num_classes = UNCLEAR[name]
    found = logits_in(output, num_classes)
    assert found is output
    with pytest.raises(UserError, match=r"expected a tensor of logits .* return only the logits") as caught:
        check_answer(found, B, num_classes or 3, "net")
    assert "\n" not in str(caught.value)


def test_a_single_logit_goes_before_features_where_there_are_two_classes() -> None:
    assert logits_in((FEATURES, ONE), 2) is ONE
    assert logits_in((FEATURES, ONE), 3) is FEATURES  # whose shape is then refused
    with pytest.raises(UserError, match=r"outputs of shape \(4, 6\)"):
        check_answer(FEATURES, B, 3, "net")


def test_a_model_output_of_transformers() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    assert logits_in(outputs.SequenceClassifierOutput(logits=LOGITS, hidden_states=(FEATURES,))) is LOGITS
    without = outputs.BaseModelOutput(last_hidden_state=MAPS)
    assert logits_in(without) is without


class Net(nn.Module):
    """A network whose forward returns whatever a function makes of its logits."""

    def __init__(self, form: Any, outputs: int = 3) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(6, outputs), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.layer(x))


FORMS: dict[str, Any] = {
    "tensor": lambda logits: logits,
    "dict": lambda logits: OrderedDict(logits=logits),
    "tuple": lambda logits: (logits.mean(), logits),
}


@pytest.mark.parametrize("form", FORMS)
def test_hooks_for_now_are_in_copies_and_go_again(form: str) -> None:
    network = Net(FORMS[form])
    expected = network.layer(FEATURES)
    for_now(network, None)
    for each in (network, copy.deepcopy(network)):
        assert torch.equal(each(FEATURES), expected)
        with as_written(each):
            assert type(each(FEATURES)) is type(FORMS[form](LOGITS))
        assert torch.equal(each(FEATURES), expected)
        as_before(each)
        assert not each._forward_hooks
        assert type(each(FEATURES)) is type(FORMS[form](LOGITS))


def test_one_logit_becomes_two_only_while_answering() -> None:
    network = Net(FORMS["tuple"], 1)
    for_now(network, 2)
    assert network(FEATURES).shape == (B, 1)
    with answering(network):
        assert network(FEATURES).shape == (B, 2)
    assert network(FEATURES).shape == (B, 1)

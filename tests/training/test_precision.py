"""bfloat16 changes what steps compute in, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy, predict

LOW = {"precision": "bfloat16"}


def trained(make_model, samples, **settings):
    model = make_model("tinycnn")
    given = Training(epochs=8, batch_size=16, learning_rate=0.1, **settings)
    return model, train(model, samples, given, torch.Generator().manual_seed(0))


def test_it_learns_as_float32_does_to_the_precision_of_its_eight_bits(samples, make_model):
    (full, as_usual), (low, in_low) = trained(make_model, samples), trained(make_model, samples, **LOW)
    assert accuracy(low, samples) == 1
    for one, other in zip(as_usual.history, in_low.history, strict=True):
        assert one["loss"] != other["loss"]
        assert other["loss"] == pytest.approx(one["loss"], rel=0.1, abs=0.02)
    with torch.no_grad():
        assert not torch.equal(predict(full, samples), predict(low, samples))


def test_layers_compute_in_bfloat16_while_weights_momentum_and_answers_are_float32(samples, make_model):
    seen = []
    model = make_model("mlp")
    linear = next(module for module in model.modules() if isinstance(module, nn.Linear))
    linear.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    state = train(model, samples, Training(epochs=1, batch_size=16, **LOW), torch.Generator().manual_seed(0))
    assert set(seen) == {torch.bfloat16}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    kept = [
        value for own in state.optimizer.state.values() for value in own.values() if isinstance(value, torch.Tensor)
    ]
    assert kept
    assert {value.dtype for value in kept} == {torch.float32}
    seen.clear()
    assert predict(model, samples).dtype == torch.float32
    assert set(seen) == {torch.float32}


def test_a_bank_in_float32_keeps_the_name_that_it_had_before_there_was_a_choice():
    assert "precision" not in Training().identity
    assert Training(**LOW).identity["precision"] == "bfloat16"
    assert Training.model_validate(Training(**LOW).identity).precision == "bfloat16"


def test_a_function_of_the_users_refuses_it():
    with pytest.raises(UserError, match="precision = 'bfloat16'"):
        Training(**LOW, function="package.module:train")

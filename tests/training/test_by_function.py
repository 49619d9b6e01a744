"""A user's training function in the place of the loop: what it is given, and what may come out of it."""

import sys

import pytest
import torch

from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.by_function import DivergedFunctionError, train_by_function
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

HEAD = "import torch\nfrom torch.nn.functional import cross_entropy\n"


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A function from the body of `train` to the target that names it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body):
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / "own_loop.py").write_text(f"{HEAD}\ndef train(model, x, y, generator, device):\n{lines}\n")
        monkeypatch.delitem(sys.modules, "own_loop", raising=False)
        return "own_loop:train"

    return write


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_given_what_the_loop_would_train_on(target, make_model, samples):
    notes = "model.given = (x, y, device, model.training, generator.initial_seed(), x.is_contiguous())"
    model = make_model()
    assert train_by_function(model, samples, target(notes), generator(7)) == []
    x, y, device, training, seed, contiguous = model.given
    torch.testing.assert_close(x, samples.stored.permute(0, 3, 1, 2), rtol=0, atol=0)
    assert x.dtype == torch.float32
    assert torch.equal(y, samples.y)
    assert y.dtype == torch.int64
    assert (device, training, seed, contiguous) == ("cpu", True, 7, True)


def test_tables_come_as_rows(target, samples):
    table = Samples(samples.stored.flatten(1), samples.y)
    model = torch.nn.Linear(table.stored.shape[1], 3)
    train_by_function(model, table, target("model.given = x"), generator())
    assert torch.equal(model.given, table.stored)


LOOP = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
for epoch in range(3):
    order = torch.randperm(len(y), generator=generator)
    total = 0.0
    for batch in order.split(16):
        optimizer.zero_grad()
        loss = cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        total += float(loss.detach())
    yield {"loss": total / len(order.split(16))}
"""


def test_a_function_that_does_what_the_loop_does_comes_to_the_same(target, make_model, samples):
    by_loop, by_function = make_model("mlp"), make_model("mlp")
    settings = Training(epochs=3, batch_size=16, schedule="constant")
    expected = train(by_loop, samples, settings, generator(3)).history
    found = train_by_function(by_function, samples, target(LOOP), generator(3))
    for name, value in by_loop.state_dict().items():
        torch.testing.assert_close(by_function.state_dict()[name], value)
    assert [row["epoch"] for row in found] == [1, 2, 3]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected])


NOISY = "with torch.no_grad():\n    for p in model.parameters():\n        p.add_(torch.randn_like(p))"


def test_global_draws_are_seeded_and_put_back(target, make_model, samples):
    models, name = [make_model(), make_model(), make_model()], target(NOISY)
    torch.manual_seed(1)
    train_by_function(models[0], samples, name, generator(5))
    after = torch.rand(())
    torch.manual_seed(1)
    assert torch.rand(()) == after  # the function took nothing from it
    train_by_function(models[1], samples, name, generator(5))
    train_by_function(models[2], samples, name, generator(6))
    first, same, other = (next(model.parameters()) for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return None", []),
        ("return model", []),
        ("return []", []),
        ("return [{'loss': torch.tensor(0.5)}, {'loss': 0.25}]", [(1, 0.5), (2, 0.25)]),
        ("return ({'epoch': 10 * e, 'loss': e} for e in (1, 2))", [(10, 1.0), (20, 2.0)]),
    ],
)
def test_history_may_be_returned(target, make_model, samples, body, expected):
    rows = train_by_function(make_model(), samples, target(body), generator())
    assert [(row["epoch"], row["loss"]) for row in rows] == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return torch.nn.Linear(1, 1)", "returned another Linear;"),
        ("return 0.5", "returned float, expected nothing, or rows such as"),
        ("return {'loss': 1.0}", "returned dict, expected nothing, or rows such as"),
        ("return 'done'", "returned str, expected"),
        ("return [0.5, 0.25]", "gave a row '0.5', expected"),
        ("return [{'loss': 'low'}]", "gave a row"),
        ("return [{'epoch': float('nan'), 'loss': 1}]", "gave a row"),
        ("return [{'loss': 1.0}, {'accuracy': 1.0}]", "rows of different columns"),
        ("model.extra = torch.nn.Linear(1, 1)", "changed the network's parameters, buffers or their types"),
        ("model.double()", "changed the network's parameters, buffers or their types"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(target, make_model, samples, body, message):
    with pytest.raises(UserError, match=r"^training\.function: own_loop:train ") as caught:
        train_by_function(make_model(), samples, target(body), generator())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "with torch.no_grad():\n    next(model.parameters()).view(-1)[0] = float('nan')",
            "is not finite after own_loop:train",
        ),
        (
            "with torch.no_grad():\n    next(model.parameters()).view(-1)[0] = float('inf')",
            "is not finite after own_loop:train",
        ),
        ("return [{'loss': 1.0}, {'loss': float('nan')}]", "the loss of epoch 2 is not finite after own_loop:train"),
    ],
)
def test_what_is_not_finite_is_a_diverged_training(target, make_model, samples, body, message):
    with pytest.raises(DivergedFunctionError, match=message):
        train_by_function(make_model(), samples, target(body), generator())


def test_its_own_errors_are_passed_on(target, make_model, samples):
    with pytest.raises(ZeroDivisionError):
        train_by_function(make_model(), samples, target("1 / 0"), generator())


def test_without_samples_there_is_nothing_to_train(target, make_model, samples):
    with pytest.raises(UserError, match="no training sample at all"):
        train_by_function(make_model(), Samples(samples.stored[:0], samples.y[:0]), target("return"), generator())

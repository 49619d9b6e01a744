"""Gradients of single samples in networks for images, and networks for which Opacus computes wrong ones."""

# B batch, T positions, D width

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.defenses._dp_sgd import PerSample, embedding_gradients
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.dp import DEFENSE, DpOptions
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeDefenseContext = Callable[..., DefenseContext]
OPTIONS = DpOptions(noise_multiplier=0.1)
ONE_STEP = Training(epochs=1, batch_size=100, learning_rate=0.1)
VOCABULARY = Vocabulary(size=9, padding=0, unknown=1)
NETWORKS: dict[str, dict[str, Any]] = {
    "vit": {"width": 8, "layers": 2, "heads": 2},
    "convnext": {"width": 4, "layers": 1},
    "mobilenet": {"width": 4, "layers": 1},
}


def network(name: str) -> nn.Module:
    """Prepared, with other weights, biases and scales everywhere."""
    model = DEFENSE.prepare(build_model(name, NETWORKS[name], (1, 8, 8), 3, torch.Generator().manual_seed(0)), OPTIONS)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draws)
    return model


def one_by_one(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The gradient of each sample, (B, ...), by parameter name."""
    names, weights = zip(*model.named_parameters(), strict=True)
    rows = [torch.autograd.grad(cross_entropy(model(x[i : i + 1]), y[i : i + 1]), weights) for i in range(len(x))]
    return {name: torch.stack([row[place] for row in rows]) for place, name in enumerate(names)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_each_sample_has_its_gradient(name: str, form: torch.memory_format) -> None:
    model = network(name).to(memory_format=form)
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(5, 1, 8, 8, generator=draws).to(memory_format=form)
    y = torch.randint(3, (5,), generator=draws)
    expected = one_by_one(model, x, y)
    wrapped = PerSample(model)
    cross_entropy(model(x.detach().requires_grad_()), y).backward()
    for parameter_name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad_sample, expected[parameter_name], rtol=1e-3, atol=1e-5)
    wrapped.to_standard_module()


@pytest.mark.parametrize("name", NETWORKS)
def test_they_train_with_batches_of_all_sizes(name: str, make_defense_context: MakeDefenseContext) -> None:
    model = network(name)
    before = copy.deepcopy(model.state_dict())
    context = make_defense_context(Training(epochs=1, batch_size=2, learning_rate=0.1))
    hooks = DEFENSE.hooks(model, OPTIONS, context)
    state = train(model, context.members, context.settings, torch.Generator().manual_seed(3), hooks)
    assert state.step == 20  # of 41 samples, about two each; some batches are empty
    assert all(
        value.isfinite().all() and not torch.equal(value, before[key])
        for key, value in state.model.state_dict().items()
    )


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3), (1, 6), (0, 6), (4,)])
@pytest.mark.parametrize("padding", [None, 1])
def test_tables_have_the_gradient_of_torch(shape: tuple[int, ...], padding: int | None) -> None:
    draws = torch.Generator().manual_seed(0)
    table, ids = nn.Embedding(5, 3, padding_idx=padding), torch.randint(5, shape, generator=draws)
    slopes = torch.randn(*shape, 3, generator=draws)
    found = embedding_gradients(table, [ids], slopes)[table.weight]
    assert found.shape == (shape[0], 5, 3)
    for row, one, slope in zip(found, ids, slopes, strict=True):
        torch.testing.assert_close(row, torch.autograd.grad(table(one), table.weight, slope)[0])


class Rows(nn.Module):
    """The rows of an image as a sequence, with learned positions that are looked up in some way."""

    def __init__(self, lookup: Callable[[nn.Embedding, Tensor], Tensor]) -> None:
        super().__init__()
        self.positions, self.lookup = nn.Embedding(8, 8), lookup
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0] + self.lookup(self.positions, x)  # (B, T, D)
        return self.head(rows.tanh().mean(1))


def numbers(x: Tensor) -> Tensor:
    return torch.arange(8).expand(len(x), -1)


RIGHT: dict[str, Callable[[nn.Embedding, Tensor], Tensor]] = {
    "for each sample": lambda table, x: table(numbers(x)),
    "twice": lambda table, x: table(numbers(x)) + table(numbers(x)).cos(),
}
WRONG: dict[str, tuple[Callable[[nn.Embedding, Tensor], Tensor], str]] = {
    "once": (
        lambda table, x: table(torch.arange(8)[None]),
        r"'positions\.weight' has 1 gradients for 41.*expand\(B, T\)",
    ),
    "without a batch": (lambda table, x: table(torch.arange(8)), r"'positions\.weight' has 8 gradients for 41"),
    "by its weight": (lambda table, x: table.weight, r"'positions\.weight' has no gradients of single samples.*call"),
    "in both ways": (lambda table, x: table(numbers(x)) + table.weight.sin(), r"'positions\.weight' do not add up"),
    "never": (lambda table, x: torch.zeros(8, 8), r"'positions\.weight' does not affect"),
}


def trained(model: nn.Module, context: DefenseContext) -> None:
    hooks = DEFENSE.hooks(model, OPTIONS, context)
    train(model, context.members, context.settings, torch.Generator().manual_seed(3), hooks)


@pytest.mark.parametrize("name", RIGHT)
def test_positions_of_each_sample_are_right(name: str, make_defense_context: MakeDefenseContext) -> None:
    trained(DEFENSE.prepare(Rows(RIGHT[name]), OPTIONS), make_defense_context(ONE_STEP))


@pytest.mark.parametrize("name", WRONG)
def test_a_parameter_without_the_gradient_of_each_sample_is_named(
    name: str, make_defense_context: MakeDefenseContext
) -> None:
    lookup, words = WRONG[name]
    with pytest.raises(UserError, match=words) as refused:
        trained(DEFENSE.prepare(Rows(lookup), OPTIONS), make_defense_context(ONE_STEP))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", ["plain", "expanded"])
def test_positions_of_transformers(config: str, make_defense_context: MakeDefenseContext) -> None:
    """Its BERT looks positions up as (1, T) unless it gets them for each sample."""
    transformers = pytest.importorskip("transformers")

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
            made = transformers.BertConfig(vocab_size=9, max_position_embeddings=16, num_labels=3, **sizes)
            self.bert = transformers.BertForSequenceClassification(made)

        def forward(self, x: Tensor) -> Tensor:
            ids = x[:, 0, 0].abs().mul(3).long().clamp(0, 8)  # (B, T)
            given = {"position_ids": torch.arange(8).expand(len(ids), -1)} if config == "expanded" else {}
            logits: Tensor = self.bert(input_ids=ids, **given).logits
            return logits

    model = DEFENSE.prepare(Bert(), OPTIONS)
    if config == "expanded":
        trained(model, make_defense_context(ONE_STEP))
    else:
        with pytest.raises(UserError, match=r"position_embeddings\.weight' has 1 gradients for 41"):
            trained(model, make_defense_context(ONE_STEP))


def texts() -> Samples:
    draws = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 7, (41,), generator=draws, dtype=torch.int32)
    ids = torch.randint(1, 9, (41, 6), generator=draws, dtype=torch.int32)
    ids[torch.arange(6) >= lengths[:, None]] = 0
    return Samples(ids, torch.randint(3, (41,), generator=draws), lengths, VOCABULARY)


def test_texts_train_with_batches_of_all_sizes(make_defense_context: MakeDefenseContext) -> None:
    shape, sizes = TokenShape(6, VOCABULARY), {"width": 8, "layers": 1, "heads": 2}
    model = build_model("tiny_transformer", sizes, shape, 3, torch.Generator().manual_seed(0))
    context = make_defense_context(Training(epochs=1, batch_size=2, learning_rate=0.1), members=texts())
    trained(DEFENSE.prepare(model, OPTIONS), context)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_changes_in_place_are_refused_in_one_line() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.one(x)
            hidden += x
            return self.two(hidden)

    draws = torch.Generator().manual_seed(0)
    with pytest.raises(UserError, match=r"defense 'dp' cannot take .* write x = x \+ y for x \+= y") as refused:
        DEFENSE.try_batch(DEFENSE.prepare(InPlace(), OPTIONS), torch.randn(4, 8, generator=draws), torch.arange(4) % 3)
    assert "\n" not in str(refused.value)

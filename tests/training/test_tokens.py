"""Texts as token ids, from samples to a trained network and its answers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.augment import augmentation, token_dropout
from pruneaudit.data.drawing import draw
from pruneaudit.data.inputs import answered, shortened, token_inputs
from pruneaudit.data.kinds import TokenShape, Vocabulary, kind_of, not_tokens
from pruneaudit.data.source import RawData
from pruneaudit.models import build_model
from pruneaudit.models._arguments import take_what_it_names
from pruneaudit.signals.collect import collect
from pruneaudit.signals.embedding_noise import input_embedding
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study import Data, Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy, predict
from pruneaudit.training.samples import Samples

# N samples, T tokens, C classes

WORDS = Vocabulary(size=30, padding=0, unknown=1)
LENGTH, CLASSES = 7, 3


def texts(num: int = 120, seed: int = 0) -> RawData:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, LENGTH + 1, num).astype(np.int32)
    ids = rng.integers(2, WORDS.size, (num, LENGTH)).astype(np.int32)
    ids[np.arange(LENGTH) >= lengths[:, None]] = WORDS.padding
    names = tuple("abc")
    return RawData(ids, rng.integers(0, CLASSES, num), names, lengths=lengths, vocabulary=WORDS)


def audited(**options: int) -> AuditData:
    return draw(texts(), Data(num_samples=80, num_holdout=20, num_public=10, **options), seed=1)


def network(data: AuditData, seed: int = 0, **options: float) -> nn.Module:
    model = build_model(
        "tiny_transformer", {"width": 16, **options}, data.input_shape, CLASSES, torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def test_a_shape_of_texts_is_a_tuple_that_knows_its_vocabulary() -> None:
    shape = TokenShape(LENGTH, WORDS)
    assert shape == (LENGTH,) and kind_of(shape) == "tokens" and kind_of((LENGTH,)) == "table"
    assert kind_of((3, 8, 8)) == "image"
    assert pickle.loads(pickle.dumps(shape)).vocabulary == WORDS  # noqa: S301 - our own bytes
    with pytest.raises(UserError, match="mixup: got texts"):
        not_tokens(shape, "mixup", "leave it out")
    not_tokens((LENGTH,), "mixup", "leave it out")


def test_texts_are_kept_on_disk_and_enter_the_hash(tmp_path: Path) -> None:
    data = replace(audited(), tokenizer='{"model": 1}')
    data.save(tmp_path)
    held = AuditData.load(tmp_path)
    assert held.kind == "tokens" and held.vocabulary == WORDS and held.tokenizer == data.tokenizer
    assert {path.name for path in tmp_path.iterdir()} == {*data.files}
    assert held.sha256 == data.sha256 == replace(data, tokenizer="").sha256
    assert data.lengths is not None
    shorter = replace(data, lengths=np.maximum(data.lengths - 1, 1).astype(np.int32))
    assert shorter.sha256 != data.sha256 and shorter.public_sha256 != data.public_sha256
    assert replace(data, vocabulary=Vocabulary(31, 0, 1)).sha256 != data.sha256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.full((4, LENGTH), 30, np.int32)}, "ids 30..30 in row 0, expected 0..29"),
        ({"x": np.full((4, LENGTH), -1, np.int32)}, "ids -1..-1 in row 0"),
        ({"x": np.zeros((4, LENGTH), np.int64)}, "got int64"),
        ({"lengths": np.array([1, 2, 0, 3], np.int32)}, "got 0 in row 2, expected 1..7"),
        ({"lengths": np.array([1, 2, 8, 3], np.int32)}, "got 8 in row 2"),
        ({"lengths": np.array([1, 2, 3], np.int32)}, "lengths: got int32 of shape"),
        ({"vocabulary": Vocabulary(5, 5, 1)}, "vocabulary: got ids"),
    ],
)
def test_wrong_texts_are_refused(change: dict[str, object], words: str) -> None:
    given = {"x": np.zeros((4, LENGTH), np.int32), "lengths": np.ones(4, np.int32), "vocabulary": WORDS} | change
    with pytest.raises(UserError, match=words):
        RawData(y=np.array([0, 1, 0, 1]), classes=("a", "b"), **given)  # type: ignore[arg-type]


def test_the_mask_comes_from_lengths_and_not_from_ids() -> None:
    batch = token_inputs(torch.tensor([[5, 0, 0], [0, 7, 0]], dtype=torch.int32), torch.tensor([1, 3]))
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]


def test_padding_changes_nothing() -> None:
    data = audited()
    model, samples = network(data, layers=2), Samples.of(data, ~data.unseen)
    x = samples.inputs(slice(0, 20))
    assert not isinstance(x, Tensor)
    padding = x["attention_mask"] == 0
    assert padding.any()
    other = x | {"input_ids": x["input_ids"].masked_fill(padding, 9)}
    torch.testing.assert_close(answered(model, other), answered(model, x), rtol=0, atol=0)
    seen = x | {"attention_mask": torch.ones_like(padding).long()}
    assert (answered(model, seen) - answered(model, x)).abs().max() > 1e-3


def test_training_repeats_to_the_bit_and_learns() -> None:
    data = audited()
    settings = Training(epochs=25, optimizer="adam", learning_rate=5e-3, batch_size=16)
    samples, found = Samples.of(data, ~data.unseen), []
    for _ in range(2):
        model = network(data)
        train(model, samples, settings, torch.Generator().manual_seed(3))
        found.append(predict(model, samples))
    assert torch.equal(*found)
    assert accuracy(model, samples) > 0.9


def test_only_networks_that_say_so_get_shorter_batches() -> None:
    data = audited()
    model, samples = network(data), Samples.of(data, ~data.unseen)
    x = samples.inputs(torch.tensor([int(samples.lengths.argmin()), int(samples.lengths.argmin())]))  # type: ignore
    assert not isinstance(x, Tensor)
    short = shortened(x, model)
    assert not isinstance(short, Tensor)
    longest = int(x["attention_mask"].sum(1).max())
    assert short["input_ids"].shape == short["attention_mask"].shape == (2, longest) and longest < LENGTH
    torch.testing.assert_close(answered(model, short), answered(model, x), rtol=1e-5, atol=1e-6)
    assert shortened(x, nn.Linear(1, 1)) is x
    none = {key: value[:0] for key, value in x.items()}
    assert answered(model, shortened(none, model)).shape == (0, CLASSES)


def test_token_dropout_replaces_real_tokens_alone() -> None:
    x = token_inputs(torch.full((400, 10), 7), torch.full((400,), 6))
    found = token_dropout(x, torch.Generator().manual_seed(0), WORDS)
    dropped = found["input_ids"] == WORDS.unknown
    assert not dropped[:, 6:].any()
    assert 0.12 < float(dropped[:, :6].double().mean()) < 0.18
    assert (found["input_ids"][~dropped] == 7).all() and (x["input_ids"] == 7).all()


@pytest.mark.parametrize(("name", "vocabulary"), [("crop_flip", WORDS), ("token_dropout", None)])
def test_augmentations_of_another_kind_are_refused(name: str, vocabulary: Vocabulary | None) -> None:
    with pytest.raises(UserError, match=rf"training.augment: got '{name}'"):
        augmentation(name, vocabulary)


def test_queries_are_views_without_some_tokens_equal_for_all_networks() -> None:
    data = audited()
    samples = Samples.of(data, ~data.unseen)
    one, again = (collect(network(data, seed), samples, 3, 0)["confidence"] for seed in (0, 0))
    assert np.array_equal(one, again)
    assert (one[:, 0] != one[:, 1]).mean() > 0.3 and (one[:, 1] != one[:, 2]).any()


def test_sensitivity_is_the_slope_towards_the_embedding() -> None:
    data = audited()
    model, samples = network(data), Samples.of(data, ~data.unseen)
    found = sensitivity(model, samples, 0, 0, draws=200)
    # The oracle: for a small step, E|g u| of a normal u is |g| sqrt(2 / pi), with g by autograd at the embedding.
    x = samples.inputs(slice(0, 12))
    assert not isinstance(x, Tensor)
    table = input_embedding(model, samples)
    assert isinstance(table, nn.Embedding)
    rms = float(table.weight.detach().square().mean().sqrt())
    held: list[Tensor] = []
    handle = table.register_forward_hook(lambda _, args, output: held.append(output) or output)
    p = answered(model, x).softmax(1)
    for c in range(CLASSES):
        slopes = torch.autograd.grad(p[:, c].sum(), held[-1], retain_graph=True)[0] * x["attention_mask"][:, :, None]
        expected = rms * slopes.flatten(1).norm(dim=1) * np.sqrt(2 / np.pi)
        np.testing.assert_allclose(found[:12, c], expected.detach(), rtol=0.25)
    handle.remove()


class Renamed(nn.Module):
    """A user's network with names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(WORDS.size, 8), nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.out((self.table(tokens) * mask[:, :, None]).sum(1))


class Unmasked(Renamed):
    """It wants no mask."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.out(self.table(x).mean(1))


class OneHot(nn.Module):
    """It has no embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WORDS.size, CLASSES)

    def forward(self, input_ids: Tensor, **_: Tensor) -> Tensor:
        return self.out(nn.functional.one_hot(input_ids, WORDS.size).float().mean(1))


@pytest.mark.parametrize("kind", [Renamed, Unmasked, OneHot])
def test_networks_get_the_arguments_that_they_name(kind: type[nn.Module]) -> None:
    data = audited()
    samples = Samples.of(data, ~data.is_copy)
    x, model = samples.inputs(slice(None)), kind()
    assert not isinstance(x, Tensor)
    positional = (x["input_ids"], x["attention_mask"]) if kind is Renamed else (x["input_ids"],)
    expected = model(*positional)
    take_what_it_names(model)
    assert torch.equal(answered(model, x), expected)
    if kind is OneHot:
        with pytest.raises(UserError, match=r"no nn\.Embedding of the network gets the token ids"):
            sensitivity(model, samples, 0, 0)
    else:
        assert input_embedding(model, samples) is model.table
        assert (sensitivity(model, samples, 0, 0, draws=2) > 0).any()


def test_models_refuse_samples_of_another_kind() -> None:
    draws = torch.Generator()
    with pytest.raises(UserError, match=r"'mlp': got samples of shape \(7,\), expected .*; for texts, use .*tiny_tr"):
        build_model("mlp", {}, TokenShape(LENGTH, WORDS), CLASSES, draws)
    with pytest.raises(UserError, match=r"'tiny_transformer': got samples of shape .* for images, use"):
        build_model("tiny_transformer", {}, (1, 8, 8), CLASSES, draws)
    with pytest.raises(UserError, match="width = 10 and heads = 4"):
        build_model("tiny_transformer", {"width": 10}, TokenShape(LENGTH, WORDS), CLASSES, draws)

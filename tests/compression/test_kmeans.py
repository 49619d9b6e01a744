"""Weight clustering: k-means against a naive one, shared values in training, weights that were removed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.codebooks import Codebook, Codebooks, centroids_of, nearest
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask import Masks
from pruneaudit.study import Training
from pruneaudit.training.hooks import TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
STARTS: list[Any] = ["linear", "density", "kmeans++"]


def clustered(model: nn.Module, masks: Masks | None = None, **options: Any) -> Compressed:
    kmeans = COMPRESSORS.get("kmeans")
    context: Any = CompressionContext(
        torch.empty(1, 0), torch.Generator().manual_seed(0), lambda *_: None, nn.Module, masks=masks
    )
    return kmeans.compress(model, kmeans.Options(**options), context)


def lloyd(values: Tensor, centroids: list[float]) -> list[float]:
    """K-means, one value at a time: the nearest centroid, of two the lower one; empty ones stay."""
    for _ in range(1000):
        parts: list[list[float]] = [[] for _ in centroids]
        for value in values.tolist():
            distances = [abs(value - centroid) for centroid in centroids]
            parts[distances.index(min(distances))].append(value)
        moved = [sum(part) / len(part) if part else old for part, old in zip(parts, centroids, strict=True)]
        if moved == centroids:
            break
        centroids = moved
    return centroids


@given(seed=st.integers(0, 2**32), number=st.integers(12, 60), clusters=st.integers(2, 8))
@settings(deadline=None, max_examples=40)
def test_centroids_are_those_of_naive_k_means(seed: int, number: int, clusters: int) -> None:
    values = torch.randn(number, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = float(values.min()), float(values.max())
    start = [low + (high - low) * place / (clusters - 1) for place in range(clusters)]
    found = centroids_of(values, clusters, "linear", torch.Generator())
    assert found.tolist() == pytest.approx(lloyd(values, start), abs=1e-9)


@pytest.mark.parametrize("start", STARTS)
def test_as_many_clusters_as_values_lose_nothing(start: Any) -> None:
    values = torch.tensor([0.0, 0.1, 10.0, 0.1, -3.0, 0.0])
    for clusters in (4, 5, 16):
        centroids = centroids_of(values, clusters, start, torch.Generator().manual_seed(1))
        assert torch.equal(centroids[nearest(values, centroids)].float(), values)


@pytest.mark.parametrize("start", STARTS)
def test_more_clusters_lie_closer_and_the_same_seed_gives_the_same(start: Any) -> None:
    values = torch.randn(500, generator=torch.Generator().manual_seed(2))
    errors = []
    for clusters in (2, 8, 32):
        found = [centroids_of(values, clusters, start, torch.Generator().manual_seed(3)) for _ in range(2)]
        assert torch.equal(*found)
        assert (found[0].diff() >= 0).all()
        errors.append(float((found[0][nearest(values, found[0])] - values).square().sum()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_a_value_in_the_middle_goes_to_the_lower_centroid() -> None:
    assert nearest(torch.tensor([0.5, 0.50001]), torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == [0, 1]


def test_an_empty_cluster_keeps_its_centroid_and_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.1, 0.2, 9.0]]))
    made = clustered(model, clusters=3)
    assert made.description == {"empty_clusters": {"0.weight": 1}}
    codebook = COMPRESSORS.get("kmeans").state(made)["codebook/0.weight"]
    assert codebook.tolist() == pytest.approx([0.1, 4.5, 9.0])


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_clusters_stay_together_in_training_and_are_rebuilt_bit_for_bit(
    reduce: str, optimizer: Any, make_net: MakeNet, noise: Samples
) -> None:
    kmeans, model = COMPRESSORS.get("kmeans"), make_net("tinycnn")
    made = clustered(model, clusters=5, reduce=reduce)
    before = kmeans.state(made)
    rate = 0.01 if optimizer == "sgd" and reduce == "mean" else 1e-3
    settings = Training(epochs=2, batch_size=8, learning_rate=rate, optimizer=optimizer)
    train(model, noise, settings, torch.Generator(), made.hooks)
    after = kmeans.state(made)
    for name, weight in kmeans.restore(after).items():
        assert torch.equal(model.get_parameter(name), weight)
        assert len(weight.unique()) <= 5
        assert torch.equal(before[f"index/{name}"], after[f"index/{name}"])
        assert not torch.equal(before[f"codebook/{name}"], after[f"codebook/{name}"])


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_a_shared_value_moves_by_the_mean_or_the_sum_of_its_gradients(reduce: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    book = Codebook.of(torch.tensor([[0, 1, 0]]), None, torch.tensor([2.0, 5.0]))
    codebooks = Codebooks({"0.weight": book}, reduce)
    codebooks.write(model)
    (hook,) = codebooks.hooks(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    state = TrainingState(model, optimizer, torch.Generator(), 1, 1)
    (model[0].weight * torch.tensor([[1.0, 2.0, 4.0]])).sum().backward()
    hook.after_backward(state)
    optimizer.step()
    hook.after_step(state)
    moved = 2.5 if reduce == "mean" else 5.0
    assert model[0].weight.tolist() == [[2 - moved, 3.0, 2 - moved]]


def test_removed_weights_take_no_part_and_stay_zero(make_net: MakeNet, noise: Samples) -> None:
    kmeans, model = COMPRESSORS.get("kmeans"), make_net("mlp")
    names = [name for name, parameter in model.named_parameters() if parameter.ndim == 2]
    generator = torch.Generator().manual_seed(0)
    masks = Masks({n: torch.rand(model.get_parameter(n).shape, generator=generator) < 0.3 for n in names})
    masks.apply(model)
    kept = {name: model.get_parameter(name).detach()[masks[name]] for name in names}
    made = clustered(model, masks, clusters=4)
    for name in names:
        centroids = centroids_of(kept[name], 4, "linear", torch.Generator())
        shared = centroids[nearest(kept[name], centroids)].float()
        assert torch.equal(model.get_parameter(name).detach()[masks[name]], shared)
    train(model, noise, Training(epochs=1, batch_size=8), torch.Generator(), (*masks.hooks(model), *made.hooks))
    for name in names:
        weight = model.get_parameter(name).detach()
        assert (weight[~masks[name]] == 0).all()
        assert len(weight[masks[name]].unique()) <= 4
    assert kmeans.state(made).keys() == {f"{kind}/{name}" for kind in ("index", "codebook") for name in names}


def test_the_squared_error_is_that_of_scikit_learn() -> None:
    """From the same centroids, its Lloyd steps end where ours do; from its own, ours are at most 2% worse."""
    from sklearn.cluster import KMeans

    generator = torch.Generator().manual_seed(4)
    values = torch.cat([torch.randn(3000, generator=generator), 4 + torch.randn(500, generator=generator)]).double()
    for clusters in (4, 16):
        places = [int((place + 0.5) / clusters * len(values)) for place in range(clusters)]
        start = values.sort().values[places][:, None]
        points = values[:, None].numpy()
        same = KMeans(clusters, init=start.numpy(), n_init=1, max_iter=1000, tol=0, algorithm="lloyd").fit(points)
        own = centroids_of(values, clusters, "density", generator)
        error = float((own[nearest(values, own)] - values).square().sum())
        assert error == pytest.approx(same.inertia_, rel=1e-6)
        assert own.tolist() == pytest.approx(sorted(same.cluster_centers_[:, 0].tolist()), rel=1e-6)
        best = KMeans(clusters, n_init=1, random_state=0).fit(points)
        found = centroids_of(values, clusters, "kmeans++", generator)
        assert float((found[nearest(values, found)] - values).square().sum()) < 1.02 * best.inertia_


def test_convolutions_can_have_other_clusters(make_net: MakeNet) -> None:
    state = COMPRESSORS.get("kmeans").state(clustered(make_net(), clusters=4, convolution_clusters=16))
    sizes = {key.removeprefix("codebook/"): len(value) for key, value in state.items() if key.startswith("codebook/")}
    assert sizes.pop("classifier.weight") == 4
    assert set(sizes.values()) == {16}
    assert len(sizes) == 3


def test_a_layer_with_hardly_more_weights_than_values_costs_no_more_than_its_weights() -> None:
    model = nn.Sequential(nn.Linear(5, 4, bias=False))
    assert COMPRESSORS.get("kmeans").size(COMPRESSORS.get("kmeans").state(clustered(model, clusters=256))) == 32 * 20

"""Audits in several threads at once: the findings of one after the other, and nothing of the caller's changes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_info
from torch import nn

from pruneaudit.attacks._fitting import Recipe, fit
from pruneaudit.attacks._private_draws import PrivateDraws
from pruneaudit.core.threads import one_blas_thread, one_torch_thread
from pruneaudit.evaluation import audit

ATTACKS = "nn:epochs=1,samia:epochs=1"


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def several_threads() -> Iterator[int]:
    """Torch and BLAS with three threads, whatever the machine has."""
    before, libraries = torch.get_num_threads(), ThreadpoolController().select(user_api="blas").lib_controllers
    of_libraries = [library.num_threads for library in libraries]

    def set_blas(numbers: list[int]) -> None:
        for library, number in zip(libraries, numbers, strict=True):
            library.set_num_threads(number)

    torch.set_num_threads(3)
    in_new_thread(lambda: set_blas([3] * len(libraries)))  # in a thread that ends: threadpoolctl binds limits to one
    yield 3
    in_new_thread(lambda: set_blas(of_libraries))
    torch.set_num_threads(before)


def blas_threads() -> set[int]:
    """The number of threads of every BLAS library that is loaded."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def in_new_thread(action: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(action).result()


def beside_one_another(actions: list[Callable[[], Any]]) -> list[Any]:
    """What the actions return, begun at the same moment in a thread each."""
    together = threading.Barrier(len(actions))

    def begun(action: Callable[[], Any]) -> Any:
        together.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(begun, actions))


def test_two_threads_find_what_one_after_the_other_does(make_bank, often_switched, several_threads):
    banks = []
    for seed in (0, 1):
        bank = make_bank(num_models=4, num_samples=30, seed=seed)
        shaking = np.random.default_rng(seed).exponential(size=bank.logits.shape)
        banks.append(replace(bank, sensitivity=shaking))
    actions = [lambda bank=bank: audit(bank, attacks=ATTACKS) for bank in banks]
    expected = [action() for action in actions]
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    found = beside_one_another(actions)
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one.findings, other.findings, check_exact=True)
        for label in one.scores:
            np.testing.assert_array_equal(one.scores[label], other.scores[label])
    assert torch.equal(torch.get_rng_state(), torch_state)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(before, after)
    assert torch.get_num_threads() == several_threads
    assert in_new_thread(torch.get_num_threads) == several_threads
    assert blas_threads() == {several_threads}


def test_one_thread_at_a_time_has_the_blas_limit_and_it_goes_with_the_last(several_threads):
    inside, seen = [], []

    def limited() -> None:
        with one_blas_thread(), one_blas_thread():
            inside.append(1)
            seen.append((len(inside), blas_threads()))
            inside.pop()

    beside_one_another([limited] * 4)
    assert seen == [(1, {1})] * 4
    assert blas_threads() == {several_threads}


def test_torchs_number_is_one_here_and_what_it_was_in_other_threads(several_threads):
    with one_torch_thread():
        assert torch.get_num_threads() == 1
        assert in_new_thread(torch.get_num_threads) == several_threads
        with one_torch_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == several_threads


class Noisy(nn.Module):
    """A plug-in's network, which draws in every way that torch has on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.scale = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2)."""
        hidden = nn.functional.dropout(self.first(x), 0.5, self.training)
        noise = torch.rand(8) if self.training else 0.5  # an operation without a generator
        return self.last(hidden * self.scale + noise)


def test_networks_of_plug_ins_draw_from_no_global_generator_either():
    recipe = Recipe("adam", 1e-2, 0.0, epochs=2, batch_size=16, schedule="constant", select_epoch=False)
    x = np.random.default_rng(0).random((64, 3), dtype=np.float32)

    def trained(seed: int) -> list[torch.Tensor]:
        network = fit(Noisy, x, x[:, 0] > 0.5, (x[:0], x[:0, 0] > 0.5), recipe, seed)
        return [parameter.detach() for parameter in network.parameters()]

    before = torch.get_rng_state()
    first = trained(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    try:
        assert all(torch.equal(one, other) for one, other in zip(trained(7), first, strict=True))
        assert not any(torch.equal(one, other) for one, other in zip(trained(8), first, strict=True))
    finally:
        torch.set_rng_state(before)


def test_private_draws_are_those_of_a_generator_with_that_seed():
    with PrivateDraws(3):
        layer, mask = nn.Linear(4, 5), nn.functional.dropout(torch.ones(50), 0.3)
    before = torch.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        expected, expected_mask = nn.Linear(4, 5), nn.functional.dropout(torch.ones(50), 0.3)
    assert torch.equal(layer.weight, expected.weight)
    assert torch.equal(mask, expected_mask)
    assert torch.equal(torch.get_rng_state(), before)

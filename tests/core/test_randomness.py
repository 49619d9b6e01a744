"""Every purpose has draws of its own, and nothing else changes them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.randomness import numpy_generator, seed_for, torch_generator

SEEDS = st.integers(0, 2**63 - 1)
IDS = st.lists(st.integers(0, 10) | st.sampled_from("ab1"), max_size=3).map(tuple)


@given(SEEDS, st.text(max_size=5), IDS)
def test_a_seed_is_in_range_and_serves_both_libraries(seed: int, purpose: str, ids: tuple[int | str, ...]) -> None:
    drawn = seed_for(seed, purpose, *ids)
    assert 0 <= drawn < 2**63
    assert torch_generator(seed, purpose, *ids).initial_seed() == drawn
    again = np.random.default_rng(drawn).random(3)
    assert (numpy_generator(seed, purpose, *ids).random(3) == again).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["train", "prune"]), IDS), min_size=2, unique=True))
def test_different_purposes_have_different_seeds(purposes: list[tuple[int, str, tuple[int | str, ...]]]) -> None:
    seeds = {seed_for(seed, purpose, *ids) for seed, purpose, ids in purposes}
    assert len(seeds) == len({repr(purpose) for purpose in purposes})


def test_the_boundaries_between_ids_count() -> None:
    seeds = [seed_for(0, "a", 11), seed_for(0, "a", 1, 1), seed_for(0, "a", "11"), seed_for(0, "a11"), seed_for(1, "a")]
    assert len(set(seeds)) == len(seeds)


def test_seeds_never_change() -> None:
    # Computed by hand: the first 8 bytes of `printf '[0,"training",3]' | sha256sum`, halved.
    assert seed_for(0, "training", 3) == 0x2F1D7CE2C50266E9 >> 1


def test_generators_are_independent_of_the_global_state() -> None:
    torch.manual_seed(0)
    one = torch.rand(4, generator=torch_generator(7, "x", 1))
    torch.manual_seed(1)
    assert torch.equal(one, torch.rand(4, generator=torch_generator(7, "x", 1)))


def test_seeds_and_numpy_generators_need_no_torch() -> None:
    code = "import sys, pruneaudit.core.randomness as r; r.numpy_generator(0, 'x'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""Simulated choices with known truth: how often each way of choosing breaks its limits, and how large the choice is.

`-rP` prints the rows of the table in `docs/statistics.md`, section "Choosing".
"""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
NUM = 1000
MOST = 0.05 + 2 * np.sqrt(0.05 * 0.95 / NUM)
TPR = "tpr_at_1%_fpr"
SHEET = {  # m: broken by the naive choice among studies that ship, at a spread of 2 s and of .5 s
    5: (0.24, 0.56),
    10: (0.31, 0.64),
    20: (0.36, 0.70),
    50: (0.44, 0.78),
}


@pytest.fixture(scope="module")
def bench():
    """The script of the benchmark, with its folder on the path while it is imported."""
    sys.path.insert(0, str(FOLDER))
    try:
        import choose

        yield choose
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("choose", "choice_worlds"):
            sys.modules.pop(name, None)


def simulated(bench, world, num=NUM):
    found = bench.simulate(world, num)
    print(bench.line(str(world), found))
    return found


def test_a_small_simulation_runs_and_repeats_itself(bench):
    world = bench.Estimates(bench.Spread(6, 2.0))
    assert bench.simulate(world, 5) == bench.simulate(world, 5)
    found = bench.simulate(bench.Estimates(bench.Spread(6, 0.0)), 5)
    assert all(one.breaks == one.ships for one in found.values()), (
        "all truths lie at the limit: whatever ships breaks it"
    )


def test_truths_and_sizes_are_as_asked_for(bench):
    spread = bench.Spread(4000, 2.0, correlation=0.9)
    above, _, sizes = spread.draw(np.random.default_rng(0))
    assert abs(np.std(above) - 2.0) < 0.1 and abs(np.mean(above)) < 0.1
    assert abs(np.corrcoef(-np.log(sizes), above)[0, 1] - 0.9) < 0.05
    above, accurate, sizes = bench.Spread(20, 3.0, evenly=True, by_accuracy=True).draw(np.random.default_rng(0))
    assert np.allclose(np.diff(np.sort(above)), 3.0) and np.allclose(np.diff(np.sort(accurate)), 3.0)
    assert (np.argsort(accurate) == np.argsort(sizes)).all(), "the larger, the more accurate"


@pytest.mark.slow
@pytest.mark.parametrize("num", SHEET)
def test_normal_estimates(bench, num):
    for spread, rate in zip((2.0, 0.5), SHEET[num], strict=True):
        found = simulated(bench, bench.Estimates(bench.Spread(num, spread)))
        assert found["certified"].breaks <= MOST
        assert abs(found["naive"].breaks_of_shipped - rate) <= 0.06
        assert found["own bound"].breaks <= (0.065 if spread == 2.0 else 0.19)


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["auc", TPR])
@pytest.mark.parametrize("correlation", [0.7, 0.8])
def test_equal_candidates_at_the_limit(bench, figure, correlation):
    found = simulated(bench, bench.Estimates(bench.Spread(20, 0.0), figure, correlation))
    assert found["certified"].breaks <= MOST
    assert found["naive"].breaks > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["auc", TPR])
@pytest.mark.parametrize(("correlation", "by_accuracy"), [(0.88, False), (0.0, False), (0.0, True)])
def test_where_candidates_lie_apart_the_choice_is_hardly_larger_than_the_oracles(
    bench, figure, correlation, by_accuracy
):
    apart = bench.Spread(20, 3.0 * np.sqrt(2), True, correlation, by_accuracy)  # 3 standard errors of a half
    narrow = 0.25 if figure == TPR else 1.0
    found = simulated(bench, bench.Estimates(apart, figure, narrow=narrow))
    assert found["certified"].ratio <= 1.10 and found["certified"].breaks <= MOST
    near = bench.Spread(20, 0.5 * np.sqrt(2), True, correlation, by_accuracy)
    assert simulated(bench, bench.Estimates(near, figure, narrow=narrow))["certified"].breaks <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_scores_of_attacks_with_references(bench, spread):
    found = simulated(bench, bench.Matrices(bench.Spread(10, spread)))
    assert found["certified"].breaks <= MOST and found["certified"].breaks_here <= MOST
    assert found["naive"].breaks > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_scores_of_attacks_with_references_at_one_percent(bench, spread):
    world = bench.Matrices(bench.Spread(5, spread), TPR, num_samples=2000, num_fresh=160)
    found = simulated(bench, world)
    assert found["certified"].breaks <= MOST and found["certified"].breaks_here <= MOST

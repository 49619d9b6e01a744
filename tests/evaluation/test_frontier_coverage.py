"""How often the intervals at equal accuracy contain the truth, where the truth is known. `-rP` prints the figures.

Four baselines and one release, whose accuracies, AUCs and TPRs are formulas but for one average over a million draws.
The cases: leakages far apart; three baselines that leak exactly alike; three that nearly do; and a baseline hardly
more accurate than the release, whose leakage therefore counts in one bank and not in the next.
"""

import numpy as np
import pytest
from envelope_banks import WORLDS, Case, simulate

from pruneaudit.evaluation.candidates import at_equal_accuracy

pytestmark = pytest.mark.slow
BASELINE = np.array([True, True, True, True, False])
CASES = {
    name: Case(name, gains, skills, at_equal_accuracy(BASELINE))
    for name, gains, skills in (
        ("apart", (1.5, 1.1, 0.7, 0.9, 1.0), (0.70, 0.55, 0.45, 0.20, 0.25)),
        ("tied", (1.0, 1.0, 1.0, 1.5, 1.0), (0.55, 0.55, 0.55, 0.80, 0.25)),
        ("nearly tied", (1.0, 1.03, 1.06, 1.5, 0.8), (0.55, 0.60, 0.65, 0.80, 0.25)),
        ("hardly as accurate", (1.5, 1.1, 1.0, 0.9, 1.0), (0.80, 0.70, 0.60, 0.28, 0.25)),
    )
}


@pytest.mark.parametrize("num_victims", [5, 16, 36])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_coverage_of_the_auc_at_equal_accuracy(case, world, num_victims):
    table = simulate(world, CASES[case], num_victims, "auc", 200)
    assert table[:, 1].mean() >= 0.915  # 95% less 2.3 standard errors of the simulation
    if case == "tied":
        assert table[:, 0].mean() > 0, "the least of several that are equal is too low, and the difference too high"
        assert table[:, 4].mean() <= 0.055, "no release is called better than its equals too often"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_coverage_of_the_tpr_at_equal_accuracy(case, world):
    assert simulate(world, CASES[case], 16, "tpr", 100)[:, 1].mean() >= 0.90  # as above, with half as many simulations

"""How often the intervals at equal size contain the truth, where the truth is known. `-rP` prints the figures.

The last release has 1,000 bytes. All others are candidates if they are as small, so the envelope is over more releases
than at equal accuracy, which are as good as it and of which it may be one. The cases:

- apart: leakages far apart; a larger release and a less accurate one leak least, and do not count.
- one of equals: the release and six candidates leak exactly alike, and are equally accurate but for a little.
- nearly tied: six candidates leak nearly alike.
- hardly as accurate: the candidate that leaks least is hardly more accurate, so it counts in one bank and not in the
  next.
- one is left: all that leaks less is larger or less accurate; one candidate is left.
"""

import numpy as np
import pytest
from envelope_banks import WORLDS, Case, simulate

from pruneaudit.evaluation.candidates import at_equal_size

pytestmark = pytest.mark.slow


def case_of(name, gains, skills, sizes):
    """A case whose releases are all undefended."""
    return Case(name, gains, skills, at_equal_size(np.array(sizes, dtype=float), np.ones(len(sizes), dtype=bool)))


CASES = {
    case.name: case
    for case in (
        case_of(
            "apart",
            (0.3, 0.4, 0.7, 1.0, 1.3, 1.1, 1.0),
            (0.90, 0.05, 0.50, 0.60, 0.45, 0.70, 0.25),
            (4000, 900, 1005, 1000, 700, 500, 1000),
        ),
        case_of(
            "one of equals",
            (1.0,) * 7 + (1.4, 1.0),
            (0.45, 0.50, 0.55, 0.60, 0.45, 0.50, 0.95, 0.80, 0.30),
            (1000, 900, 1005, 800, 700, 500, 4000, 1000, 1000),
        ),
        case_of(
            "nearly tied",
            (1.0, 1.02, 1.04, 1.06, 1.03, 1.01, 0.8, 0.8),
            (0.55, 0.60, 0.65, 0.55, 0.60, 0.50, 0.90, 0.25),
            (1000, 900, 1005, 800, 700, 500, 4000, 1000),
        ),
        case_of(
            "hardly as accurate",
            (0.9, 1.1, 1.0, 1.5, 0.5, 1.0),
            (0.28, 0.70, 0.60, 0.80, 0.90, 0.25),
            (800, 1000, 1009, 400, 4000, 1000),
        ),
        case_of(
            "one is left",
            (0.5, 0.6, 0.4, 1.2, 1.0),
            (0.90, 0.80, -0.10, 0.60, 0.25),
            (4000, 2000, 300, 800, 1000),
        ),
    )
}


@pytest.mark.parametrize("num_victims", [5, 16, 36])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_coverage_of_the_auc_at_equal_size(case, world, num_victims):
    table = simulate(world, CASES[case], num_victims, "auc", 200)
    assert table[:, 1].mean() >= 0.915  # 95% less 2.3 standard errors of the simulation
    if case == "one of equals":
        assert table[:, 4].mean() <= 0.055, "no release is called better than its equals too often"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_coverage_of_the_tpr_at_equal_size(case, world):
    assert simulate(world, CASES[case], 16, "tpr", 200)[:, 1].mean() >= 0.915  # as above


@pytest.mark.parametrize("metric", ["auc", "tpr"])
@pytest.mark.parametrize("case", CASES)
def test_coverage_for_one_network(case, metric):
    assert simulate("alike", CASES[case], 1, metric, 300)[:, 1].mean() >= 0.92  # as above, with more simulations

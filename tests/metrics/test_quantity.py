"""How numbers are written: an interval on one side of 0 never shows an end at 0."""

import pytest

from pruneaudit.metrics.quantity import Quantity

AUC, RATE = Quantity("auc", "AUC"), Quantity("tpr", "TPR", is_percent=True, places=1)


@pytest.mark.parametrize(
    ("quantity", "limits", "expected"),
    [
        (AUC, (-0.005, -0.0004), "[-0.0050, -0.0004]"),
        (AUC, (0.00002, 0.01), "[+0.00002, +0.01000]"),
        (AUC, (-0.0004, 0.0004), "[+0.000, +0.000]"),
        (AUC, (-0.005, 0.0), "[-0.005, +0.000]"),
        (AUC, (-0.05, -0.01), "[-0.050, -0.010]"),
        (RATE, (-0.011, -0.0003), "[-1.10, -0.03]"),
        (RATE, (-0.02, 0.01), "[-2.0, +1.0]"),
        (AUC, (float("nan"), -0.01), "[at most -0.010]"),
    ],
)
def test_the_limits_of_a_difference(quantity, limits, expected):
    assert quantity.signed_interval(*limits) == expected


def test_an_interval_without_a_value_shows_that_it_is_without() -> None:
    auc = Quantity("auc", "AUC", places=3)
    assert auc.interval(0.50032, 0.52403) == "[0.500, 0.524]"
    assert auc.interval(0.50032, 0.52403, tells_from=0.5) == "[0.5003, 0.5240]"
    assert auc.interval(0.4, 0.49996, tells_from=0.5) == "[0.40000, 0.49996]"
    assert auc.interval(0.499, 0.52403, tells_from=0.5) == "[0.499, 0.524]"
    assert auc.interval(0.5, 0.52403, tells_from=0.5) == "[0.500, 0.524]"

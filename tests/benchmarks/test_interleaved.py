"""What the benchmarks share: turns, ratios within rounds, growth exponents, tables; and the loops they compare with."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.metrics import best_threshold

FOLDER = Path(__file__).parents[2] / "benchmarks"


def module_of(name: str) -> ModuleType:
    """A script of the benchmarks, which are no package, as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    return made


interleaved = module_of("interleaved")
loops = module_of("loops")


def test_every_variant_runs_once_a_round_and_none_is_always_first() -> None:
    order: list[str] = []
    variants = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    found = interleaved.take_turns(variants, 3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_ratios_are_taken_within_rounds() -> None:
    # The machine is ten times slower in the second round, for both: the ratio does not care.
    assert interleaved.ratios([4.0, 40.0, 6.0], [2.0, 20.0, 2.0]) == interleaved.Spread(2.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="zip"):
        interleaved.ratios([1.0, 2.0], [1.0])


def test_a_power_law_gives_its_exponent_exactly() -> None:
    sizes = [16, 32, 64, 128]
    found = interleaved.fitted_exponent(sizes, [3 * size**1.5 for size in sizes])
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5), abs=1e-6)


def test_the_interval_of_an_exponent_by_hand() -> None:
    # ln size = 0, 1, 2 and ln cost = 0, 1, 5: slope 2.5, residuals 0.5, -1, 0.5, so its standard error is
    # sqrt(1.5 / 1 / 2), and t of one degree at 97.5% is 12.706.
    found = interleaved.fitted_exponent(np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 1.0, 5.0]))
    half = 12.7062 * 0.75**0.5
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-4)


def test_two_points_have_no_interval() -> None:
    with pytest.raises(ValueError, match="3 or more"):
        interleaved.fitted_exponent([1, 2], [1, 2])


def test_the_interval_of_an_exponent_covers_at_its_level() -> None:
    rng, sizes = np.random.default_rng(0), [1, 2, 4, 8, 16]
    hits = 0
    for _ in range(400):
        costs = np.exp(np.log(sizes) + rng.normal(0, 0.1, len(sizes)))
        found = interleaved.fitted_exponent(sizes, costs)
        hits += found.low <= 1 <= found.high
    assert 0.92 < hits / 400 < 0.98  # 0.95, and 2.75 standard errors of 400 trials


def test_numbers_are_shown_with_three_digits() -> None:
    assert str(interleaved.Spread.of([1234.5, 0.01234, 2.0])) == "2 [0.0123, 1,234]"
    assert interleaved.table(["a", "b"], [[1, "x"]]) == "| a | b |\n|---|---|\n| 1 | x |"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_the_peak_of_memory_is_the_systems() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert interleaved.peak_memory() == pytest.approx(kibibytes * 1024 / 1e6, rel=0.02)


@pytest.mark.parametrize("name", list(loops.OF_PREDICTIONS))
def test_the_looped_scores_are_the_papers(name: str) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(1, 30, 4)), rng.integers(4, size=30)
    expected = ATTACKS.get(name)().of_predictions(logits[0], labels)
    np.testing.assert_allclose(loops.prediction_scores(name, logits, labels)[0], expected, atol=1e-12)


def test_the_looped_threshold_is_the_packages() -> None:
    rng = np.random.default_rng(0)
    scores, member = rng.integers(12, size=200).astype(float), rng.random(200) < 0.5  # many ties
    assert loops.class_threshold(scores, member) == best_threshold(scores, member)

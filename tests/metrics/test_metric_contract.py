"""What holds of every metric: its numbers stay within its bounds, leaks raise it, and its words fit together."""

from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import METRICS, PerVictim, Scored, all_metrics, difference_of, each_of, mean_of, metric_of

# V victims, N samples

NAMES = METRICS.names()
MEASURED = [name for name in NAMES if not METRICS.get(name).restates]
LEVELS = (0.1, 0.01)
NUM_VICTIMS, NUM_SAMPLES, NUM_RESAMPLES = 3, 2400, 40


def scored(leak, seed=0):
    """Scores of members that are `leak` higher on average, with a threshold in the middle."""
    rng = np.random.default_rng(seed)
    member = rng.random((NUM_VICTIMS, NUM_SAMPLES)) < 0.5
    scores = rng.normal(size=member.shape) + leak * member
    scores[:, :20] = np.nan
    thresholds = np.full(member.shape, leak / 2)
    return Scored(scores, member, LEVELS, lambda: np.random.default_rng(1), NUM_RESAMPLES, thresholds)


@pytest.mark.parametrize("name", MEASURED)
def test_every_victim_has_a_value_within_bounds_and_an_interval_around_it(name):
    metric, given = METRICS.get(name), scored(1.0)
    quantities, found = metric.quantities(LEVELS), metric.measure(given)
    assert len(quantities) == len(found) > 0
    lowest, highest = metric.bounds
    for measurement in found:
        assert measurement.values.shape == (NUM_VICTIMS,)
        last = measurement.influence if isinstance(measurement, PerVictim) else measurement.replicates
        assert last.shape == ((NUM_VICTIMS, NUM_SAMPLES) if isinstance(measurement, PerVictim) else (NUM_RESAMPLES, 3))
        for estimate in (mean_of(measurement, metric.bounds), *each_of(measurement, metric.bounds)):
            assert lowest <= estimate.low < estimate.value < estimate.high <= highest


@pytest.mark.parametrize("name", MEASURED)
def test_it_rises_with_the_leak_and_guessing_reaches_what_it_says(name):
    metric = METRICS.get(name)
    measured = [metric.measure(scored(leak, seed)) for leak, seed in ((0.0, 0), (1.0, 1), (3.0, 2))]
    for quantity, *levels in zip(metric.quantities(LEVELS), *measured, strict=True):
        none, some, much = (mean_of(found, metric.bounds) for found in levels)
        assert none.value < some.value < much.value
        assert none.low - none.std_error <= quantity.guessing <= none.high + none.std_error


@pytest.mark.parametrize("name", MEASURED)
def test_equal_scores_do_not_differ_and_equal_seeds_pair(name):
    metric = METRICS.get(name)
    first, again, other = (metric.measure(scored(leak)) for leak in (1.0, 1.0, 2.0))
    for mine, same, different in zip(first, again, other, strict=True):
        none = difference_of(mine, same, metric.bounds)
        assert (none.value, none.std_error) == (0, 0)
        some = difference_of(different, mine, metric.bounds)
        assert 0 < some.low < some.value < some.high


@pytest.mark.parametrize("name", MEASURED)
def test_nobody_scored_has_no_value(name):
    metric, given = METRICS.get(name), scored(1.0)
    nobody = replace(given, scores=np.full_like(given.scores, np.nan))
    assert all(np.isnan(found.values).all() for found in metric.measure(nobody))


@pytest.mark.parametrize("name", NAMES)
def test_its_columns_are_its_own_and_are_found_again(name):
    metric = METRICS.get(name)
    columns = [quantity.column for quantity in metric.quantities(LEVELS)]
    ends = [f"{column}{end}" for column in columns for end in ("_low", "_high")]
    assert [quantity.column for quantity in metric.among([*ends, *columns, "release"])] == columns
    assert metric.among([*ends, "release"]) == ()
    assert all(metric_of(column) is metric for column in columns)
    for other in all_metrics():
        assert other is metric or not other.among(columns)
    assert metric.quantities(LEVELS) == metric.among(columns)


@pytest.mark.parametrize("name", NAMES)
def test_its_words_are_ascii_and_fit_a_reason(name):
    metric = METRICS.get(name)
    titles = [quantity.title for quantity in metric.quantities(LEVELS)]
    assert all(title.isascii() and ":" not in title and ";" not in title for title in titles)
    assert not metric.missing or metric.missing.partition(":")[0].casefold() in {title.casefold() for title in titles}
    assert not metric.meaning or metric.meaning.endswith(".")
    assert METRICS.summary(name).endswith(".")


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS.get(name).restates])
def test_what_restates_another_has_nothing_of_its_own(name):
    metric = METRICS.get(name)
    assert not metric_of(metric.restates.column).restates
    assert metric.restated(metric.restates.guessing) == metric.quantity.guessing


def test_budgets_have_names_of_their_own():
    names = [metric.budget.name for metric in all_metrics() if metric.budget]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)


def test_a_column_of_no_metric_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"column 'auk'.*advantage, auc"):
        metric_of("auk")


def test_two_kinds_of_measurements_have_no_difference():
    influence, replicated = (
        METRICS.get("auc").measure(scored(1.0))[0],
        METRICS.get("tpr_at_fpr").measure(scored(1.0))[0],
    )
    with pytest.raises(UserError, match="PerVictim and a Replicated"):
        difference_of(influence, replicated)

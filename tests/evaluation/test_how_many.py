"""How many models a limit takes: by a plain loop, in simulations, and in messages whose advice works."""

import re

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.how_many import Half, check_certifiable, models_for, models_needed
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import Limits
from pruneaudit.metrics import auc_influence


@given(st.floats(0.05, 3), st.floats(0.01, 0.2))
def test_the_smallest_number(distance, alpha):
    found = models_needed(distance, 1.0, alpha)
    expected = next(n for n in range(2, 10**6) if scipy.stats.t.ppf(1 - alpha, n - 1) / np.sqrt(n) <= distance)
    assert found == expected


def refused(limits, half):
    with pytest.raises(UserError) as caught:
        check_certifiable(limits, half)
    return str(caught.value)


def test_the_number_of_models_and_the_limit_that_it_names_work():
    limits, half = Limits(max_tpr={0.01: 0.0105}), Half(8, 1000, 1000)
    message = refused(limits, half)
    needed = int(re.search(r"at least ([\d,]+) models", message)[1].replace(",", ""))
    limit = float(re.search(r"limit of at least (.*)$", message)[1])
    check_certifiable(limits, half._replace(num_models=needed // 2))
    assert refused(limits, half._replace(num_models=needed // 2 - 1))
    check_certifiable(Limits(max_tpr={0.01: limit}), half)


def test_a_target_takes_samples():
    limits, half = Limits(max_auc=0.501), Half(1, 500, 500, is_target=True)
    message = refused(limits, half)
    samples = int(re.search(r"about ([\d,]+) ", message)[1].replace(",", ""))
    check_certifiable(limits, half._replace(num_members=samples // 2, num_nonmembers=samples // 2 + 1))
    assert "models" not in message.replace("num_models", "")


def test_too_few_samples_for_a_level_or_an_accuracy():
    assert "1,000" in refused(Limits(max_tpr={0.01: 0.05}), Half(8, 500, 500))
    message = refused(Limits(min_accuracy=0.999), Half(8, 500, 500))
    needed = int(re.search(r"([\d,]+) without an error", message)[1].replace(",", ""))
    check_certifiable(Limits(min_accuracy=0.999), Half(8, 500, needed))
    assert refused(Limits(min_accuracy=0.999), Half(8, 500, needed - 1))


def test_usual_limits_pass():
    check_certifiable(Limits(min_accuracy=0.75, max_tpr={0.01: 0.05}, max_auc=0.6), Half(8, 1100, 1100))


def test_without_leakage_that_many_models_show_it_in_about_half_of_the_banks():
    number = models_needed(0.02, (300 + 1) / (12 * 150 * 150), 0.05)
    rng, shown = np.random.default_rng(0), []
    for _ in range(300):
        member = np.argsort(rng.random((number, 300)), axis=1) < 150
        values = auc_influence(rng.normal(size=(number, 300)), member).values
        bound = values.mean() + scipy.stats.t.ppf(0.95, number - 1) * values.std(ddof=1) / np.sqrt(number)
        shown.append(bound <= 0.52)
    assert 0.4 < np.mean(shown) < 0.65


def test_after_a_failure():
    def made(value):
        return LimitTest(figure="auc", limit=0.6, value=value, error=0.01, freedom=7, p_value=0.2, bound=0.61)

    needed = models_for(made(0.59), 8, 0.05)
    assert scipy.stats.t.ppf(0.95, needed - 1) * 0.01 * np.sqrt(8 / needed) <= 0.01
    assert models_for(made(0.61), 8, 0.05) is None

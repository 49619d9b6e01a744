"""The product of ratios: against loops over models and samples, beside RMIA, and where it falls below its best part."""

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.metrics import auc

# V victims, N samples, Q queries


def scored(name, attack_input):
    return ATTACKS.get(name)().score(attack_input, np.random.default_rng(0)).victims


def naive_scores(attack_input):
    """Scores (V, N), victim by victim and sample by sample."""
    result = np.full(attack_input.eligible.shape, np.nan)
    for v, row in enumerate(attack_input.victims):
        for n in np.flatnonzero(attack_input.eligible[v]):
            total = 0.0
            for release, reference in zip(attack_input.releases, attack_input.references, strict=True):
                allowed, member = attack_input.allowed[v], reference.member[:, n]
                for query in range(release.num_queries):
                    p = 1 / (1 + np.exp(-reference.phi[:, n, query]))
                    sides = [p[allowed & side] for side in (member, ~member)]
                    expected = np.mean([side.mean() if len(side) else np.nan for side in sides])
                    own = 1 / (1 + np.exp(-release.phi[row, n, query]))
                    total += np.log(own / expected) / release.num_queries
            result[v, n] = total
    return result


@pytest.mark.parametrize("num_releases", [2, 4])
@pytest.mark.parametrize("num_queries", [1, 3])
def test_against_loops(num_releases, num_queries, make_bank, make_earlier):
    sizes = {"num_samples": 40, "num_holdout": 8, "num_queries": num_queries}
    victims = make_bank(num_models=3, **sizes)
    references = make_bank(num_models=5, first_id=50, seed=1, **sizes)
    allowed = np.ones((3, 5), dtype=bool)
    allowed[1, :2] = False
    releases = [[*(make_earlier(b, seed=s) for s in range(num_releases - 1)), b] for b in (victims, references)]
    attack_input = AttackInput.of(*releases, allowed)
    found, expected = scored("ratio_product", attack_input), naive_scores(attack_input)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.isfinite(found).any() and np.isnan(found).any()


def test_the_same_release_twice_ranks_as_rmia(make_bank, make_input):
    bank = make_bank(9, 200)
    twice = scored("ratio_product", AttackInput.of((bank, bank), (bank, bank)))
    np.testing.assert_allclose(auc(twice, bank.member), auc(scored("rmia", make_input(bank)), bank.member), atol=1e-9)


def test_it_falls_below_its_best_part_where_a_release_tells_nothing(make_bank, make_input):
    """Every release counts alike, also one that only adds noise."""
    told = make_bank(16, 400, gain=1.5)
    untold = make_bank(16, 400, gain=0, member=told.member, seed=1)
    alone = auc(scored("rmia", make_input(told)), told.member).mean()
    both = AttackInput.of((untold, told), (untold, told))
    product, stack = (auc(scored(name, both), told.member).mean() for name in ("ratio_product", "family"))
    assert product < alone - 0.02
    assert stack > product + 0.02

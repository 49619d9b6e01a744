"""The attacks beyond LiRA and RMIA against loops written from their formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.bavaria import LARGEST_SHAPE, SMALLEST_SHAPE
from pruneaudit.attacks.ties import TIE_STEP, tie_break


def scored(name, attack_input, **options):
    attack = ATTACKS.get(name)
    return attack(attack.Options(**options)).score(attack_input, np.random.default_rng(0)).victims


def softmax(logits):
    z = logits.astype(np.float64)
    p = np.exp(z - z.max())
    return p / p.sum()


def phi_of(logits, label):
    p = softmax(logits)[label]
    return np.log(p) - np.log1p(-p)


@pytest.fixture(params=[2, 5, 9])
def attack_input(request, make_bank, make_input):
    bank = make_bank(num_models=request.param, num_samples=60, num_holdout=20, seed=request.param)
    return make_input(bank)


def each(attack_input):
    """(victim, sample, phi, reference phis, which of them are IN) of every eligible pair."""
    signals, reference = attack_input.attacked, attack_input.reference
    for v, row in enumerate(attack_input.victims):
        allowed = np.flatnonzero(attack_input.allowed[v])
        for n in np.flatnonzero(signals.scored[row]):
            label = signals.labels[n]
            others = np.array([phi_of(reference.logits[k, n], label) for k in allowed])
            yield v, n, phi_of(signals.logits[row, n], label), others, reference.member[allowed, n]


def ln_p(phi):
    return -np.log1p(np.exp(-phi))


@pytest.mark.parametrize("signal", ["phi", "loss"])
def test_calibration(attack_input, signal):
    found = scored("calibration", attack_input, signal=signal)
    take = (lambda x: x) if signal == "phi" else ln_p
    for v, n, phi, others, inside in each(attack_input):
        out = others[~inside]
        expected = take(phi) - take(out).mean() if len(out) else np.nan
        np.testing.assert_allclose(found[v, n], expected, atol=1e-6)


@pytest.mark.parametrize(("mode", "scale"), [("online", None), ("online", 0.5), ("offline", 0.33), ("offline", 0.7)])
def test_base(attack_input, mode, scale):
    found = scored("base", attack_input, mode=mode, scale=scale)
    c = 1.0 if scale is None else scale
    for v, n, phi, others, inside in each(attack_input):
        chosen = others if mode == "online" else others[~inside]
        expected = ln_p(phi) - c * np.log(np.exp(ln_p(chosen)).mean()) if len(chosen) else np.nan
        np.testing.assert_allclose(found[v, n], expected, atol=1e-6)


def test_attack_r(attack_input):
    found = scored("attack_r", attack_input)
    for v, n, phi, others, inside in each(attack_input):
        out = others[~inside]
        expected = ((out < phi).sum() + 0.5) / (len(out) + 1) if len(out) else np.nan
        np.testing.assert_allclose(found[v, n], expected, atol=2 * TIE_STEP)


def test_attack_p(attack_input):
    signals = attack_input.attacked
    found = scored("attack_p", attack_input)
    for v, n, phi, _, _ in each(attack_input):
        holdout = np.flatnonzero(signals.nulls)
        z = [phi_of(signals.logits[attack_input.victims[v], m], signals.labels[m]) for m in holdout]
        np.testing.assert_allclose(found[v, n], np.mean(np.array(z) <= phi), atol=1e-6)


def test_attack_p_ranks_a_victims_samples_as_loss_does(attack_input):
    eligible = attack_input.eligible
    for mine, loss, scored_here in zip(
        scored("attack_p", attack_input), scored("loss", attack_input), eligible, strict=True
    ):
        assert np.array_equal(np.argsort(mine[scored_here]), np.argsort(loss[scored_here]))


def test_attack_p_needs_a_holdout(make_bank, make_input):
    for num_holdout, num_nulls in ((0, 0), (364, 199), (365, 200)):
        lacking = ATTACKS.get("attack_p")().lacks(
            make_input(make_bank(num_models=3, num_samples=400, num_holdout=num_holdout))
        )
        assert bool(lacking) == (num_nulls < 200)
        assert not lacking or all(number in lacking for number in ("200 ", f"got {num_nulls}", "500"))


@pytest.mark.parametrize("name", ["top1_confidence", "correctness"])
def test_of_one_prediction(attack_input, name):
    found = scored(name, attack_input)
    signals = attack_input.attacked
    for v, n, *_ in each(attack_input):
        p = softmax(signals.logits[attack_input.victims[v], n])
        expected = np.log(p.max() / (1 - p.max())) if name == "top1_confidence" else p.argmax() == signals.labels[n]
        assert found[v, n] == pytest.approx(float(expected), abs=1e-9)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30, unique=True),
    st.integers(0, 1000),
)
def test_broken_ties_rank_as_the_numbers_behind_them_and_stay_below_a_step(values, rank):
    values = np.sort(values)
    apart = np.diff(values) > 1e-6 * (1 + np.abs(values[1:]))  # closer ones may round to one score
    tied = rank / 1000
    found = tied + tie_break(values)
    assert (np.diff(found)[apart] > 0).all()
    assert (np.diff(found) >= 0).all()
    assert (np.abs(found - tied) <= TIE_STEP).all()


def prior_by_hand(groups):
    """m0, k0, a0, b0 from a list of samples' reference phis, by the moments that the module names."""
    freedom = sum(len(g) - 1 for g in groups if len(g) > 1)
    v = sum(((g - g.mean()) ** 2).sum() for g in groups if len(g)) / freedom if freedom else 1.0
    present = [g for g in groups if len(g)]
    m0 = np.mean([g.mean() for g in present])
    spread = np.mean([(g.mean() - m0) ** 2 for g in present])
    k0 = v / max(spread - np.mean([v / len(g) for g in present]), 1e-12)
    several = [g for g in groups if len(g) > 2]
    e = np.mean([2 / (len(g) - 1) for g in several]) if several else 0.0
    f = np.mean([(g.var(ddof=1) - v) ** 2 for g in several]) if several else 0.0
    a0 = np.clip(2 + 1 / max((f / v**2 - e) / (1 + e), 1e-12), SMALLEST_SHAPE, LARGEST_SHAPE)
    return m0, k0, a0, v * (a0 - 1)


def predictive(phi, g, prior):
    m0, k0, a0, b0 = prior
    n, mean = len(g), g.mean() if len(g) else m0
    k, a = k0 + n, a0 + n / 2
    m = (k0 * m0 + n * mean) / k
    b = b0 + ((g - mean) ** 2).sum() / 2 + k0 * n * (mean - m0) ** 2 / (2 * k)
    return stats.t.logpdf(phi, 2 * a, loc=m, scale=np.sqrt(b * (k + 1) / (a * k)))


def test_bavaria(attack_input):
    found = scored("bavaria", attack_input)
    reference = attack_input.reference
    phi = np.array(
        [[phi_of(row[n], reference.labels[n]) for n in range(len(reference.labels))] for row in reference.logits]
    )
    for v in range(len(attack_input.victims)):
        allowed = attack_input.allowed[v]
        sides = [
            [phi[allowed & (reference.member[:, n] == side), n] for n in range(phi.shape[1])] for side in (True, False)
        ]
        priors = [prior_by_hand(groups) for groups in sides]
        for w, n, own, _, _ in each(attack_input):
            if w == v:
                inside, outside = (predictive(own, sides[i][n], priors[i]) for i in (0, 1))
                np.testing.assert_allclose(found[v, n], inside - outside, rtol=1e-6, atol=1e-6)


def test_bavaria_is_lira_where_references_are_many(make_bank, make_input):
    """With very many references the prior no longer matters: the ratio is LiRA's with variances per example."""
    bank = make_bank(num_models=200, num_samples=20, num_holdout=0)
    attack_input = make_input(bank)
    mine = scored("bavaria", attack_input)
    lira = scored("lira", attack_input, variance="per_example")
    close = np.abs(lira) < 20
    assert np.corrcoef(mine[close], lira[close])[0, 1] > 0.98

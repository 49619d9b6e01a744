"""Two runs held against each other: what is paired, what is not, and how wide the intervals are."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import seal_files
from pruneaudit.evaluation import audit
from pruneaudit.evaluation.results import RESULT_FILES
from pruneaudit.metrics import auc_influence, two_way
from pruneaudit.report.two_runs.differences import compare_runs
from pruneaudit.report.two_runs.layouts import comparison_csv, comparison_markdown, comparison_record, print_comparison
from pruneaudit.report.two_runs.paired import independent_difference
from pruneaudit.signals.signals import Signals
from pruneaudit.study.differences import changed_settings
from run_bytes import all_bytes

# V victims, N samples

NUM_MODELS, NUM_SAMPLES = 5, 120
MEMBER = np.random.default_rng(7).random((NUM_MODELS, NUM_SAMPLES)) < 0.5


@pytest.fixture
def make_run(tmp_path):
    """Writes the folder of an audit, members raised by `leak`, and gives it back; with a `audit_data`, of a study."""

    def build(
        name, seed, leak=1.0, member=MEMBER, order=None, audit_data="", first_id=0, labels=None, attacks=("loss",)
    ):
        rng = np.random.default_rng(seed)
        labels = np.arange(NUM_SAMPLES) % 3 if labels is None else labels
        hardness = np.random.default_rng(3).normal(size=NUM_SAMPLES)
        raised = (leak * member + hardness)[..., None] * np.eye(3)[labels]  # (V, N, C)
        logits = rng.normal(size=(len(member), NUM_SAMPLES, 3)) + raised
        order = np.arange(NUM_SAMPLES) if order is None else order
        signals = Signals(
            logits=logits[:, order],
            labels=labels[order],
            member=member[:, order],
            ids=np.arange(NUM_SAMPLES)[order],
            model_ids=np.arange(len(member)) + first_id,
        )
        signals.save(tmp_path / f"{name}.npz")
        found = audit(signals, attacks=attacks, fpr_levels=[0.25])
        # Of a study, the checksum is of the samples; of saved predictions, of the file, and always another.
        kind = {"study": {"seed": seed}} if audit_data else {}
        found.results.about.update(audit_data={"sha256": audit_data or name}, seeds=[seed], **kind)
        found.save(tmp_path / name)
        seal_files(tmp_path / name, [*RESULT_FILES, "scores.parquet"])
        return tmp_path / name

    return build


def row_of(found, metric="auc"):
    return found.table[found.table["metric"] == metric].iloc[0]


def scores_of(folder):
    """(V, N) scores, by loops over the file's rows."""
    import pyarrow.parquet as pq

    scores = np.full((NUM_MODELS, NUM_SAMPLES), np.nan)
    for row in pq.read_table(folder / "scores.parquet").to_pylist():
        scores[row["model_id"], row["sample_id"]] = row["loss"]
    return scores


def naive_parts(scores):
    """AUC and how far each sample pulls it, for every victim: pair by pair."""
    areas, pulls = [], np.zeros(scores.shape)
    for v, (row, inside) in enumerate(zip(scores, MEMBER, strict=False)):
        wins = (row[inside][:, None] > row[~inside][None, :]) + 0.5 * (row[inside][:, None] == row[~inside][None, :])
        areas.append(wins.mean())
        for where, components in ((inside, wins.mean(axis=1)), (~inside, wins.mean(axis=0))):
            pulls[v, where] = (components - wins.mean()) / np.sqrt(len(components) * (len(components) - 1))
    return np.array(areas), pulls


def test_the_paired_interval_is_that_of_a_naive_computation(make_run):
    first, second = make_run("a", 0, leak=2.0), make_run("b", 1, leak=1.0)
    found = row_of(compare_runs(first, second))
    (mine, my_pulls), (other, other_pulls) = (naive_parts(scores_of(folder)) for folder in (first, second))
    values, pulls = mine - other, my_pulls - other_pulls
    by_sample, by_both = (pulls.mean(axis=0) ** 2).sum(), (pulls**2).sum() / NUM_MODELS**2
    by_model = values.var(ddof=1) / NUM_MODELS
    variance = max(max(0, by_sample - by_both) * NUM_MODELS / (NUM_MODELS - 1) + by_model, by_sample)
    part = by_model / variance
    freedom = 1 / (part**2 / (NUM_MODELS - 1) + (1 - part) ** 2 / (NUM_SAMPLES - 1))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert found["method"] == "paired"
    assert found[["difference", "low", "high"]].tolist() == pytest.approx(
        [values.mean(), values.mean() - reach, values.mean() + reach]
    )
    assert found["difference"] == pytest.approx(found["first"] - found["second"])


def test_runs_are_paired_on_the_models_that_both_audit(make_run):
    first, second = make_run("a", 0, leak=2.0), make_run("b", 1, member=MEMBER[:3])
    comparison = compare_runs(first, second)
    found = row_of(comparison)
    (mine, _), (other, _) = (naive_parts(scores_of(folder)[:3]) for folder in (first, second))
    assert (found["method"], found["first_victims"], found["second_victims"]) == ("paired", 5, 3)
    assert found["difference"] == pytest.approx((mine - other).mean())
    assert any("3 models that both runs audit" in note for note in comparison.notes)


@pytest.mark.slow
def test_one_kind_of_references_may_have_another_name_in_the_other_run(make_run, tmp_path):
    first, second = make_run("a", 0), make_run("b", 1)
    plain = row_of(compare_runs(first, second))
    signals = {name: Signals.load(tmp_path / f"{name}.npz") for name in ("a", "b")}
    others = make_run("c", 2, first_id=9) and Signals.load(tmp_path / "c.npz")
    found = audit(signals, others, attacks="loss", fpr_levels=[0.25], baseline="b")
    found.save(tmp_path / "both")
    seal_files(tmp_path / "both", [*RESULT_FILES, "scores.parquet"])
    named = audit(signals["b"], others, attacks="loss", fpr_levels=[0.25], name="a")
    named.save(tmp_path / "alone")
    seal_files(tmp_path / "alone", [*RESULT_FILES, "scores.parquet"])
    row = row_of(compare_runs(tmp_path / "both", tmp_path / "alone"))
    assert set(found.findings["references"]) == {"given"} and set(named.findings["references"]) == {"matched"}
    assert (row["release"], row["references"], row["method"]) == ("a", "given", "paired")
    assert row[["difference", "low", "high"]].tolist() == plain[["difference", "low", "high"]].tolist()


@pytest.mark.slow
def test_the_order_of_samples_in_a_file_does_not_matter(make_run):
    order = np.random.default_rng(5).permutation(NUM_SAMPLES)
    first = make_run("a", 0)
    plain, mixed = make_run("b", 1), make_run("c", 1, order=order)
    for metric in ("auc", "tpr_at_25%_fpr"):
        one, two = (row_of(compare_runs(first, other), metric) for other in (plain, mixed))
        assert two[["difference", "low", "high"]].tolist() == pytest.approx(one[["difference", "low", "high"]].tolist())


def test_a_run_does_not_differ_from_itself_and_pairing_narrows(make_run):
    first, second = make_run("a", 0), make_run("b", 1)
    same = compare_runs(first, first)
    leakage = same.table[(same.table["attack"] != "") & same.table["first"].notna()]
    assert {"auc", "tpr_at_25%_fpr"} <= set(leakage["metric"])
    assert (leakage[["difference", "low", "high"]] == 0).all(axis=None)
    assert not same.settings
    paired = row_of(compare_runs(first, second))
    apart = row_of(compare_runs(make_run("d", 0, audit_data="ab" * 32), make_run("c", 1, audit_data="cd" * 32)))
    assert (paired["method"], apart["method"]) == ("paired", "independent")
    assert paired["difference"] == pytest.approx(apart["difference"])
    assert paired["high"] - paired["low"] < 0.9 * (apart["high"] - apart["low"])


def test_swapping_the_runs_turns_every_sign(make_run):
    first, second = make_run("a", 0, leak=2.0), make_run("b", 1)
    one, two = compare_runs(first, second).table, compare_runs(second, first).table
    np.testing.assert_allclose(one["difference"], -two["difference"])
    np.testing.assert_allclose(one["low"], -two["high"])


@pytest.mark.slow
def test_what_is_not_paired_says_why(make_run):
    first = make_run("a", 0)
    swapped = MEMBER.copy()
    swapped[2] = ~swapped[2]
    cases = {
        "samples with the same id have different labels in the two runs": make_run(
            "b", 1, labels=np.arange(NUM_SAMPLES) % 2
        ),
        "the runs' models were trained on different members": make_run("c", 1, member=swapped),
        "the runs audit different models": make_run("d", 1, first_id=NUM_MODELS),
        f"{first.parent / 'e'} keeps no scores of it": make_run("e", 1),
    }
    (first.parent / "e" / "scores.parquet").unlink()
    for reason, other in cases.items():
        found = compare_runs(first, other)
        assert set(found.table["method"]) == {"independent"}
        assert any(note.startswith("not paired") and note.endswith(reason) for note in found.notes)


def test_audits_of_two_files_are_paired_by_the_ids_they_share(make_run):
    """The files differ, as their answers do; each also has samples that the other lacks."""
    first, second = make_run("a", 0, order=np.arange(100)), make_run("b", 1, order=np.arange(119, 19, -1))
    found = row_of(compare_runs(first, second))
    assert found["method"] == "paired"
    assert found["difference"] == pytest.approx(found["first"] - found["second"])
    apart = make_run("c", 1, order=np.arange(60, 120))
    assert set(compare_runs(make_run("d", 0, order=np.arange(60)), apart).table["method"]) == {"independent"}


@pytest.mark.slow
def test_two_studies_on_other_samples_are_not_paired_though_ids_and_labels_agree(make_run):
    found = compare_runs(make_run("a", 0, audit_data="ab" * 32), make_run("b", 1, audit_data="cd" * 32))
    assert set(found.table["method"]) == {"independent"}
    assert "not paired: the runs were not made on the same audit data" in found.notes
    half_known = compare_runs(make_run("c", 0, audit_data="ab" * 32), make_run("d", 1))
    assert row_of(half_known)["method"] == "paired"


def test_a_refused_figure_stays_refused(make_run, tmp_path):
    first = make_run("a", 0)
    table = pd.read_csv(first / "findings.csv", dtype=str, keep_default_na=False)
    table[[f"tpr_at_25%_fpr{end}" for end in ("", "_low", "_high")]] = ""
    table["suppressed"] = "TPR at 25% FPR: too few"
    table.to_csv(first / "findings.csv", index=False, lineterminator="\n")
    seal_files(first, [*RESULT_FILES, "scores.parquet"])
    row = row_of(compare_runs(first, make_run("b", 1)), "tpr_at_25%_fpr")
    assert np.isnan(row[["first", "difference", "low", "high"]].astype(float)).all()
    assert row["suppressed"] == "TPR at 25% FPR: too few"
    assert row["second"] > 0


@pytest.mark.parametrize("harm", ["findings.csv", "scores.parquet", "SHA256SUMS"])
def test_a_run_that_has_changed_is_refused(make_run, harm):
    first, second = make_run("a", 0), make_run("b", 1)
    (second / harm).write_bytes((second / harm).read_bytes()[:-3])
    for pair in ((first, second), (second, first)):
        with pytest.raises(UserError, match=r"b: .* expected a finished run"):
            compare_runs(*pair)


def test_nothing_in_common_is_refused(make_run, results, tmp_path):
    results.save(tmp_path / "other")
    seal_files(tmp_path / "other", RESULT_FILES)
    with pytest.raises(UserError, match=r"no release, references and attack in common.* signals against dense"):
        compare_runs(make_run("a", 0), tmp_path / "other")


def test_neither_run_is_changed(make_run):
    folders = make_run("a", 0), make_run("b", 1)
    before = [all_bytes(folder) for folder in folders]
    compare_runs(*folders)
    assert [all_bytes(folder) for folder in folders] == before


INTERVALS = st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3)).map(
    lambda t: (t[0], t[0] - t[1], t[0] + t[2])
)


@given(INTERVALS, INTERVALS)
def test_independent_limits_hold_the_difference_and_turn_with_it(first, second):
    value, low, high = independent_difference(first, second)
    turned = independent_difference(second, first)
    assert -1 <= low <= value <= high <= 1
    assert turned == pytest.approx((-value, -high, -low))
    assert high - value <= (first[2] - first[0]) + (second[0] - second[1]) + 1e-12


def test_symmetric_intervals_add_by_their_squares():
    assert independent_difference((0.7, 0.67, 0.73), (0.6, 0.56, 0.64)) == pytest.approx((0.1, 0.05, 0.15))
    assert np.isnan(independent_difference((0.7, np.nan, np.nan), (0.6, 0.5, 0.7))[1:]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("num_victims", "shares_samples"), [(5, False), (16, False), (16, True)])
def test_independent_intervals_cover(num_victims, shares_samples):
    """Two banks alike, so that the true difference is 0; where they share samples the interval is too wide."""
    rng, num_samples, trials, covered = np.random.default_rng(num_victims), 300, 500, 0
    for _ in range(trials):
        effects = rng.normal(size=(2, num_samples))
        intervals = []
        for bank in range(2):
            common = effects[0 if shares_samples else bank]
            member = rng.random((num_victims, num_samples)) < 0.5
            shift = 1 + 0.3 * rng.normal(size=(num_victims, 1))
            scores = member * shift + common + rng.normal(size=member.shape)
            found = two_way(*auc_influence(scores, member))
            intervals.append((found.value, found.low, found.high))
        _, low, high = independent_difference(*intervals)
        covered += low <= 0 <= high
    print(f"{num_victims} victims, samples shared: {shares_samples}: {covered / trials:.1%}")
    assert covered / trials >= 0.92
    assert shares_samples or covered / trials <= 0.985


def test_settings_that_differ_are_named_key_by_key():
    plain = {"seed": 0, "training": {"epochs": 20, "augment": "none"}, "data": {"source": {"name": "a", "options": {}}}}
    release = {"name": "p", "sparsity": 0.5, "finetune": {"epochs": 5}}
    lira = {"name": "lira", "options": {}}
    first = plain | {"releases": [release], "audit": {"attacks": [lira], "levels": [0.1, 0.01]}}
    second = {
        "seed": 0.0,
        "training": {"epochs": 40, "augment": "none"},
        "data": {"source": {"name": "a", "options": {"path": "x"}}},
        "releases": [{"name": "q", "sparsity": 0.9}, release | {"finetune": {"epochs": 6, "select": None}}],
        "audit": {"attacks": [lira, {"name": "lira", "options": {"mode": "offline"}}], "levels": [0.1]},
    }
    found = {setting.key: (setting.first, setting.second) for setting in changed_settings(first, second)}
    assert found == {
        "training.epochs": ("20", "40"),
        "data.source": ("a", "a:path=x"),
        "releases[p].finetune.epochs": ("5", "6"),
        "releases[p].finetune.select": ("-", "null"),
        "releases[q]": ("-", "there"),
        "audit.attacks[lira:mode=offline]": ("-", "there"),
        "audit.levels": ("[0.1, 0.01]", "[0.1]"),
    }
    assert changed_settings(first, first) == ()


def printed(found, width=80):
    stream = io.StringIO()
    print_comparison(found, Console(file=stream, width=width))
    return stream.getvalue()


def test_every_form_says_the_same(make_run):
    found = compare_runs(make_run("a", 0, leak=3.0), make_run("b", 1))
    row = row_of(found)
    difference = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    assert f"| signals | matched | loss: AUC | {row['first']:.3f} [" in comparison_markdown(found)
    assert f"| {difference} | paired |" in comparison_markdown(found)
    assert difference.split()[0] in printed(found)
    assert difference.split(" ", 1)[1] in printed(found)
    assert "A is lower in 0 and higher in" in printed(found, 200)
    assert comparison_csv(found).splitlines()[1].startswith("signals,")
    record = json.loads(json.dumps(comparison_record(found), allow_nan=False))
    assert row["difference"] in [item["difference"] for item in record["differences"]]
    assert {len(line) <= 80 for line in printed(found).splitlines() if not line.startswith(("A: ", "B: ", "Of "))} == {
        True
    }


def test_names_are_shown_and_not_obeyed(make_run, tmp_path):
    folder = make_run("a", 0)
    shutil.copytree(folder, tmp_path / "b\x1b[31m|<i>")
    found = compare_runs(folder, tmp_path / "b\x1b[31m|<i>")
    assert "\x1b" not in printed(found)
    assert "x1b\\[31m\\|\\<i\\>" in comparison_markdown(found)


def test_runs_without_references_are_compared_with_a_warning(make_run):
    alone = MEMBER[:1]
    found = compare_runs(make_run("a", 1, member=alone), make_run("b", 2, member=alone))
    notes = " ".join(found.notes)
    assert notes.count("the attacker had no references") == 2
    assert "0.558" in notes
    assert "0.670" in notes
    assert "--references" in notes
    enough = [make_run(name, seed, attacks=("loss", "rmia")) for name, seed in (("c", 1), ("d", 2))]
    assert "0.558" not in " ".join(compare_runs(*enough).notes)

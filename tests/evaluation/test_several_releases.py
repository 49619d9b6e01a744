"""Several releases in one audit: each as if alone, compared with the baseline pair by pair, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation import audit
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.selection import base_release
from pruneaudit.report.sentences.answer import answer
from pruneaudit.signals.signals import Signals

# V victims, N samples

NAMES = ("fp32", "pruned", "int8")
OF_ONE_RELEASE = ("findings", "curves", "classes", "ppv", "releases", "canaries")


def naive_auc(scores, member):
    ours, others = scores[member][:, None], scores[~member][None, :]
    return ((ours > others) + 0.5 * (ours == others)).mean()


@pytest.fixture
def releases(make_bank):
    gains = zip(NAMES, (1.5, 0.5, 1.4), strict=True)
    return {name: make_bank(5, 160, gain, 20, 10, noise_seed=row) for row, (name, gain) in enumerate(gains)}


@pytest.fixture
def references(make_bank):
    gains = zip(NAMES, (1.5, 0.5, 1.4), strict=True)
    return {
        name: make_bank(4, 160, gain, 20, 10, seed=1, noise_seed=row, first_id=9)
        for row, (name, gain) in enumerate(gains)
    }


@pytest.mark.parametrize("given", ["none", "own", "one set", "one name"])
def test_every_release_has_the_figures_that_it_has_alone(releases, references, given):
    attacks = ["loss", "lira", "rmia"]
    one_set = references["fp32"]
    given = {"none": None, "own": references, "one set": one_set, "one name": {"fp32": one_set}}[given]
    found = audit(releases, given, attacks=attacks, seed=3, fpr_levels=[0.2], baseline="fp32")
    for name, signals in releases.items():
        own = given.get(name, one_set) if isinstance(given, dict) else given
        alone = audit(signals, own, attacks=attacks, seed=3, fpr_levels=[0.2], name=name)
        for table in OF_ONE_RELEASE:
            together, expected = (getattr(each.results, table) for each in (found, alone))
            together = together[together["release"] == name].reset_index(drop=True)
            if "references" in together:
                together = together.assign(references="matched")
            pd.testing.assert_frame_equal(together, expected, check_exact=True)


@pytest.mark.slow
def test_an_attack_that_draws_draws_as_if_the_release_were_alone(make_bank):
    releases = {"dense": make_bank(2, 60), "pruned": make_bank(2, 60, noise_seed=1)}
    one_set = make_bank(3, 60, seed=1, first_id=9)
    found = audit(releases, one_set, attacks=["nn"]).scores
    for name, signals in releases.items():
        np.testing.assert_array_equal(found[f"{name}/given/nn"], audit(signals, one_set, attacks=["nn"]).scores["nn"])


def test_releases_are_compared_pair_by_pair_with_the_baseline(releases):
    found = audit(releases, attacks=["loss", "rmia"], fpr_levels=[0.2], baseline="fp32")
    rows = found.comparisons
    assert set(zip(rows["release"], rows["baseline"], strict=True)) == {("pruned", "fp32"), ("int8", "fp32")}
    means = found.findings[found.findings["victim"] == "mean"].set_index(["release", "attack"])
    for _, row in rows[rows["attack"] != ""].iterrows():
        mine, base = (means.loc[(release, row["attack"]), row["metric"]] for release in (row["release"], "fp32"))
        assert row["difference"] == pytest.approx(mine - base)
        assert row["low"] <= row["difference"] <= row["high"]
    ordinary, member = releases["fp32"].ordinary, releases["fp32"].member
    for (name, attack), mean in means["auc"].items():
        scores = found.scores[f"{name}/matched/{attack}"]
        kept = ordinary & ~np.isnan(scores)
        areas = [naive_auc(*(part[row][kept[row]] for part in (scores, member))) for row in range(5)]
        assert mean == pytest.approx(np.mean(areas))
    frontier = found.results.frontier
    assert set(frontier.loc[frontier["is_baseline"] == 1, "release"]) == {"fp32"}
    assert set(frontier["release"]) == set(NAMES)
    assert set(found.results.detection_changes["baseline"]) == {"fp32"}
    assert set(found.results.attack_comparisons["release"]) == set(NAMES)
    assert found.results.about["baseline"] == "fp32"


def test_attacks_on_two_releases_see_the_baseline_beside_the_attacked_one(releases, references):
    found = audit(releases, references, attacks=["back_front", "family"], fpr_levels=[0.2], baseline="fp32")
    assert set(found.findings["release"]) == {"pruned", "int8"}
    for name in ("pruned", "int8"):
        fall = releases["fp32"].phi[..., 0] - releases[name].phi[..., 0]
        fall[~releases[name].scored] = np.nan
        np.testing.assert_allclose(found.scores[f"{name}/matched/back_front"], fall)
        setting = next(each.setting for each in found.settings if each.setting.release == name)
        assert setting.attack_input.references == (references["fp32"], references[name])
    others = {name: bank.take_models(np.arange(3 if name == "int8" else 4)) for name, bank in references.items()}
    assert set(audit(releases, others, attacks=["back_front"], baseline="fp32").findings["release"]) == {"pruned"}
    with pytest.raises(UserError, match=r"back_front.*second release"):
        audit(releases, references["fp32"], attacks=["back_front"], baseline="fp32")


@pytest.mark.parametrize(("named", "kind"), [(False, "given"), (True, "fp32")])
def test_one_set_of_references_is_called_what_it_is(releases, references, named, kind):
    one_set = references["fp32"]
    found = audit(releases, {"fp32": one_set} if named else one_set, attacks=["rmia"], baseline="fp32").results
    assert set(found.findings["references"]) == {kind}
    assert set(found.frontier["references"]) == {kind}
    lines = {line.release: line for line in first_screen(found).lines}
    assert lines["pruned"].change.value and lines["pruned"].against == "fp32"


def test_each_release_keeps_the_resolution_that_it_has_alone(make_bank):
    def rounded(bank, digits):
        p = np.exp(bank.logits - np.logaddexp.reduce(bank.logits, axis=2, keepdims=True))
        return Signals(probabilities=p.round(digits), labels=bank.labels, member=bank.member)

    releases = {"dense": rounded(make_bank(4, 100), 3), "pruned": rounded(make_bank(4, 100, noise_seed=1), 1)}
    with pytest.warns(UserWarning, match="^(dense|pruned): ") as warned:
        found = audit(releases, attacks=["lira", "family"])
    assert any(str(each.message).startswith("pruned: ") for each in warned)
    steps = {each.setting.release: each.setting.attack_input for each in found.settings}
    np.testing.assert_allclose(steps["dense"].attacked.resolution, 0.001)
    for part in steps["pruned"].releases:  # both treat a 0 alike
        np.testing.assert_allclose(part.resolution, 0.1)


def test_the_page_claims_nothing_about_compression_alone(releases):
    found = audit(releases, attacks=["loss", "rmia"], fpr_levels=[0.2], baseline="fp32").results
    assert base_release(found) == "fp32"
    told = answer(found)
    assert [change.release for change in told.changes] == ["pruned", "int8"]
    for change in told.changes:
        assert "fp32 (compression and whatever training came with it: predictions do not say" in change.text
    whole = " ".join(told.caveats)
    assert "compression alone is suppressed" in whole and "equal size" in whole
    assert "fp32 networks" in told.leakage.title
    assert "than fp32" in told.counts and "equal accuracy" in told.counts
    shown = first_screen(found)
    assert "compared with fp32: compression and whatever training came with it" in shown.compared
    assert {name for group in shown.groups for name, _ in group.releases} == {"pruned", "int8"}
    assert any("leak less than fp32" in step.text or "leaks less than fp32" in step.text for step in told.next_steps)


def test_a_single_release_may_have_a_name_too(make_bank):
    bank = make_bank(4, 100)
    found, same = audit({"pruned": bank}, attacks=["lira"]), audit(bank, attacks=["lira"], name="pruned")
    pd.testing.assert_frame_equal(found.findings, same.findings)
    assert found.results.about == same.results.about
    assert found.comparisons.empty


def changed(signals, **changes):
    return dataclasses.replace(signals, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: changed(s, member=np.roll(s.member, 1, axis=1)), ["membership"]),
        (lambda s: changed(s, labels=np.roll(s.labels, 1)), ["labels"]),
        (lambda s: changed(s, ids=np.arange(160) + 7), ["same samples", "7"]),
        (lambda s: changed(s, model_ids=s.model_ids + 1), ["model_ids"]),
        (lambda s: s.take_models(np.arange(3)), ["same models"]),
        (lambda s: changed(s, is_victim=np.arange(5) > 1), ["is_victim"]),
        (lambda s: changed(s, eligible=np.arange(160) >= np.full((5, 1), 25)), ["eligible"]),
        (lambda s: changed(s, logits=None, predicted=s.logits.argmax(axis=2)), ["predicted classes"]),
    ],
)
def test_a_release_of_other_models_or_samples_is_refused(releases, change, words):
    with pytest.raises(UserError) as refused:
        audit(releases | {"int8": change(releases["int8"])}, attacks=["correctness"], baseline="fp32")
    for word in ["fp32", "int8", *words]:
        assert word in str(refused.value)


def test_names_that_do_not_fit_are_refused(releases, references):
    def refused(*given, **more):
        with pytest.raises(UserError) as error:
            audit(*given, attacks=["loss"], **more)
        return str(error.value)

    assert "fp32, pruned, int8" in refused(releases)
    assert "did you mean 'fp32'" in refused(releases, baseline="fp23")
    assert "'x'" in refused(releases, baseline="fp32", name="x")
    assert "no release" in refused({})
    assert "matched" in refused(releases | {"matched": releases["int8"]}, baseline="fp32")
    twice = {"fp32": releases["fp32"], "again": releases["fp32"]}
    assert "fp32 and again" in refused(twice, baseline="fp32")
    assert "signals['fp32']: got str" in refused({"fp32": "a.npz", "b": releases["int8"]}, baseline="fp32")
    some = {name: references[name] for name in ("fp32", "pruned")}
    assert "none for int8" in refused(releases, some, baseline="fp32")
    assert "'int9' (did you mean 'int8'?)" in refused(releases, {"int9": references["int8"]}, baseline="fp32")
    shared = references | {"int8": references["pruned"]}
    assert "pruned and int8" in refused(releases, shared, baseline="fp32")
    copied = references | {"int8": changed(references["int8"], logits=releases["int8"].logits[:4])}
    assert "references of int8: model 9" in refused(releases, copied, baseline="fp32")


def test_a_file_under_two_names_is_noticed(releases):
    copy = changed(releases["fp32"], logits=releases["fp32"].logits.copy())
    with pytest.warns(UserWarning, match="again answers every query exactly as fp32"):
        audit({"fp32": releases["fp32"], "again": copy}, attacks=["loss"], baseline="fp32")


def test_the_former_pair_is_answered_with_what_to_write_now():
    with pytest.raises(UserError, match="baseline='dense'"):
        _ = pruneaudit.Paired
    with pytest.raises(UserError, match="Paired is gone"):
        from pruneaudit import Paired  # noqa: F401

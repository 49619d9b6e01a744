"""Whole studies with defences: undefended counterparts, parents, references, and what cannot work."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_plugins
from pruneaudit.report.sentences.answer import answer
from pruneaudit.study.lineage import counterparts, undefended, with_counterparts

FINETUNE = {"epochs": 2, "learning_rate": 0.02}
PRUNED = {"compress": "l1unstructured", "sparsity": 0.8, "finetune": FINETUNE}


def named(study):
    return [release.name for release in study.releases]


def test_the_undefended_twin_of_a_pruned_release_is_made_when_asked_for(make_study):
    study = make_study(
        releases=[PRUNED | {"defense": "ppb:strength=4"}], audit={"attacks": ["loss"], "references": ["undefended"]}
    )
    assert named(study) == ["l1unstructured-0.8+ppb-strength=4"]
    whole = with_counterparts(study)
    assert named(whole) == ["l1unstructured-0.8+ppb-strength=4", "l1unstructured-0.8"]
    assert counterparts(whole) == {"l1unstructured-0.8+ppb-strength=4": "l1unstructured-0.8"}
    assert with_counterparts(make_study(releases=study.releases)) == make_study(releases=study.releases)


def test_a_twin_that_is_there_serves_under_its_own_name(make_study):
    study = make_study(
        releases=[PRUNED | {"name": "plain"}, PRUNED | {"defense": "ppb"}],
        audit={"attacks": ["loss"], "references": ["matched", "undefended"]},
    )
    assert with_counterparts(study) == study
    assert counterparts(study) == {"l1unstructured-0.8+ppb": "plain"}


def test_a_defended_training_from_new_weights_is_the_dense_bank_without_its_defence(make_study):
    study = make_study(
        releases=[
            {"name": "private", "parent": "init", "defense": "relaxloss:alpha=0.5"},
            PRUNED | {"parent": "private"},
            {"parent": "private", "finetune": FINETUNE, "defense": "ppb"},
        ]
    )
    private, pruned, tuned = study.releases
    assert undefended(study, private) is None
    counterpart = undefended(study, pruned)
    assert (counterpart.parent, counterpart.defense, counterpart.compress) == ("dense", None, pruned.compress)
    assert undefended(study, tuned).name == "dense+finetune"
    assert counterparts(study) == {"private": "dense", pruned.name: "l1unstructured-0.8", tuned.name: "dense+finetune"}


def test_the_same_number_in_two_forms_is_the_same_release(make_study):
    one, other = (make_study(releases=[PRUNED | {"defense": f"ppb:strength={text}"}]) for text in ("4", "4.0"))
    assert one == other


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (
            {"compress": "l1unstructured", "sparsity": 0.8, "defense": "ppb"},
            "works during training, but the release has no training",
        ),
        (PRUNED | {"defense": "pbp"}, "unknown defense 'pbp'"),
        (PRUNED | {"defense": "ppb:strenght=4"}, "strenght"),
        (PRUNED | {"parent": "nobody"}, "expected dense, init, or a release before it"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(release, expected, make_study):
    with pytest.raises((UserError, ValueError), match=expected):
        check_plugins(make_study(releases=[release]))


@pytest.fixture(scope="module")
def defended(make_study, tmp_path_factory):
    study = make_study(
        model={"name": "tinycnn", "options": {"width": 4}},
        releases=[
            {"name": "dp", "parent": "init", "defense": "dp:noise_multiplier=1"},
            PRUNED | {"defense": "ppb:strength=4"},
            PRUNED | {"parent": "dp"},
        ],
        audit={"attacks": ["loss", "lira"], "references": ["matched", "undefended"], "fpr_levels": [0.3]},
    )
    return run(study, out=tmp_path_factory.mktemp("defended"), runtime=Runtime(executor="serial"))


@pytest.mark.slow
def test_matched_and_no_defense_attackers_are_both_in_the_findings(defended):
    played = defended.audit.findings[["release", "references"]].drop_duplicates()
    assert set(map(tuple, played.to_numpy())) == {
        ("dense", "matched"),
        *((name, references) for name in ("dp", "l1unstructured-0.8+ppb-strength=4", "dp+l1unstructured-0.8")
          for references in ("matched", "undefended")),
        ("l1unstructured-0.8", "matched"),
        # The baselines of the compressed ones, each with its undefended counterpart.
        *((name, references) for name in ("dense+finetune+ppb-strength=4", "dp+finetune")
          for references in ("matched", "undefended")),
        ("dense+finetune", "matched"),
    }  # fmt: skip
    by_counterpart = next(
        g for g in defended.audit.settings if g.setting.release == "dp" and g.setting.references == "undefended"
    )
    dense = next(g for g in defended.audit.settings if g.setting.release == "dense")
    np.testing.assert_array_equal(
        by_counterpart.setting.attack_input.reference.logits, dense.setting.attack_input.attacked.logits
    )


def test_the_defended_are_compared_with_their_twins(defended):
    comparisons = defended.audit.comparisons
    pairs = set(map(tuple, comparisons[["release", "baseline"]].drop_duplicates().to_numpy()))
    assert ("l1unstructured-0.8+ppb-strength=4", "l1unstructured-0.8") in pairs
    assert ("dp+l1unstructured-0.8", "l1unstructured-0.8") in pairs


def test_a_private_release_says_what_was_spent_and_its_child_is_built_alike(defended):
    folder = next(defended.folder.glob("dp-????????"))
    report = json.loads((folder / "model-000" / "summary.json").read_text())["defense"]
    assert 0 < report["epsilon"] < 1000
    assert "does not hold" not in report["statement"]
    child = next(defended.folder.glob("dp+l1unstructured-0.8-????????"))
    names = set(load_file(folder / "model-000" / "model.safetensors"))
    assert names == set(load_file(child / "model-000" / "model.safetensors"))
    assert not any("running_mean" in name for name in names)  # GroupNorm in the place of BatchNorm


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (PRUNED | {"defense": "dp:noise_multiplier=1"}, "cannot start from weights of a parent without it"),
        (
            {"parent": "init", "compress": "iterative:rounds=2", "sparsity": 0.5, "defense": "dp:noise_multiplier=1"},
            "single training only, but compressor 'iterative' trains several times",
        ),
    ],
)
def test_private_training_refuses_what_would_void_it(release, expected, make_study, tmp_path):
    study = make_study(model={"name": "tinycnn", "options": {"width": 4}}, releases=[release])
    with pytest.raises(UserError, match=expected):
        run(study, out=tmp_path, runtime=Runtime(executor="serial"))


def test_the_answer_holds_the_defended_against_themselves_without_defence(defended):
    told = {change.release: change.text for change in answer(defended.audit.results).changes}
    assert told["dp"].startswith("Trained from new weights without compression with a defence")
    assert re.match(
        r"Pruned to 80% sparsity \(\S+ of all parameters\) with a defence", told["l1unstructured-0.8+ppb-strength=4"]
    )
    assert "the same release without the defence" in told["l1unstructured-0.8+ppb-strength=4"]
    assert "the same release without the defence" in told["dp"]  # which is the dense bank
    assert "without the defence" not in told["l1unstructured-0.8"]


def test_the_epsilon_spent_stands_in_the_release_report_and_on_the_page(defended):
    entries = json.loads((defended.folder / "release.json").read_text())["releases"]
    told = {entry["name"]: entry["defense_report"] for entry in entries}
    folder = next(defended.folder.glob("dp-????????"))
    spent = [json.loads(path.read_text())["defense"]["epsilon"] for path in folder.glob("model-*/summary.json")]
    assert told["dp"]["epsilon"] == max(spent)
    assert told["dense"] is None
    page = (defended.folder / "report.html").read_text()
    assert f"epsilon {max(spent):.2f} at delta 1e-05" in page
    assert told["dp"]["statement"] in page

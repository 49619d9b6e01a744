"""A release again with another fine-tuning seed: what it changes, what it does not, and the noise floor."""

import numpy as np
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.engine.plan import check_plugins, make_plan
from pruneaudit.study.lineage import counterparts, repeats

pytestmark = pytest.mark.slow

FINETUNE = {"epochs": 2, "learning_rate": 0.05}
PRUNED = {"compress": "l1unstructured", "sparsity": 0.8, "finetune": FINETUNE}
BASELINE = {"name": "dense+finetune", "finetune": FINETUNE}


def configs(study):
    plan = make_plan(study, load_audit_data(study.data, study.seed))
    return {task.name: task.artifact.config for task in plan.tasks}


def test_seed_0_is_no_seed(make_study):
    plain, spelt = (configs(make_study(releases=[release])) for release in (PRUNED, PRUNED | {"finetune_seed": 0}))
    assert plain == spelt
    assert not any("finetune_seed" in config for config in plain.values())


def test_another_seed_is_another_release_of_the_same_parent(make_study):
    found = configs(make_study(releases=[PRUNED, PRUNED | {"finetune_seed": 1}]))
    first, second = (found[f"release l1unstructured-0.8{end} model-000"] for end in ("", "+seed1"))
    assert second == first | {"finetune_seed": 1}
    assert sha256_of(first) != sha256_of(second)


def test_repeats_differ_in_their_seed_and_name_alone(make_study):
    study = make_study(
        releases=[
            BASELINE,
            PRUNED,
            PRUNED | {"name": "again", "finetune_seed": 1},
            PRUNED | {"name": "third", "finetune_seed": 2},
            PRUNED | {"name": "namesake"},
            PRUNED | {"sparsity": 0.5, "finetune_seed": 1},
            BASELINE | {"name": "", "finetune_seed": 1},
            {"name": "retrained", "parent": "init", "finetune_seed": 1},
            {"name": "shorter", "parent": "init", "finetune_seed": 1, "finetune": {"epochs": 1}},
        ]
    )
    assert repeats(study) == {
        "again": "l1unstructured-0.8",
        "third": "l1unstructured-0.8",
        "dense+finetune+seed1": "dense+finetune",
        "retrained": "dense",
    }


def test_one_undefended_twin_serves_all_seeds(make_study):
    defended = PRUNED | {"defense": "ppb"}
    study = make_study(releases=[PRUNED, defended, defended | {"finetune_seed": 1}])
    assert counterparts(study) == {
        "l1unstructured-0.8+ppb": "l1unstructured-0.8",
        "l1unstructured-0.8+ppb+seed1": "l1unstructured-0.8",
    }


def test_a_seed_without_any_training_is_refused(make_study):
    study = make_study(releases=[{"compress": "l1unstructured", "sparsity": 0.8, "finetune_seed": 1}])
    with pytest.raises(UserError, match=r"finetune_seed = 1 .* no training"):
        check_plugins(study)


@pytest.fixture(scope="module")
def repeated(make_study, tmp_path_factory):
    study = make_study(
        releases=[
            BASELINE,
            PRUNED | {"name": "pruned"},
            PRUNED | {"name": "again", "finetune_seed": 1},
            {"name": "fresh", "parent": "init"},
            {"name": "fresh-again", "parent": "init", "finetune_seed": 1},
        ],
        membership={"num_models": 12},
        audit={"attacks": ["loss", "lira"], "fpr_levels": [0.2, 0.01]},
    )
    return run(study, out=tmp_path_factory.mktemp("repeated"), runtime=Runtime(executor="serial"))


def logits(finished, release):
    return next(g for g in finished.audit.settings if g.setting.release == release).setting.attack_input.attacked.logits


def test_the_order_of_training_changes_and_nothing_else(repeated):
    np.testing.assert_array_equal(logits(repeated, "fresh"), logits(repeated, "dense"))
    for name, again in (("pruned", "again"), ("fresh", "fresh-again")):
        first, second = logits(repeated, name), logits(repeated, again)
        assert not np.array_equal(first, second)
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.6


def test_the_noise_floor_stands_beside_the_counts(repeated):
    table = repeated.audit.results.detection_changes
    assert set(table["fpr"]) == {0.2}, "1% cannot be told from so few samples"
    of_all = table[table["class"] == "all"].set_index(["release", "baseline"])
    floor = of_all.loc[("again", "pruned")]
    row = of_all.loc[("pruned", "dense+finetune")]
    assert row["noise_newly"] == floor["newly_detected"]
    assert row["noise_no_longer"] == floor["no_longer_detected"]
    chance = of_all.loc[("fresh-again", "dense")]
    assert np.isnan(chance["noise_newly"])
    of_baseline = of_all.loc[("dense+finetune", "dense")]
    assert of_baseline["noise_newly"] == chance["newly_detected"]
    assert of_baseline["noise_no_longer"] == chance["no_longer_detected"]
    assert of_all.loc[("fresh", "dense"), "newly_detected"] == 0


def test_files_and_report_hold_it(repeated):
    lines = (repeated.folder / "sample_detection.csv").read_text().splitlines()
    assert (
        lines[0] == "release,baseline,sample_id,class_id,detection_rate_before,detection_rate_after,change,num_victims"
    )
    assert len(lines) == 1 + len(repeated.audit.results.sample_detection)
    sealed = (repeated.folder / "SHA256SUMS").read_text()
    assert "  sample_detection.csv\n" in sealed
    assert "Who becomes exposed" in repeated.report.read_text(encoding="utf-8")

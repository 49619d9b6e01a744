"""CompLeak's recipes have its numbers and run; the replay finds its queries where there is nothing else to find."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.cli import main
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.engine.plan import check_plugins
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.published.compleak import AS_MEANT, AS_RELEASED, SYSTEM
from pruneaudit.published.compleak_epochs import best_on_victims
from pruneaudit.published.compleak_protocol import MEMBERS, NO_AUDIT, NOBODYS, QUERIES, replay
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.signals import Signals
from pruneaudit.study.baselines import baselines
from pruneaudit.study.recipes import load_recipe
from run_bytes import reproducible_bytes

# M models, N samples, C classes

OWN, SMALL = "compleak/cifar10-resnet18", "compleak/fashion"
TINY = [
    *("data.source=digits", "data.num_samples=300", "data.num_holdout=240", "data.num_public=60"),
    *("membership.num_models=4", "training.epochs=6", "training.augment=flip", "model.options.width=4"),
    *("audit.fpr_levels=[0.3]", 'audit.attacks=["loss"]'),
]


def test_its_recipes_are_there() -> None:
    assert set(SYSTEM.recipes) == {OWN, SMALL}


@pytest.mark.parametrize("name", SYSTEM.recipes)
def test_its_plugins_are_known(name: str) -> None:
    check_plugins(load_recipe(name))


def test_the_recipe_has_its_numbers() -> None:
    study = load_recipe(OWN)
    training = study.training
    assert (study.model.name, study.data.source.name) == ("resnet18", "cifar10")
    assert (training.epochs, training.batch_size, training.learning_rate) == (100, 128, 0.1)
    assert (training.momentum, training.schedule, training.augment) == (0.9, "cosine", "crop_flip")
    assert training.weight_decay == pytest.approx(5e-4 + 5e-5)
    assert (training.select, training.patience) == ("best_dev", 10)
    assert (study.membership.protocol, study.membership.group_size) == ("disjoint", 2)
    releases = {release.name: release for release in study.releases}
    pruned = [release.asked("sparsity") for release in study.releases if release.asked("sparsity")]
    assert pruned == [0.6, 0.7, 0.8, 0.9]
    assert [release.asked("clusters") for release in study.releases if release.asked("clusters")] == [4, 8, 16]
    for name, release in releases.items():
        if release.finetune is not None:
            rate = 1e-5 if "clustering" in name else 1e-3
            assert (release.finetune.epochs, release.finetune.learning_rate) == (30, rate), name
    clustering = releases["clustering-4"].compress[0]
    assert clustering.options == {"clusters": 4, "init": "kmeans++", "reduce": "sum"}


@pytest.mark.parametrize("name", SYSTEM.recipes)
def test_eight_bits_as_released_are_float_finetuning_that_is_quantised_later(name: str) -> None:
    study = load_recipe(name)
    releases = {release.name: release for release in study.releases}
    released, meant = releases[AS_RELEASED], releases[AS_MEANT]
    assert (released.finetune, released.compress[0].name) == (None, "static8")
    tuned = releases[released.parent]
    assert tuned.compress == () and tuned.finetune == meant.finetune
    assert meant.compress[0].name == "qat" and meant.parent == "dense"


def test_every_release_has_a_baseline_with_the_same_training() -> None:
    study = load_recipe(SMALL)
    found = {name: baseline.name for name, baseline in baselines(study).items()}
    assert found[AS_RELEASED] == found["pruning-0.7"] == found[AS_MEANT] == "dense+finetune"


def small_study(*changes: str):
    """The recipe with little data, and with one release of each method that is quickly made."""
    study = load_recipe(SMALL).changed([*TINY, *changes], "small")
    kept = ("dense+finetune", "pruning-0.7", AS_RELEASED)
    releases = [release for release in study.model_dump(mode="json")["releases"] if release["name"] in kept]
    for release in releases:
        if release["finetune"]:
            release["finetune"]["epochs"] = 1
    return type(study).model_validate(study.model_dump(mode="json") | {"releases": releases})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(small_study(), tmp_path_factory.mktemp("compleak"), runtime=Runtime(executor="serial")).folder


FOREST = "posterior_rf:max_rows=600:min_leaf=5:trees=20"
PAIR = "pair_rf:max_rows=600:min_leaf=5:trees=20"


@pytest.fixture(scope="module")
def replayed(finished):
    return replay(finished, ["dense", "pruning-0.7"], [FOREST, PAIR])


def test_a_row_for_each_kind_of_samples_and_queries(replayed) -> None:
    # The forest of one release on both, that of two on the pruned one.
    assert len(replayed) == 2 * 3 * 3
    assert set(replayed["samples"]) == {NOBODYS, MEMBERS}
    assert list(replayed["queries"][:3]) == list(QUERIES)
    assert set(replayed.loc[replayed["attack"] == PAIR, "release"]) == {"pruning-0.7"}
    assert (replayed["is_audit"] == (replayed["queries"] != "as released")).all()
    nobodys = replayed["samples"] == NOBODYS
    assert (replayed.loc[nobodys, "num_samples"] == 240).all()
    assert (replayed["num_victims"] == 4).all()
    assert (replayed["auc_low"] <= replayed["auc"]).all() and (replayed["auc"] <= replayed["auc_high"]).all()


def test_its_queries_are_found_among_samples_that_nobody_trained_on(replayed) -> None:
    nobodys = replayed[replayed["samples"] == NOBODYS].set_index(["queries", "attack", "release"])["auc"]
    assert nobodys["as released", PAIR, "pruning-0.7"] > 0.65
    assert nobodys["as released", PAIR, "pruning-0.7"] > nobodys["as released", FOREST, "pruning-0.7"]


def test_equal_queries_find_nothing_there(replayed) -> None:
    equal = replayed[(replayed["samples"] == NOBODYS) & replayed["is_audit"]]
    assert len(equal) == 6
    assert (equal["auc"].sub(0.5).abs() < 0.06).all(), equal
    assert (equal["auc_low"] < 0.53).all()


def test_the_same_again_whatever_the_number_of_jobs(finished, replayed) -> None:
    again = replay(finished, ["pruning-0.7"], [FOREST, PAIR], jobs=2)
    alone = replayed[replayed["release"] == "pruning-0.7"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, alone, check_exact=True)


def test_plain_queries_of_members_are_those_of_the_run(finished, replayed) -> None:
    """The replay changes the queries alone: with plain ones it is the run's own attack."""
    held = RunFolder.open(finished)
    signals = held.signals(*held.finished(), "dense")
    options = ATTACKS.get("posterior_rf").Options(trees=20, min_leaf=5, max_rows=600)
    rng = numpy_generator(held.study.seed, seeds.ATTACK, FOREST, "dense")
    scores = ATTACKS.get("posterior_rf")(options).score(AttackInput.of([signals], [signals]), rng).victims
    scores[~signals.ordinary] = np.nan
    expected = np.mean([auc(row[None], member[None])[0] for row, member in zip(scores, signals.member, strict=True)])
    row = replayed[(replayed["samples"] == MEMBERS) & (replayed["queries"] == "plain")].iloc[0]
    assert (row["release"], row["attack"]) == ("dense", FOREST)
    assert row["auc"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"releases": ["pruning-0.77"]}, r"no release 'pruning-0.77' \(did you mean 'pruning-0.7'\?\)"),
        ({"attacks": ["samia"]}, "attack 'samia': needs sensitivity"),
        ({"attacks": ["posterior_fr"]}, "did you mean 'posterior_rf'"),
    ],
)
def test_bad_input(arguments, named, finished) -> None:
    with pytest.raises(UserError, match=named):
        replay(finished, **arguments)


def test_too_few_samples_that_nobody_trained_on(tmp_path) -> None:
    study = small_study("data.num_holdout=100", "training.epochs=1")
    folder = run(study, tmp_path, runtime=Runtime(executor="serial")).folder
    with pytest.raises(UserError, match=r"100 samples influenced no network, expected 200 .* data\.num_holdout"):
        replay(folder, ["dense"], [FOREST])


def test_the_command_says_that_it_is_no_audit(finished, capsys, tmp_path) -> None:
    table = tmp_path / "replayed.csv"
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    command = ["compleak", "replay", str(finished), "--releases", "dense", "--attacks", FOREST, "--csv", str(table)]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert not end.value.code
    out, err = capsys.readouterr()
    assert NO_AUDIT in err
    assert "as released: no audit" in " ".join(out.split())
    assert len(pd.read_csv(table)) == 6
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before


@pytest.mark.slow
def test_serial_and_processes_write_the_same_bytes(tmp_path) -> None:
    attacks = json.dumps([FOREST, PAIR, "posterior_lr", "pair_lr:label=false"])
    study = small_study(f"audit.attacks={attacks}")
    first = run(study, tmp_path / "one", runtime=Runtime(executor="serial")).folder
    second = run(study, tmp_path / "two", runtime=Runtime(executor="processes", jobs=2)).folder
    assert reproducible_bytes(first) == reproducible_bytes(second)


@pytest.mark.slow
def test_its_own_study_can_be_stepped_through(tmp_path) -> None:
    """All its releases and attacks, with one victim and one shadow, tiny networks and one epoch."""
    study = load_recipe(OWN).changed(
        [
            *("data.source=digits", "data.num_samples=240", "data.num_holdout=200", "data.num_public=120"),
            *("membership.num_models=2", "training.epochs=1", "model.options.width=4", "audit.fpr_levels=[0.3]"),
        ],
        "stepped",
    )
    values = study.model_dump(mode="json")
    for release in values["releases"]:
        if release["finetune"]:
            release["finetune"]["epochs"] = 1
    for attack in values["audit"]["attacks"]:
        if attack["name"].endswith("_rf"):
            attack["options"]["trees"] = 3
        if attack["name"] == "samia":
            attack["options"]["epochs"] = 1
    found = run(type(study).model_validate(values), tmp_path, runtime=Runtime(executor="serial"))
    findings = pd.read_csv(found.folder / "findings.csv")
    assert {release.name for release in study.releases} <= set(findings["release"])
    assert len(set(findings["attack"])) == len(study.audit.attacks)


def nothing_to_find(num_models=8, num_samples=200):
    rng = np.random.default_rng(3)
    member = rng.random((num_models, num_samples)) < 0.5
    logits = rng.normal(size=(num_models, num_samples, 3)).astype(np.float32)
    signals = Signals(logits, rng.integers(3, size=num_samples), member)
    return AttackInput.of([signals], [signals])


def test_the_best_epoch_on_the_victim_finds_what_is_not_there() -> None:
    attack_input = nothing_to_find()
    kind = ATTACKS.get("nn_cls")
    attack = kind(kind.Options(epochs=40, max_rows=200, learning_rate=3e-3))
    member = attack_input.attacked.member
    best = best_on_victims(attack, attack_input, np.random.default_rng(0))
    fair = attack.score(attack_input, np.random.default_rng(0)).victims
    accuracies = [
        np.mean([((s >= 0) == m).mean() for s, m in zip(scores, member, strict=True)]) for scores in (best, fair)
    ]
    assert accuracies[0] > accuracies[1] + 0.02
    assert accuracies[0] > 0.52
    null = two_way(*auc_influence(fair, member))
    assert null.low < 0.5 < null.high


def test_the_best_of_one_epoch_is_that_epoch() -> None:
    """Without a choice nothing is read of the victim: its members turned round, the scores stay."""
    attack_input = nothing_to_find(4, 60)
    kind = ATTACKS.get("nn")
    attack = kind(kind.Options(epochs=1, max_rows=50))
    turned = replace(attack_input.attacked, member=~attack_input.attacked.member)
    other = AttackInput.of([turned], attack_input.references, attack_input.allowed)
    first, second = (best_on_victims(attack, each, np.random.default_rng(0)) for each in (attack_input, other))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


def test_networks_are_played_with_both_choices_of_the_epoch(finished) -> None:
    found = replay(finished, ["dense"], ["nn:epochs=3:max_rows=300"])
    assert len(found) == 2 * 3 * 2
    chosen = found[found["epoch"] == "chosen on references"]
    assert (chosen["is_audit"] == (chosen["queries"] != "as released")).all()
    assert not found.loc[found["epoch"] == "best on the victim", "is_audit"].any()

"""Pruning_MIA's grid as a study: its numbers pinned, and parts of it that add up to the whole."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.schedules import Ramp
from pruneaudit.core.errors import UserError
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.plan import check_plugins
from pruneaudit.models import build_model
from pruneaudit.published.pruning_mia import (
    RECIPES,
    Grid,
    base_name,
    dataset_name,
    experiment_name,
    method_of,
    same_study,
    study_of,
    united,
)
from pruneaudit.study import Source
from pruneaudit.training.optimizers import learning_rate_factor

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
WHOLE = [(method, sparsity) for method in ("static", "dpf") for sparsity in SPARSITIES]
STEPS_PER_EPOCH = 196
"""25,000 samples in batches of 128."""


def ramp_of(grid, sparsity=0.8):
    """The ramp that dpf makes of a grid's settings."""
    plugin = next(plugin for release in study_of(grid).releases for plugin in release.compress if plugin.name == "dpf")
    options = COMPRESSORS.get("dpf").Options.model_validate(plugin.options)
    assert (options.start, options.scope, options.layers, options.ramp_by) == (
        "init",
        "global",
        "convolutions",
        "epoch",
    )
    by_epoch = options.ramp_by == "epoch"
    return Ramp(sparsity, 0.0, options.ramp_end, options.period_steps, options.freeze_at, by_epoch)


def test_the_recipe_is_the_published_one():
    study = study_of(RECIPES["pruning-mia/cifar10"])
    training = study.training
    assert (training.epochs, training.batch_size, training.optimizer) == (200, 128, "sgd")
    assert (training.learning_rate, training.momentum, training.weight_decay) == (0.1, 0.9, 5e-4)
    assert (training.schedule, training.milestones, training.decay) == ("step", (100, 150), 0.1)
    assert (training.augment, training.select) == ("crop_flip", "last")
    assert (study.name, study.seed, study.data.source.name) == ("pruning-mia-cifar10", 42, "cifar10")
    assert study.data.num_samples + study.data.num_holdout == 60_000
    assert (study.membership.protocol, study.membership.num_models) == ("pooled", 16)
    assert [release.name for release in study.releases] == [f"{m}_sparsity_{s}" for m, s in WHOLE]
    assert [(method_of(release), release.asked("sparsity")) for release in study.releases] == WHOLE
    assert set(attacks_of(study)) == {
        *("lira", "shokri_nn", "nn_top3", "nn_cls", "samia", "confidence", "entropy", "modified_entropy", "nn")
    }
    check_plugins(study)
    assert study.warnings() == []


def test_the_learning_rate_falls_at_epochs_100_and_150():
    training = study_of(Grid()).training
    at = {
        epoch: learning_rate_factor(training, epoch * STEPS_PER_EPOCH, STEPS_PER_EPOCH) for epoch in (99, 100, 149, 150)
    }
    assert at == pytest.approx({99: 1, 100: 0.1, 149: 0.1, 150: 0.01})


@pytest.mark.parametrize("epoch", [0, 1, 20, 74, 75, 76, 179, 199])
def test_the_mask_goes_the_published_way(epoch):
    ramp = ramp_of(Grid())
    expected = 0.8 * (1 - (1 - epoch / 75) ** 3) if epoch < 75 else 0.8
    for step in (epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH - 1):  # it rises once per epoch
        assert ramp.after(step, STEPS_PER_EPOCH, 200) == pytest.approx(expected, abs=1e-12)
        assert ramp.is_frozen(step, STEPS_PER_EPOCH, 200) == (epoch >= 180)
    assert ramp.period_steps == 16


def test_fewer_epochs_keep_the_fractions_unless_epochs_are_given():
    half = Grid(epochs=100)
    assert half.milestones == (50, 75)
    assert (half.ramp_end * 100, half.freeze_at * 100) == (37.5, 90)
    assert study_of(half).releases[-1].compress == study_of(Grid()).releases[-1].compress
    own = Grid(epochs=100, target_epoch=20, freeze_epoch=60, prune_freq=8)
    assert ramp_of(own) == Ramp(0.8, 0.0, 0.2, 8, 0.6, True)
    assert ramp_of(Grid(epochs=100, freeze_epoch=-1)).freeze_at == 1
    assert ramp_of(Grid(epochs=100, freeze_epoch=180)).freeze_at == 1  # there it never comes
    assert [Grid(epochs=epochs).milestones for epochs in (1, 2, 3, 4)] == [(1,), (1,), (1, 2), (2, 3)]
    assert all(study_of(Grid(epochs=epochs)).training.milestones for epochs in range(1, 9))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 50, "target_epoch": 75}, "target_epoch = 75 .* 50 epochs"),
        ({"target_epoch": 190}, "before it reaches its sparsity"),
        ({"freeze_epoch": 0}, "before it reaches its sparsity"),
        ({"name": "dpf_90"}, "is for one release"),
        ({"name": "x", "methods": ["dense"], "sparsities": [0.9]}, "is for one release"),
        ({"methods": ["dcil"]}, "'dense', 'static' or 'dpf'"),
        ({"sparsities": [1.0]}, "less than 1"),
        ({"attacks": []}, "at least 1 item"),
    ],
)
def test_what_does_not_go_together_is_said(settings, said):
    with pytest.raises(UserError, match=said):
        Grid(**settings)


@pytest.mark.parametrize(
    ("settings", "label", "name"),
    [
        ({}, "resnet:depth=20:shortcut=B", "pruning-mia-cifar10"),
        ({"layers": 32}, "resnet:depth=32:shortcut=B", "pruning-mia-cifar10-resnet32"),
        ({"layers": 44}, "resnet:block=bottleneck:depth=44:shortcut=B", "pruning-mia-cifar10-resnet44"),
        ({"width": 2, "seed": 43}, "resnet:depth=20:shortcut=B:width=32", "pruning-mia-cifar10-resnet20x2-seed43"),
        ({"arch": "wideresnet"}, "wideresnet:depth=28:width_factor=10", "pruning-mia-cifar10-wideresnet28x10"),
        ({"arch": "wideresnet", "layers": 16, "width": 1}, None, "pruning-mia-cifar10-wideresnet16"),
    ],
)
def test_networks_and_names(settings, label, name):
    study = study_of(Grid(**settings))
    assert study.name == name
    assert label in (None, study.model.label)
    check_plugins(study)
    assert base_name(study) == name.removesuffix("-seed43")


def test_its_resnet_20_has_as_many_weights():
    network = study_of(Grid()).model
    built = build_model(network.name, {"norm": "batch", **network.options}, (3, 32, 32), 10, torch.Generator())
    assert sum(parameter.numel() for parameter in built.parameters()) == 272_474  # option A: 269,722


def test_other_data_sets_are_audited_whole():
    study = study_of(Grid(dataset="npz:/data/my scans.npz"))
    assert (study.name, study.data.num_samples, study.data.num_holdout) == ("pruning-mia-my_scans", None, 0)
    assert dataset_name(Source(name="cifar10", options={"path": "/data/x"})) == "cifar10"
    assert experiment_name("static_sparsity_0.8", Source(name="cifar100")) == "static_sparsity_0.8_cifar100"


def part(cells, **settings):
    """The study of some cells of the grid, as it was asked for one by one."""
    study = study_of(Grid(**settings))
    return study.model_copy(
        update={"releases": tuple(r for r in study.releases if (method_of(r), r.asked("sparsity")) in cells)}
    )


@given(cells=st.permutations(WHOLE), cuts=st.lists(st.integers(0, len(WHOLE)), max_size=4))
def test_parts_in_any_order_end_in_the_whole(cells, cuts):
    ends = [0, *sorted(cuts), len(WHOLE)]
    so_far = part([])
    for begin, end in pairwise(ends):
        so_far = united(part(cells[begin:end]), so_far)
    assert so_far == study_of(Grid())
    assert united(part(cells[:1]), so_far) == so_far


def test_what_is_asked_of_the_attacker_is_asked_of_the_union():
    asked = united(part(WHOLE[:1], attacks=["lira"]), study_of(Grid()))
    assert [attack.name for attack in asked.audit.attacks] == ["lira"]
    assert len(asked.releases) == len(WHOLE)


def test_another_study_is_not_added_to():
    other = study_of(Grid(epochs=50))
    asked = part(WHOLE[:1])
    assert not same_study(asked, other)
    assert united(asked, other) == asked
    assert same_study(asked, study_of(Grid(seed=43)), but=("name", "seed"))


def test_one_release_is_not_trained_twice_under_two_names():
    named = study_of(Grid(name="dpf_90", methods=["dpf"], sparsities=[0.9]))
    whole = united(study_of(Grid()), named)
    names = [release.name for release in whole.releases]
    assert len(names) == len(WHOLE)
    assert names[8] == "dpf_90"
    assert "dpf_sparsity_0.9" not in names
    other = study_of(Grid(name="dpf_90", methods=["static"], sparsities=[0.9]))
    with pytest.raises(UserError, match="another release of that name"):
        united(other, named)

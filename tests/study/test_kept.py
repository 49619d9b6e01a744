"""What the kept weights and channels of a release depend on."""

import pytest

from pruneaudit.study import Study
from pruneaudit.study.kept import chosen_blindly, kept_by, starts_are_own
from pruneaudit.study.lineage import release_of

TUNED = {"epochs": 3, "learning_rate": 0.02}
RELEASES = [
    {"name": "masked", "compress": "l1unstructured:sparsity=0.7"},
    {"name": "child", "parent": "masked", "finetune": TUNED},
    {"name": "channels", "compress": "l1structured:sparsity=0.5"},
    {"name": "heads", "compress": ["heads:sparsity=0.5", "ffn:sparsity=0.5"]},
    {"name": "both", "compress": ["l1structured:sparsity=0.5", "l1unstructured:sparsity=0.7", "rtn:bits=4"]},
    {"name": "rounded", "compress": "rtn:bits=4"},
    {"name": "low-rank", "compress": "svd:fraction=0.5"},
    {"name": "at-start", "compress": "static:start=init:sparsity=0.7"},
    {"name": "one-shot", "compress": "static:start=pretrained:sparsity=0.7"},
    {"name": "by-chance", "compress": "random:sparsity=0.7"},
    {"name": "synflow", "compress": "synflow:sparsity=0.7"},
    {"name": "snip", "compress": "snip:sparsity=0.7"},
    {"name": "chance-then-size", "parent": "by-chance", "compress": "l1unstructured:sparsity=0.9"},
    {"name": "longer", "finetune": TUNED},
]


def study(**settings):
    return Study.model_validate({"name": "s", "releases": RELEASES, "data": {"num_holdout": 100}, **settings})


def found(function, made):
    return {release.name: function(made, release_of(made, release.name)) for release in made.releases}


def test_what_a_release_shows_of_what_it_keeps():
    shown = found(kept_by, study())
    assert {name for name, words in shown.items() if words == "mask"} == {
        *("masked", "child", "at-start", "one-shot", "by-chance", "synflow", "snip", "chance-then-size"),
    }
    assert {name: words for name, words in shown.items() if "channels" in words} == {
        "channels": "kept channels",
        "both": "mask and kept channels",
    }
    assert shown["heads"] == "kept heads and kept hidden units"


def test_masks_that_chance_or_the_start_chose_are_the_null():
    blind = found(chosen_blindly, study())
    assert {name for name, is_blind in blind.items() if is_blind} == {"at-start", "by-chance", "synflow"}


@pytest.mark.parametrize(("init", "own"), [("own", True), ("shared", False)])
def test_starts(init, own):
    assert set(found(starts_are_own, study(training={"init": init})).values()) == {own}

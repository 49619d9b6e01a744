"""`compress` in a release: degrees beside it, chains, names, and studies of earlier versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_plugins
from pruneaudit.study import Plugin, Release, Study
from pruneaudit.study.lineage import compression_of, undefended

TUNED = {"finetune": {"epochs": 1}}


def study(*releases: dict[str, Any]) -> Study:
    return Study.model_validate({"name": "a", "releases": list(releases)})


@pytest.mark.parametrize(
    "given",
    [
        {"compress": "l1unstructured", "sparsity": 0.9},
        {"compress": "l1unstructured:sparsity=0.9"},
        {"compress": ["l1unstructured"], "sparsity": 0.9},
        {"compress": {"name": "l1unstructured", "options": {"sparsity": 0.9}}},
        {"compress": "l1unstructured:sparsity=0.9", "sparsity": 0.9},
    ],
)
def test_a_degree_beside_is_the_compressors_option(given: dict[str, Any]) -> None:
    release = Release.model_validate(given)
    assert release == Release(compress=(Plugin(name="l1unstructured", options={"sparsity": 0.9}),))
    assert release.name == "l1unstructured-0.9"
    assert (release.asked("sparsity"), release.asked("bits"), release.method) == (0.9, None, "l1unstructured")
    assert Release.model_validate(json.loads(release.model_dump_json())) == release


def test_a_chain_is_named_after_its_steps_with_their_degrees() -> None:
    chain = ["l1structured:sparsity=0.3:target=macs", "l1unstructured"]
    release = Release.model_validate(
        {"compress": ["l1structured:target=macs:sparsity=0.3", "l1unstructured:sparsity=0.7"]}
    )
    assert release.name == "l1structured-0.3-target=macs+l1unstructured-0.7"
    assert release.method == "l1structured:target=macs+l1unstructured"
    with pytest.raises(UserError, match=r"sparsity: got one value for 2 compressors"):
        Release(compress=chain, sparsity=0.7)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "deep-compression"),
        ({"sparsity": 0.9}, "deep-compression-0.9"),
        ({"clusters": 8}, "deep-compression-0.9-8"),
        ({"sparsity": 0.7, "clusters": 8}, "deep-compression-0.7-8"),
        ({"epochs": 2}, "deep-compression-epochs=2"),
        ({"compress": "deep-compression:clusters=8:scope=layerwise"}, "deep-compression-0.9-8-scope=layerwise"),
        ({"compress": ["deep-compression", "rtn:bits=4"], "parent": "old"}, "old+deep-compression+rtn-4"),
        ({"compress": ["l1unstructured:sparsity=0.9", "finetune", "rtn:bits=4"]}, "l1unstructured-0.9+finetune+rtn-4"),
    ],
)
def test_a_chain_s_own_name_names_its_release(given: dict[str, Any], name: str) -> None:
    release = Release.model_validate({"compress": "deep-compression", **TUNED, **given})
    assert release.name == name
    assert Release.model_validate(json.loads(release.model_dump_json())) == release
    named = Release.model_validate({"compress": "deep-compression", **TUNED, **given, "name": "own"})
    assert named.model_copy(update={"name": name}) == release


def test_a_list_of_degrees_makes_a_release_each() -> None:
    found = study({"compress": "random:scope=layerwise", "sparsity": [0.5, 0.9]}).releases
    assert [release.name for release in found] == ["random-0.5-scope=layerwise", "random-0.9-scope=layerwise"]
    assert len({release.but_for_degrees() for release in found}) == 1
    both = study({"compress": "deep-compression", "sparsity": 0.7, "clusters": [8, 16], **TUNED}).releases
    assert [release.name for release in both] == ["deep-compression-0.7-8", "deep-compression-0.7-16"]
    assert found[0].but_for_degrees() != Release(compress="random:sparsity=0.5").but_for_degrees()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compress": "random:sparsity=0.5", "sparsity": 0.9}, "sparsity: got 0.9 next to 'random' and 0.5 among its"),
        ({"compress": "random"}, "next to compress, or as 'random:sparsity=...'"),
        ({"compress": "rtn", "sparsity": 0.5}, "unknown key 'sparsity'; the degree of 'rtn' is bits"),
        ({"compress": "gtpq", "bits": 4}, "unknown compressor 'gtpq' (did you mean 'gptq'?)"),
        ({"compress": "nm", "pattern": 3}, "pattern of 'nm': got 3, expected: N:M"),
        ({"pruner": "random", "sparsity": 0.5}, "got pruner = 'random'; it is now called compress"),
        ({"compress": "random", "sparsity": 0.5, "bits": 4}, "bits"),
    ],
)
def test_what_says_two_things_or_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"releases\.0") as caught:
        Study(name="a", releases=[given])
    assert message in str(caught.value)


def test_an_override_finds_a_degree_in_a_study_that_was_dumped() -> None:
    dumped = study({"compress": "random", "sparsity": 0.5, "name": "r"})
    changed = dumped.changed(["releases.0.sparsity=0.7"], "--set")
    assert changed.releases == (Release(name="r", compress="random:sparsity=0.7"),)


@pytest.mark.parametrize(
    ("releases", "message"),
    [
        (
            [{"compress": ["l1unstructured:sparsity=0.5", "l1structured:sparsity=0.5"]}],
            "'l1structured' cannot follow 'l1unstructured': .*put 'l1structured' first",
        ),
        (
            [{"compress": ["gradual:sparsity=0.5", "l1unstructured:sparsity=0.7"], **TUNED}],
            "'l1unstructured' cannot follow 'gradual': .*last step",
        ),
        (
            [{"compress": ["random:sparsity=0.5", "dpf:sparsity=0.7"], **TUNED}],
            "'dpf' cannot follow 'random': .*new weights",
        ),
        (
            [
                {"name": "small", "compress": "l1structured:sparsity=0.5"},
                {"name": "x", "parent": "small", "compress": "slim:sparsity=0.5", **TUNED},
            ],
            "release 'x': .*'slim' cannot follow 'l1structured'",
        ),
    ],
)
def test_an_order_that_undoes_itself_is_refused_before_any_training(
    releases: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_plugins(study(*releases))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"compress": "deep-compression", "sparsity": 0.7, "clusters": 8}, "deep-compression-0.7-8"),
        ({"compress": "deep-compression:exclude=['a']"}, "deep-compression-exclude=__a__"),
        ({"compress": ["svd:fraction=0.5", "deep-compression:epochs=2"]}, "svd-0.5+deep-compression-epochs=2"),
        ({"compress": ["l1unstructured:sparsity=0.7", "finetune", "kmeans:clusters=8"]}, ""),
    ],
)
def test_the_undefended_counterpart_of_a_chain_is_named_like_it(given: dict[str, Any], name: str) -> None:
    release = Release.model_validate({**given, **TUNED, "defense": "relaxloss"})
    plain = undefended(study(), release)
    assert plain is not None
    assert plain.name == (name or "l1unstructured-0.7+finetune+kmeans-8") == release.name.removesuffix("+relaxloss")
    assert plain.compress == release.compress


@pytest.mark.parametrize("compress", ["finetune", "finetune:epochs=2", ["rtn:bits=4", "finetune"]])
@pytest.mark.parametrize("more", [{}, TUNED])
def test_a_last_step_that_trains_is_refused_at_once_for_the_key_finetune(compress: Any, more: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"step 'finetune' trains between two steps.* leave it out.* key finetune"):
        check_plugins(study({"name": "x", "compress": compress, **more}))
    without = {"compress": compress[:-1]} if isinstance(compress, list) else {}
    check_plugins(study({"name": "x", **without, "finetune": {"epochs": 5}}))


def test_what_shaped_a_release_includes_its_ancestors() -> None:
    made = study(
        {"name": "sparse", "compress": "l1unstructured", "sparsity": 0.5, **TUNED},
        {"name": "longer", "parent": "sparse", **TUNED},
        {"name": "sparser", "parent": "longer", "compress": "random", "sparsity": 0.7, **TUNED},
    )
    check_plugins(made)
    assert [compression_of(made, release) for release in made.releases] == [
        "l1unstructured",
        "l1unstructured",
        "l1unstructured+random",
    ]

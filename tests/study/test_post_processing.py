"""Which releases are functions of others, and which read members."""

import pytest

from pruneaudit.study import DENSE, Study
from pruneaudit.study.lineage import release_of
from pruneaudit.study.post_processing import post_processing, source_in, touches_private_data

TUNED = {"epochs": 3, "learning_rate": 0.02}
DP = "dp:noise_multiplier=1"
WITHOUT_DATA = [
    *("l1unstructured:sparsity=0.5", "random:sparsity=0.5", "lamp:sparsity=0.5", "static:sparsity=0.5"),
    *("synflow:sparsity=0.5:start=pretrained", "iterative:sparsity=0.5:rounds=1", "nm:pattern=2:4"),
    *("l1structured:sparsity=0.3", "l2structured:sparsity=0.3", "slim:sparsity=0.3:preset=mia_prune"),
    *("rtn:bits=4", "kmeans:clusters=8", "svd:fraction=0.5"),
    ["l1unstructured:sparsity=0.5", "rtn:bits=4"],
]
PUBLIC = [
    "wanda",
    "sparsegpt",
    "obc",
    "snip:start=pretrained",
    "gptq:bits=4",
    "svd:fraction=0.5:data=public",
    "static8",
]
MEMBERS = [
    *("wanda:data=members", "sparsegpt:data=members", "obc:data=members", "snip:start=pretrained:data=members"),
    *("gptq:bits=4:data=members", "svd:fraction=0.5:data=members", "static8:data=members"),
    ["l1unstructured:sparsity=0.5", "gptq:bits=4:data=members"],
]
SPARSE = ("wanda", "sparsegpt", "obc", "snip")


def with_degree(compress):
    needs_one = isinstance(compress, str) and compress.split(":")[0] in SPARSE
    return {"compress": compress, **({"sparsity": 0.5} if needs_one else {})}


def study(*releases, **settings):
    return Study.model_validate({"name": "s", "releases": list(releases), "data": {"num_public": 100}, **settings})


def facts(release, **settings):
    made = study({"name": "r", **release}, **settings)
    return post_processing(made).get("r", ""), touches_private_data(made, made.releases[0])


@pytest.mark.parametrize("compress", WITHOUT_DATA)
def test_without_data_it_is_post_processing_of_its_parent(compress):
    assert facts({"compress": compress}) == (DENSE, False)
    assert facts({"compress": compress, "finetune": TUNED}) == ("", True)


@pytest.mark.parametrize("compress", PUBLIC)
def test_public_samples_are_data_but_not_private(compress):
    assert facts(with_degree(compress)) == ("", False)


@pytest.mark.parametrize("compress", MEMBERS)
def test_samples_of_members_are_private(compress):
    assert facts(with_degree(compress)) == ("", True)


@pytest.mark.parametrize(
    "release",
    [
        {"finetune": TUNED},
        {"finetune": TUNED, "defense": DP},
        {"parent": "init", "defense": DP},
        {"compress": "static:sparsity=0.5:start=init"},
        {"compress": "synflow:sparsity=0.5"},
        {"compress": "dpf:sparsity=0.5"},
        {"compress": "rigl:sparsity=0.5"},
        {"compress": "gradual:sparsity=0.5", "finetune": TUNED},
        {"compress": "iterative:sparsity=0.5", "finetune": TUNED},
        {"compress": "slim:sparsity=0.3", "finetune": TUNED},
        {"compress": "qat:bits=4", "finetune": TUNED},
        {"compress": "nm:pattern=2:4:sr_ste=true", "finetune": TUNED},
        {"compress": "deep-compression", "finetune": TUNED},
        {"compress": "distil:data=members", "finetune": TUNED},
        {"compress": "distil:data=members-soft", "finetune": TUNED},
        {"compress": "distil:data=mixed", "finetune": TUNED},
    ],
)
def test_training_on_members_is_private(release):
    assert facts(release) == ("", True)


def test_a_student_of_public_samples_reads_no_member():
    assert facts({"compress": "distil:data=public", "finetune": TUNED}) == ("", False)
    assert facts({"compress": "distil:data=public"}) == ("", False)


def test_the_dense_networks_read_members():
    assert touches_private_data(study(), None)


def test_scores_of_a_scoring_bank_are_private():
    assert facts({"finetune": TUNED, "defense": "wemem"})[1]


def test_nothing_is_said_of_how_a_file_of_the_owner_was_made():
    target = {"target": {"weights": "w.safetensors", "member": "m.npy"}}
    ours = {"compress": "rtn:bits=4"}
    assert facts(ours, **target) == (DENSE, False)
    assert facts(ours | {"weights": "small.safetensors"}, **target) == ("", True)


def test_chains_of_releases_lead_to_the_nearest_one_of_a_set():
    made = study(
        {"name": "tuned", "finetune": TUNED},
        {"name": "sparse", "parent": "tuned", "compress": "l1unstructured:sparsity=0.5"},
        {"name": "coded", "parent": "sparse", "compress": "rtn:bits=4"},
        {"name": "calibrated", "parent": "sparse", "compress": "gptq:bits=4"},
        {"name": "dense-coded", "compress": "rtn:bits=4"},
    )
    sources = post_processing(made)
    assert sources == {"sparse": "tuned", "coded": "sparse", "dense-coded": DENSE}
    assert source_in({"tuned"}, "coded", sources) == "tuned"
    assert source_in({"tuned", "sparse", "coded"}, "coded", sources) == "sparse"
    assert source_in({DENSE, "calibrated", "dense-coded"}, "coded", sources) == ""
    assert source_in({"coded"}, "tuned", sources) == ""  # a function goes one way only
    assert source_in(set(), "coded", sources) == ""
    assert not touches_private_data(made, release_of(made, "calibrated"))

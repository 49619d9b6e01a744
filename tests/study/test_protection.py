"""Which trainings a family's epsilon counts, and what voids it."""

import pytest

from pruneaudit.study import DENSE, Study
from pruneaudit.study.protection import ancestry, private_trainings, protected_releases, unprotected

TUNED = {"epochs": 3, "learning_rate": 0.02}
DP = "dp:noise_multiplier=1"
PARENT = {"name": "parent", "parent": "init", "defense": DP}
CHILD = {"name": "child", "parent": "parent", "finetune": TUNED, "defense": DP}


def study(*releases, **settings):
    return Study.model_validate({"name": "s", "releases": list(releases), "data": {"num_public": 100}, **settings})


def of_parent(name, **settings):
    return {"name": name, "parent": "parent", **settings}


def test_a_parent_counts_once_for_all_its_children():
    made = study(
        PARENT,
        CHILD,
        CHILD | {"name": "second", "finetune_seed": 1},
        of_parent("pruned", compress="l1unstructured:sparsity=0.5"),
        of_parent("coded", compress="gptq:bits=4"),
        of_parent("student", compress="distil:data=public", finetune=TUNED),
        of_parent("taught", compress="distil:data=members", finetune=TUNED, defense=DP),
    )
    every = tuple(release.name for release in made.releases)
    assert protected_releases(made) == every
    assert private_trainings(made, every) == ("parent", "child", "second", "taught")
    assert private_trainings(made, ("pruned", "coded", "student")) == ("parent",)
    assert private_trainings(made, reversed(every)) == private_trainings(made, every)
    assert private_trainings(made, ("taught",)) == ("parent", "taught")
    assert unprotected(made, every) == ()


def test_a_private_student_of_public_samples_adds_nothing():
    public = of_parent("student", compress="distil:data=public", finetune=TUNED, defense=DP)
    assert private_trainings(study(PARENT, public), ("student",)) == ("parent",)


def test_from_new_weights_nothing_is_inherited():
    made = study({"name": "sparse", "compress": "static:start=init", "sparsity": 0.5, "defense": DP})
    assert ancestry(made, ("sparse",)) == ("sparse",)  # though its parent is dense
    assert unprotected(made, ("sparse",)) == ()


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ({"finetune": TUNED, "defense": DP}, (DENSE, "without noise")),
        ({"compress": "rtn:bits=4"}, (DENSE, "without noise")),
        ({"compress": "distil:data=public", "finetune": TUNED}, (DENSE, "without noise")),
        ({"compress": "distil:data=members", "finetune": TUNED, "defense": DP}, (DENSE, "without noise")),
        (of_parent("bad", finetune=TUNED), ("bad", "trained on members without noise")),
        (of_parent("bad", finetune=TUNED, defense="ppb"), ("bad", "'ppb'")),
        (of_parent("bad", compress="gptq:bits=4:data=members"), ("bad", "'gptq'")),
        (of_parent("bad", compress="gptq:bits=4:data=members", finetune=TUNED, defense=DP), ("bad", "'gptq'")),
        (of_parent("bad", compress="static8:data=members"), ("bad", "'static8'")),
        (of_parent("bad", compress="svd:fraction=0.5:data=members"), ("bad", "'svd'")),
        (of_parent("bad", compress="snip:data=members", sparsity=0.5, finetune=TUNED, defense=DP), ("bad", "'snip'")),
        (of_parent("bad", compress="wanda:data=members", sparsity=0.5), ("bad", "'wanda'")),
        (of_parent("bad", compress="iterative:sparsity=0.5", finetune=TUNED), ("bad", "'iterative'")),
        (of_parent("bad", compress="deep-compression", finetune=TUNED), ("bad", "'finetune'")),
        (of_parent("bad", compress="distil:data=members-soft", finetune=TUNED), ("bad", "without noise")),
        (of_parent("bad", compress="distil:data=mixed", finetune=TUNED), ("bad", "without noise")),
        ({"parent": "init", "defense": "dp:noise_multiplier=0"}, ("bad", "noise_multiplier = 0")),
        ({"parent": "init", "defense": "wemem", "finetune": TUNED}, ("bad", "'wemem'")),
    ],
)
def test_what_voids_it_is_named(release, words):
    made = study(PARENT, {"name": "bad", **release}, of_parent("good", compress="rtn:bits=4"))
    (reason,) = unprotected(made, ("bad", "good"))
    assert all(word in reason for word in words)
    assert "bad" not in protected_releases(made)
    assert unprotected(made, ("parent", "good")) == ()


def test_a_descendant_is_void_with_its_ancestor_which_is_named():
    made = study(
        PARENT,
        of_parent("tuned", finetune=TUNED),
        {"name": "again", "parent": "tuned", "finetune": TUNED, "defense": DP},
    )
    (reason,) = unprotected(made, ("again",))
    assert "'tuned'" in reason
    assert protected_releases(made) == ("parent",)


def test_every_cause_is_named():
    made = study(PARENT, of_parent("tuned", finetune=TUNED), of_parent("coded", compress="static8:data=members"))
    found = unprotected(made, (DENSE, "coded", "tuned", "parent"))
    assert [reason.split("'")[1] for reason in found] == [DENSE, "tuned", "coded"]


def test_nothing_is_known_of_networks_that_the_owner_made():
    made = study(PARENT, target={"weights": "w.safetensors", "member": "m.npy"})
    assert unprotected(made, ("parent",)) == ()
    (reason,) = unprotected(made, (DENSE,))
    assert "your own network" in reason
    file = of_parent("shipped", compress="rtn:bits=4", weights="small.safetensors")
    made = study(PARENT, file, target={"weights": "w.safetensors", "member": "m.npy"})
    (reason,) = unprotected(made, ("shipped",))
    assert "'shipped' is your own file" in reason

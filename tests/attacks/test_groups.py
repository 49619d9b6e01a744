"""Groups of attacks."""

import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import ALL, GROUPS, SCORES, expand, skips
from pruneaudit.core.errors import UserError
from pruneaudit.study import Plugin


def labels(*names):
    return [attack.label for attack in expand([Plugin.model_validate(name) for name in names])]


def test_a_group_is_taken_apart_where_it_stands_and_nothing_comes_twice():
    assert labels("rmia", "wemem", "entropy") == ["rmia", "confidence", "entropy", "modified_entropy", "nn"]


def test_all_are_all():
    assert labels(ALL) == list(ATTACKS.names())


def test_an_attack_with_options_is_another_attack():
    assert labels("lira", "lira:mode=offline", "lira") == ["lira", "lira:mode=offline"]


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_hides_an_attack(group):
    assert group not in ATTACKS.names()


def test_scores_train_nothing():
    kinds = {name: ATTACKS.get(name) for name in labels(ALL)}
    assert not any(kinds[name].trains for name in labels(SCORES))
    left_out = set(labels(ALL)) - set(labels(SCORES))
    assert {"nn", "pair_nn", "samia", "compleak_mr", "forgetting"} <= left_out
    assert all(kinds[name].trains or "forgetting" in kinds[name].needs for name in left_out)
    assert skips([Plugin(name=SCORES)])
    assert not skips([Plugin(name="advanced"), Plugin(name="lira")])


@pytest.mark.parametrize(
    ("given", "meant"), [("score", "scores"), ("treshold", "threshold"), ("wemen", "wemem"), ("lirra", "lira")]
)
def test_the_nearest_attack_or_group_is_suggested(given, meant):
    with pytest.raises(UserError, match=rf"unknown attack '{given}' \(did you mean '{meant}'\?\)") as caught:
        labels("loss", given)
    groups = str(caught.value).partition("; or of the groups: ")[2].split(", ")
    assert sorted(groups) == sorted({ALL, SCORES, *GROUPS})

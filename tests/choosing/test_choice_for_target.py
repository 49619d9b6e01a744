"""A choice for one's own model: pseudo-victims search, the target is attacked once, with the other references."""

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, choose
from pruneaudit.choosing import bench
from pruneaudit.core.errors import UserError
from pruneaudit.data.digits import Digits
from pruneaudit.data.source import NoOptions
from pruneaudit.evaluation.limits import Limits
from pruneaudit.models import build_model
from pruneaudit.study import Study

MODEL = {"name": "mlp", "options": {"hidden": [24]}}
LIMITS = Limits(min_accuracy=0.5, max_auc=0.95)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A target that learned its members by heart, and a study of it."""
    folder = tmp_path_factory.mktemp("target")
    raw = Digits().load(NoOptions(), None)
    member = np.zeros(len(raw.y), np.int8)
    member[np.random.default_rng(0).permutation(len(raw.y))[:300]] = 1
    np.save(folder / "member.npy", member)
    x = (torch.tensor(raw.x[member == 1]).float() / 255 - raw.mean[0]) / raw.std[0]
    y = torch.tensor(raw.y[member == 1])
    network = build_model("mlp", MODEL["options"], raw.x.shape[1:], 10, torch.Generator().manual_seed(7))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    torch.save(network.state_dict(), folder / "prod.pt")
    return Study.model_validate(
        {
            "name": "mine",
            "data": {"source": "digits", "num_samples": 400},
            "model": MODEL,
            "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.02},
            "target": {
                "weights": str(folder / "prod.pt"),
                "member": str(folder / "member.npy"),
                "num_references": 9,
            },
            "choose": {"space": [{"compress": "rtn", "bits": [2, 8]}], "rungs": []},
        }
    )


@pytest.fixture(scope="module")
def watched(study, tmp_path_factory):
    """The choice, the models of each plan, and victims with their references of each attack setting."""
    plans, settings = [], []
    with pytest.MonkeyPatch.context() as patch:
        carry_out, of_bank = bench.carry_out, bench.bank_settings

        def carried(plan, *rest):
            plans.append({task.name for task in plan.tasks})
            return carry_out(plan, *rest)

        def seen(signals, *rest):
            found = of_bank(signals, *rest)
            for setting in found:
                given = setting.attack_input
                names = given.attacked.model_names
                settings.append((set(names[given.victims].tolist()), set(given.reference.model_names.tolist())))
            return found

        patch.setattr(bench, "carry_out", carried)
        patch.setattr(bench, "bank_settings", seen)
        choice = choose(study, LIMITS, tmp_path_factory.mktemp("chosen"), Runtime("serial"))
    return choice, plans, settings


def test_references_search_and_the_target_is_attacked_once(watched):
    choice, plans, settings = watched
    first, second = plans
    assert {name[-3:] for name in first} == {"001", "002", "003", "004"}
    assert {name[-3:] for name in second} == {"000", "005", "006", "007", "008", "009"}
    assert "import dense model-000" in second
    pseudo, target = {1, 2, 3, 4}, {0, 5, 6, 7, 8, 9}
    num_confirmed = len(choice.path.listed)
    assert settings[-num_confirmed:] == [({0}, target)] * num_confirmed
    assert settings[:-num_confirmed] == [(pseudo, pseudo)] * 3


def test_the_certificate_is_about_this_model(watched):
    choice, _, _ = watched
    scope = choice.certificate.scope
    assert scope.is_target
    assert (scope.num_confirm_models, scope.num_references, scope.num_search_models) == (1, 5, 4)
    assert choice.chosen is not None
    tests = [test for one in choice.certificate.judged for test in one.candidate.tests]
    assert tests and all(test.freedom is None for test in tests)  # the error over samples alone


def test_the_target_itself_is_a_candidate(watched):
    choice, _, _ = watched
    assert "dense" in choice.path.searched


def test_a_limit_out_of_reach_of_one_target_is_refused(study, tmp_path):
    with pytest.raises(UserError, match=r"one target.*data\.num_samples"):
        choose(study, Limits(max_auc=0.52), tmp_path)

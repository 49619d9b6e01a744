"""Functions that make a network: what they are given depends on their signature alone, wherever they are named."""

import functools
import sys

import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.external.makers import maker_of
from pruneaudit.models import build_model

MODULE = "factories_of_all_kinds"
SOURCE = """
from torch import nn

SEEN = []

class Net(nn.Module):
    def __init__(self, num_classes=3, width=4):
        super().__init__()
        SEEN.append({"num_classes": num_classes, "width": width})
        self.layer = nn.Linear(6, num_classes)

class Strict(Net):
    def __init__(self):
        super().__init__()

instance = Net()
SEEN.clear()

def both(input_shape, num_classes):
    assert input_shape == (6,)
    return Net(num_classes)

def classes(num_classes): return Net(num_classes)
def shape(input_shape, width=4): return Net(3, width)
def nothing(): return Net()
def passed_on(**kwargs): return Net(**kwargs)
def swallowed(**kwargs): return Net(kwargs["num_classes"], kwargs.get("width", 4))
def to_nobody(**kwargs): return Strict(**kwargs)
def mixed(num_classes, **kwargs): return Net(num_classes, **kwargs)
def slips(**kwargs): return nn.Linear(6, 3, widht=3)
def lacking(depth): return Net()
"""
TAKES_CLASSES = ["both", "classes", "passed_on", "swallowed", "mixed", "Net"]
OTHERS = ["shape", "nothing", "to_nobody", "Strict"]


@pytest.fixture
def networks(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return __import__(MODULE)


def in_a_study(name, arguments):
    options = {"target": f"{MODULE}:{name}", "arguments": arguments}
    return build_model("factory", options, (6,), 7, torch.Generator())


def in_collect(name, arguments):
    return maker_of(f"{MODULE}:{name}", arguments, (6,), 7)()


@pytest.mark.parametrize("make", [in_a_study, in_collect])
@pytest.mark.parametrize("name", [*TAKES_CLASSES, *OTHERS])
def test_every_kind_of_factory_works_everywhere(networks, make, name):
    network = make(name, {})
    assert network.layer.out_features == (7 if name in TAKES_CLASSES else 3)


@pytest.mark.parametrize("make", [in_a_study, in_collect])
@pytest.mark.parametrize("name", ["shape", "passed_on", "swallowed", "mixed", "Net"])
def test_options_reach_it(networks, make, name):
    make(name, {"width": 9})
    assert networks.SEEN[-1]["width"] == 9


@pytest.mark.parametrize("make", [in_a_study, in_collect])
def test_an_option_goes_before_what_is_offered(networks, make):
    assert make("both", {"num_classes": 2}).layer.out_features == 2


def test_function_objects_and_partial_ones(networks):
    assert maker_of(functools.partial(networks.both, num_classes=2), {}, (6,), 7)().layer.out_features == 7
    assert maker_of(networks.Net, {}, (6,), 7)().layer.out_features == 7
    assert maker_of(lambda: networks.Net(5), {}, None, None)().layer.out_features == 5


@pytest.mark.parametrize("make", [in_a_study, in_collect])
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("lacking", {}, ["'depth'", "depth=VALUE"]),
        ("nothing", {"width": 3}, ["'width'", "takes no arguments"]),
        ("shape", {"widht": 3}, ["widht", "did you mean 'width'"]),
        ("instance", {}, ["got a network", "class"]),
    ],
)
def test_what_a_factory_does_not_take(networks, make, name, arguments, words):
    with pytest.raises(UserError) as caught:
        make(name, arguments)
    for word in words:
        assert word.replace(" ", "") in str(caught.value).replace(" ", "")


def test_a_slip_behind_kwargs_is_not_hidden(networks):
    with pytest.raises(TypeError, match="widht"):
        in_a_study("slips", {})
    with pytest.raises(UserError, match="widht"):
        in_collect("slips", {})


def test_a_network_drawn_after_a_refused_argument_is_the_same_each_time(networks):
    first, second = (in_a_study("to_nobody", {}).layer.weight for _ in range(2))
    assert torch.equal(first, second)
    assert isinstance(first, nn.Parameter)


def test_weights_are_those_of_torchs_generator_and_those_of_gpus_stay(networks, monkeypatch):
    """Without a GPU: torch keeps nothing to seed one with, once there is one."""
    seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(5)))
    torch.manual_seed(seed)
    expected = networks.nothing().state_dict()
    monkeypatch.setattr(torch.cuda, "_lazy_seed_tracker", type(torch.cuda._lazy_seed_tracker)())
    before = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    found = build_model("factory", {"target": f"{MODULE}:nothing"}, (6,), 3, torch.Generator().manual_seed(5))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    after = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not torch.cuda._lazy_seed_tracker.get_calls()

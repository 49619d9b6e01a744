"""What users' networks keep, against gradients at the public weights that they were trained from."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

import pruneaudit
from pruneaudit import Queries, collect_signals
from pruneaudit.cli import main
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STRUCTURE_FILE
from pruneaudit.signals.signals import Signals

# M models, N samples


@pytest.fixture
def public(bank, tmp_path):
    """The public parent's file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(40)
        network = bank.networks.build()
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, tmp_path / "public.pt")
    return tmp_path / "public.pt"


@pytest.fixture
def pruned(bank, tmp_path):
    """The bank's networks with the smaller half of their weights set to zero."""
    folder = tmp_path / "pruned"
    folder.mkdir()
    for name in bank.names:
        weights = load_file(bank.folder / f"{name}.safetensors")
        kept = {key: value.abs() > value.abs().median() for key, value in weights.items() if value.ndim > 1}
        save_file({key: value * kept.get(key, 1) for key, value in weights.items()}, folder / f"{name}.safetensors")
    return folder


def expected(bank, public, folder, name, num_samples=5):
    """By single gradients, of the first samples."""
    start = bank.networks.build().eval()
    start.load_state_dict(torch.load(public, weights_only=True)["state_dict"])
    masks = {key: value != 0 for key, value in load_file(folder / f"{name}.safetensors").items() if value.ndim > 1}
    x, y = (torch.from_numpy(bank.x) / 255 - 0.5) / 0.25, torch.from_numpy(bank.y)
    found = []
    for n in range(num_samples):
        loss = cross_entropy(start(x[n : n + 1]), y[n : n + 1])
        gradients = torch.autograd.grad(loss, [start.get_parameter(key) for key in masks])
        parts = [
            (-g * start.get_parameter(key).detach().sign() * (mask.float() - mask.float().mean())).sum()
            for (key, mask), g in zip(masks.items(), gradients, strict=True)
        ]
        found.append(float(sum(parts)))
    return found


@pytest.mark.parametrize("network", ["build", "Wrapped"])
def test_each_network_is_compared_with_the_start(bank, public, pruned, tmp_path, network):
    queries = Queries(start=public)
    given = bank.given | {"weights": pruned, "queries": queries, "factory": f"{bank.networks.__name__}:{network}"}
    signals = collect_signals(**given)
    assert signals.start_saliency.shape == (len(bank.names), len(bank.y)) and signals.structure is not None
    for row, name in enumerate(bank.names):
        np.testing.assert_allclose(
            signals.start_saliency[row, :5], expected(bank, public, pruned, name), rtol=1e-3, atol=1e-4
        )
    signals.save(tmp_path / "signals.npz")
    audit = pruneaudit.audit(Signals.load(tmp_path / "signals.npz"), attacks=("mask_saliency",))
    assert set(audit.findings["attack"]) == {"mask_saliency"}


def test_probabilities_are_differentiated_as_their_logarithms(bank, public, pruned):
    given = bank.given | {"weights": pruned, "queries": Queries(start=public)}
    plain = collect_signals(**given).start_saliency
    softmax = collect_signals(**given | {"factory": f"{bank.networks.__name__}:Softmax"}).start_saliency
    np.testing.assert_allclose(softmax, plain, rtol=1e-2, atol=1e-3)


def test_dense_networks_say_nothing_of_a_start(bank, public):
    with pytest.warns(UserWarning, match="no key `structure`"):
        signals = collect_signals(**bank.given | {"queries": Queries(start=public)})
    assert signals.start_saliency is None


def test_channels_count_as_their_weights(bank, public, tmp_path):
    folder = tmp_path / "smaller"
    folder.mkdir()
    for name in bank.names:
        network = bank.networks.build()
        network.load_state_dict(load_file(bank.folder / f"{name}.safetensors"))
        small = pruneaudit.compress(network, "l1structured:target=channels", 0.5, example=torch.zeros(1, 1, 6, 6))
        small.save(folder / name)
    signals = collect_signals(**bank.given | {"weights": folder, "queries": Queries(start=public)})
    assert np.abs(signals.start_saliency).min(axis=1).max() > 0
    assert np.ptp(signals.start_saliency, axis=0).max() > 1e-3  # networks keep different channels


def test_files_that_do_not_fit_are_refused_in_one_line(bank, public, pruned, tmp_path):
    given = bank.given | {"weights": pruned}
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pt")
    (tmp_path / f"public.pt.{STRUCTURE_FILE}").write_text("{}")
    for start, word in (("other.pt", "head.weight"), ("missing.pt", "missing.pt"), ("public.pt", STRUCTURE_FILE)):
        with pytest.raises(UserError, match=word) as refused:
            collect_signals(**given | {"queries": Queries(start=tmp_path / start)})
        assert "\n" not in str(refused.value)


def test_on_the_command_line(bank, public, pruned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("member.npz", member=bank.member)
    np.savez("samples.npz", x=bank.x, y=bank.y)
    line = ["collect", "--factory", bank.given["factory"], "--membership", "member.npz", "--data", "npz:samples.npz"]
    line += ["--mean", "0.5", "--std", "0.25", "--quiet", "--weights", str(pruned), "--start", str(public)]
    with pytest.raises(SystemExit) as end:
        main(line)
    assert not end.value.code, capsys.readouterr().err
    assert Signals.load(tmp_path / "signals.npz").start_saliency.shape == bank.member.shape

"""What users' networks keep becomes the bits that `mask_filter` attacks."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import pruneaudit
from pruneaudit import Queries, collect_signals
from pruneaudit.cli import main
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.results import Results
from pruneaudit.external.kept import NO_STRUCTURE
from pruneaudit.signals.signals import Signals

# M models, D bits


@pytest.fixture
def pruned(bank, tmp_path):
    """The bank's networks with the smaller half of their weights set to zero: folder, and masks by name."""
    folder, masks = tmp_path / "pruned", {}
    folder.mkdir()
    for name in bank.names:
        weights = load_file(bank.folder / f"{name}.safetensors")
        kept = {key: value.abs() > value.abs().median() for key, value in weights.items() if value.ndim > 1}
        save_file({key: value * kept.get(key, 1) for key, value in weights.items()}, folder / f"{name}.safetensors")
        masks[name] = kept
    return folder, masks


def expected(masks):
    rows = [torch.cat([kept[key].flatten() for key in sorted(kept)]).numpy() for kept in masks.values()]
    return np.stack(rows)


def test_zeros_of_the_weights_are_what_is_removed(bank, pruned, tmp_path):
    folder, masks = pruned
    signals = collect_signals(**bank.given | {"weights": folder, "queries": Queries(structure=True)})
    np.testing.assert_array_equal(np.asarray(signals.structure), expected(masks))
    signals.save(tmp_path / "signals.npz")
    audit = pruneaudit.audit(Signals.load(tmp_path / "signals.npz"), attacks=("mask_filter",))
    assert set(audit.findings["attack"]) == {"mask_filter"}
    assert collect_signals(**bank.given | {"weights": folder}).structure is None


@pytest.mark.parametrize("ending", ["", "_mask"])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_masks_that_are_given_go_before_zeros(bank, pruned, tmp_path, ending, suffix):
    folder, masks = pruned
    (tmp_path / "masks").mkdir()
    for name, kept in masks.items():
        named = {f"{key}{ending}": (~mask).float() for key, mask in kept.items()}
        file = tmp_path / "masks" / f"{name}.{suffix}"
        save_file(named, file) if suffix == "safetensors" else torch.save(named, file)
    queries = Queries(masks=[tmp_path / "masks" / f"*.{suffix}"])
    signals = collect_signals(**bank.given | {"weights": folder, "queries": queries})
    np.testing.assert_array_equal(np.asarray(signals.structure), ~expected(masks))


def test_masks_beside_weights_go_before_zeros(bank, pruned):
    folder, masks = pruned
    for name, kept in masks.items():
        save_file({key: ~mask for key, mask in kept.items()}, folder / f"{name}.safetensors.mask.safetensors")
    signals = collect_signals(**bank.given | {"weights": folder, "queries": Queries(structure=True)})
    np.testing.assert_array_equal(np.asarray(signals.structure), ~expected(masks))


def test_channels_that_compress_removed(bank, tmp_path):
    build, folder = bank.networks.build, tmp_path / "smaller"
    folder.mkdir()
    for name in bank.names:
        network = build()
        network.load_state_dict(load_file(bank.folder / f"{name}.safetensors"))
        small = pruneaudit.compress(network, "l1structured:target=channels", 0.5, example=torch.zeros(1, 1, 6, 6))
        small.save(folder / name)
    signals = collect_signals(**bank.given | {"weights": folder, "queries": Queries(structure=True)})
    kept = np.asarray(signals.structure)
    assert kept.shape == (len(bank.names), 4)  # the convolution's channels; the classes stay
    assert (kept.sum(axis=1) == 2).all()
    for row, name in zip(kept, bank.names, strict=True):
        norms = load_file(bank.folder / f"{name}.safetensors")["conv.weight"].abs().sum(dim=(1, 2, 3))
        assert sorted(np.flatnonzero(row)) == sorted(norms.argsort()[2:].tolist())


def test_dense_networks_have_no_structure_and_it_is_said(bank):
    with pytest.warns(UserWarning, match="no key `structure`"):
        signals = collect_signals(**bank.given | {"queries": Queries(structure=True)})
    assert signals.structure is None
    assert "\n" not in NO_STRUCTURE


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "net-6.safetensors").unlink(), ["5 files", "6 models"]),
        (lambda folder: save_file({"conv.weight": torch.ones(2)}, folder / "net-7.safetensors"), ["net-7", "(2,)"]),
        (lambda folder: save_file({"body": torch.ones(2)}, folder / "net-7.safetensors"), ["body", "conv.weight"]),
        (
            lambda folder: save_file({"conv.weight": torch.full((4, 1, 3, 3), 2.0)}, folder / "net-8.safetensors"),
            ["net-8", "0 and 1"],
        ),
        (lambda folder: shutil.rmtree(folder), ["no such file"]),
    ],
)
def test_masks_that_do_not_fit_are_refused_in_one_line(bank, pruned, tmp_path, spoil, words):
    folder, masks = pruned
    given = tmp_path / "masks"
    given.mkdir()
    for name, kept in masks.items():
        save_file(kept, given / f"{name}.safetensors")
    spoil(given)
    with pytest.raises(UserError) as refused:
        collect_signals(**bank.given | {"weights": folder, "queries": Queries(masks=[f"{given}/*.safetensors"])})
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_on_the_command_line_for_several_releases(bank, pruned, tmp_path, monkeypatch, capsys):
    folder, masks = pruned
    monkeypatch.chdir(tmp_path)
    np.savez("member.npz", member=bank.member)
    np.savez("samples.npz", x=bank.x, y=bank.y)
    line = ["collect", "--factory", bank.given["factory"], "--membership", "member.npz", "--data", "npz:samples.npz"]
    line += ["--mean", "0.5", "--std", "0.25", "--quiet", "--weights", f"dense={bank.folder}"]
    line += ["--weights", f"pruned={folder}", "--structure", "--out", "bank"]
    with pytest.raises(SystemExit) as end:
        main(line)
    assert not end.value.code
    assert "dense: structure" in capsys.readouterr().err
    found = {name: Signals.load(tmp_path / "bank" / f"{name}.npz").structure for name in ("dense", "pruned")}
    assert found["dense"] is None
    np.testing.assert_array_equal(np.asarray(found["pruned"]), expected(masks))
    with pytest.raises(SystemExit):
        main([*line[:-2], "--out", "other", "--masks", "sparse=masks/*"])
    assert "sparse" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["audit", "bank", "--attacks", "mask_filter,loss", "--out", "audited"])
    assert not end.value.code, capsys.readouterr().err
    findings = Results.load(tmp_path / "audited").findings
    assert set(findings.query("attack == 'mask_filter'")["release"]) == {"pruned"}
    assert set(findings.query("attack == 'loss'")["release"]) == {"dense", "pruned"}

"""From checkpoints to signals: what is asked, of whom, in which order, and what is refused."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import pruneaudit
from pruneaudit import collect_signals
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import Here
from pruneaudit.data.source import RawData
from pruneaudit.external.asked import NetworkOptions, Queries
from pruneaudit.external.collect import Collected, collect

# M models, N samples, C classes, Q queries


def quietly(**given: Any) -> Collected:
    """What is collected, without the warnings that are not what a test is about."""
    return collect(**{"options": NetworkOptions(), "queries": Queries(), "runtime": Here()} | given)


def refused(bank, *words: str, **changes: Any) -> str:
    """The one line with which the bank is refused once some arguments are changed."""
    with pytest.raises(UserError) as caught:
        collect_signals(**bank.given | changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def test_signals_are_what_the_networks_say(bank):
    signals = collect_signals(**bank.given)
    np.testing.assert_allclose(signals.logits, bank.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(signals.member, bank.member)
    np.testing.assert_array_equal(signals.labels, bank.y)
    assert signals.model_names.tolist() == bank.names  # net-10 stands after net-9
    assert signals.confidence is None


def test_an_overfit_bank_is_found_out(bank):
    audit = pruneaudit.audit(collect_signals(**bank.given), attacks=("loss", "lira", "rmia"))
    means = audit.findings[audit.findings["victim"] == "mean"]
    assert (means["auc_low"] > 0.55).all()


def test_checkpoints_of_all_kinds_say_the_same(bank, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    for row, name in enumerate(bank.names):
        weights = load_file(bank.folder / f"{name}.safetensors")
        kinds = [
            weights,
            {"state_dict": weights, "epoch": 3},
            {"model": {f"module.{key}": value for key, value in weights.items()}, "loss": 0.5},
            {f"module._orig_mod.{key}": value for key, value in weights.items()},
        ]
        torch.save(kinds[row % 4], folder / f"{name}{'.pt' if row % 2 else '.pth'}")
    found, expected = collect_signals(**bank.given | {"weights": folder}), collect_signals(**bank.given)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert found.model_names.tolist() == bank.names


@pytest.mark.parametrize("kind", ["Wrapped", "Pair"])
def test_a_dict_with_logits_and_a_clear_tuple_are_taken(bank, kind):
    found = collect_signals(**bank.given | {"factory": getattr(bank.networks, kind)})
    np.testing.assert_array_equal(found.logits, collect_signals(**bank.given).logits)


def test_the_network_says_how_many_classes_there_are_where_the_data_do_not(bank, tmp_path):
    few = bank.y < 2
    np.savez(tmp_path / "few.npz", x=bank.x[few], y=bank.y[few])
    changes = {"data": f"npz:{tmp_path / 'few.npz'}", "membership": bank.member[:, few]}
    found = quietly(**bank.given | changes).signals
    assert found.num_classes == 3
    np.savez(tmp_path / "named.npz", x=bank.x[few], y=bank.y[few], classes=["a", "b", "c"])
    assert quietly(**bank.given | changes | {"data": f"npz:{tmp_path / 'named.npz'}"}).signals
    np.savez(tmp_path / "other.npz", x=bank.x[few], y=bank.y[few], classes=["a", "b"])
    refused(bank, "3)", "2 classes", **changes | {"data": f"npz:{tmp_path / 'other.npz'}"})


@pytest.mark.parametrize(("kind", "words"), [("Twice", ("tuple of 2",)), ("Random", ("evaluation mode", "F.dropout"))])
def test_what_cannot_be_taken_is_refused_by_name(bank, kind, words):
    refused(bank, "net-6", *words, factory=getattr(bank.networks, kind))


def test_how_samples_are_fed_is_told(bank):
    for changes, words in (
        ({}, ("npz", "0.5", "0.25", "assumed")),
        ({"options": NetworkOptions(mean=[0.25], std=[0.5])}, ("mean 0.25", "as given")),
    ):
        fed_as = quietly(**bank.given | changes).fed_as
        assert [word for word in words if word not in fed_as] == []


def test_rows_follow_model_ids(bank):
    order = np.array([3, 0, 5, 1, 4, 2])
    membership = {"member": bank.member[order], "model_ids": np.array(bank.names)[order], "group": order % 2}
    found = collect_signals(**bank.given | {"membership": membership})
    np.testing.assert_array_equal(found.member, bank.member)
    np.testing.assert_array_equal(found.group, np.arange(6) % 2)
    few = [bank.folder / f"{bank.names[row]}.safetensors" for row in (4, 1)]
    found = quietly(**bank.given | {"membership": membership, "weights": few}).signals
    np.testing.assert_array_equal(found.member, bank.member[[4, 1]])
    assert found.model_names.tolist() == [bank.names[4], bank.names[1]]


def test_files_of_one_name_are_told_apart_by_their_folders(bank, tmp_path):
    for name in bank.names:
        (tmp_path / "runs" / name).mkdir(parents=True)
        shutil.copy(bank.folder / f"{name}.safetensors", tmp_path / "runs" / name / "model.safetensors")
    pattern = str(tmp_path / "runs" / "*" / "model.safetensors")
    found = collect_signals(**bank.given | {"weights": pattern})
    assert found.model_names.tolist() == bank.names
    membership = {"member": bank.member[::-1], "model_ids": [f"{name}/model" for name in bank.names[::-1]]}
    again = collect_signals(**bank.given | {"weights": pattern, "membership": membership})
    np.testing.assert_array_equal(again.member, bank.member)


def test_what_else_is_known_of_membership_is_kept(bank):
    eligible = np.ones(bank.member.shape, dtype=bool)
    eligible[:, :20] = False
    member = bank.member & eligible
    more = {
        "is_victim": np.arange(6) < 4,
        "canary": np.arange(120) > 110,
        "ids": np.array([f"s{n}" for n in range(120)]),
    }
    membership = {"member": member, "eligible": eligible, **more}
    found = collect_signals(**bank.given | {"membership": membership})
    for key, value in membership.items():
        np.testing.assert_array_equal(getattr(found, key), value)
    assert found.untouched_holdout.sum() == 20


@pytest.mark.parametrize("function", ["sized", "anything"])
def test_a_factory_is_given_what_its_signature_names(bank, function):
    weights = bank.folder / "net-6.safetensors"
    given = bank.given | {"weights": weights, "membership": bank.member[:1]} | {"options": NetworkOptions({"width": 4})}
    for factory in (f"collecting_networks:{function}", getattr(bank.networks, function)):
        found = collect_signals(**given | {"factory": factory})
        np.testing.assert_allclose(found.logits[0], bank.logits[0], rtol=1e-4, atol=1e-4)


def test_images_are_normalised_as_they_were_in_training(bank):
    network = bank.networks.build()
    network.load_state_dict(load_file(bank.folder / "net-6.safetensors"))
    x = torch.from_numpy(bank.x)
    given = bank.given | {"weights": bank.folder / "net-6.safetensors", "membership": bank.member[0]}
    with torch.no_grad():
        expected = network.eval()((x / 255 - 0.1) / 0.3).numpy()
    options = NetworkOptions(mean=[0.1], std=[0.3])
    found = quietly(**given, options=options).signals.logits[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    as_floats = RawData(((x / 255 - 0.1) / 0.3).numpy(), bank.y, ("a", "b", "c"))
    found = quietly(**given | {"data": as_floats}).signals.logits[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    refused(bank, "mean", "float data", data=as_floats, options=options)
    refused(bank, "mean", "std", options=NetworkOptions(mean=[0.1]))
    refused(bank, "mean", "each of 1 channels", options=NetworkOptions(mean=[0.1, 0.2], std=[0.3, 0.3]))


def test_queries_and_sensitivity(bank):
    few = [bank.folder / f"{name}.safetensors" for name in bank.names[:2]]
    given = bank.given | {"membership": bank.member[:2], "weights": few}
    with pytest.warns(UserWarning, match=r"\d+ of 120 samples are members of every or of no model"):
        found = collect_signals(**given, queries=Queries(3, sensitivity=True, seed=1))
    assert found.confidence.shape == found.correct.shape == (2, 120, 3)
    np.testing.assert_allclose(found.confidence[..., 0], collect_plain(found), rtol=1e-4, atol=1e-4)
    assert (found.confidence[..., 1] != found.confidence[..., 0]).any()
    assert found.sensitivity.shape == found.logits.shape
    # A model's answers do not depend on who is asked beside it.
    given |= {"weights": few[1], "membership": bank.member[1]}
    alone = collect_signals(**given, queries=Queries(3, sensitivity=True, seed=1))
    np.testing.assert_array_equal(alone.confidence[0], found.confidence[1])
    np.testing.assert_array_equal(alone.sensitivity[0], found.sensitivity[1])


def collect_plain(signals):
    """The scaled confidence (M, N) of the plain query, from the logits."""
    rows = np.arange(signals.num_samples)
    chances = np.exp(signals.logits.astype(np.float64))
    true = chances[:, rows, signals.labels]
    return np.log(true / (chances.sum(axis=2) - true))


def test_random_state_stays_as_it_was(bank):
    before = torch.get_rng_state()
    collect_signals(**bank.given)
    assert torch.equal(torch.get_rng_state(), before)


def test_models_with_one_training_set_are_refused_and_one_of_them_is_not(bank):
    same = {"member": np.repeat(bank.member[:1], 6, axis=0)}
    message = refused(bank, "same samples", "OUT model", "confidence", "loss", membership=same)
    assert "lira" not in message and "attack_p" not in message
    refused(bank, "same samples", membership=bank.member[0])
    one = message.split("--weights ")[1].strip("'")
    signals = collect_signals(**bank.given | {"membership": same, "weights": one})
    assert signals.num_models == 1
    with pytest.warns(UserWarning, match="left out"):
        findings = pruneaudit.audit(signals, attacks="scores").findings
    assert set(findings["attack"]) <= set(message.replace(";", ",").replace(":", ",").split(", ")) | {"confidence"}


@pytest.mark.parametrize("num_holdout", [364, 365])
def test_a_half_of_200_lets_attack_p_work_on_one_model(bank, tmp_path, num_holdout):
    noise = np.random.default_rng(0).integers(0, 256, (num_holdout, *bank.x.shape[1:])).astype(bank.x.dtype)
    labels = np.concatenate([np.arange(num_holdout) % 3, bank.y])
    np.savez(tmp_path / "more.npz", x=np.concatenate([noise, bank.x]), y=labels)
    row = np.concatenate([np.zeros(num_holdout, dtype=bool), bank.member[0]])
    membership = {"member": row, "eligible": np.arange(len(row)) >= num_holdout}
    message = refused(bank, "loss", membership=membership, data=f"npz:{tmp_path / 'more.npz'}")
    assert ("attack_p" in message) == (num_holdout >= 365)


def test_features_of_the_inputs_are_collected_where_half_a_can_fit_them(bank, tmp_path):
    num_holdout = 430
    noise = np.random.default_rng(0).integers(0, 256, (num_holdout, *bank.x.shape[1:])).astype(bank.x.dtype)
    labels = np.concatenate([np.arange(num_holdout) % 3, bank.y])
    np.savez(tmp_path / "more.npz", x=np.concatenate([noise, bank.x]), y=labels)
    member = np.hstack([np.zeros((len(bank.member), num_holdout), dtype=bool), bank.member])
    given = {"member": member, "eligible": np.broadcast_to(np.arange(len(labels)) >= num_holdout, member.shape)}
    signals = quietly(**bank.given | {"membership": given, "data": f"npz:{tmp_path / 'more.npz'}"}).signals
    assert signals.features.shape == (len(labels), 30)
    np.testing.assert_allclose(signals.features[signals.fitting].std(axis=0), 1, atol=1e-3)
    assert quietly(**bank.given).signals.features is None


def test_a_holdout_is_what_the_user_says_it_is(bank):
    eligible = np.broadcast_to(np.arange(120) >= 30, bank.member.shape)
    given = {"member": bank.member & eligible, "eligible": eligible, "holdout": np.arange(120) < 20}
    signals = quietly(**bank.given | {"membership": given}).signals
    assert np.flatnonzero(signals.untouched_holdout).tolist() == list(range(20))  # not 10 for calibration
    assert signals.unseen.sum() == 30
    wrong = given | {"holdout": np.arange(120) < 31}
    refused(bank, "holdout", "sample 30", "eligible", membership=wrong)


def test_membership_in_a_wrong_order_is_noticed(bank):
    with pytest.warns(UserWarning, match="not clearly classified better"):
        collect_signals(**bank.given | {"membership": np.roll(bank.member, 7, axis=1)})


def test_a_copy_of_a_model_is_refused(bank, tmp_path):
    shutil.copy(bank.folder / "net-7.safetensors", tmp_path / "best.safetensors")
    weights = [bank.given["weights"], tmp_path / "best.safetensors"]
    membership = np.vstack([bank.member, bank.member[1:2]])
    refused(bank, "net-7", "best", "same answers", weights=weights, membership=membership)


@pytest.mark.parametrize(
    ("factory", "options", "words"),
    [
        ("no_colon", {}, ["no_colon", "package.module:function"]),
        ("absent_module_of_nobody:build", {}, ["absent_module_of_nobody"]),
        ("collecting_networks:bild", {}, ["no function 'bild'"]),
        ("collecting_networks:seven", {}, ["[7, 144]", "[3, 144]", "does not fit"]),
        ("collecting_networks:none", {}, ["NoneType", "torch.nn.Module"]),
        ("collecting_networks:broken", {}, ["ZeroDivisionError", "division by zero"]),
        ("collecting_networks:lacking", {}, ["'width'", "--factory-option width=VALUE"]),
        ("collecting_networks:sized", {"widht": 4}, ["widht", "did you mean 'width'"]),
        ("collecting_networks:build", {"width": 4}, ["width", "takes no arguments"]),
        ("collecting_networks:sized", {"width": 5}, ["net-6.safetensors", "does not fit"]),
        ("collecting_networks:Percent", {}, ["net-6", "100"]),
    ],
)
def test_wrong_factories(bank, factory, options, words):
    refused(bank, *words, factory=factory, options=NetworkOptions(options))


def test_a_module_that_cannot_be_imported(bank, tmp_path, monkeypatch):
    (tmp_path / "module_with_a_slip.py").write_text("def build(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    refused(bank, "module_with_a_slip", "SyntaxError", factory="module_with_a_slip:build")


def test_outputs_of_another_width_than_the_data_has_classes(bank, tmp_path):
    save_file(bank.networks.seven().state_dict(), tmp_path / "seven.safetensors")
    given = {"factory": "collecting_networks:seven", "weights": tmp_path / "seven.safetensors"}
    np.savez(tmp_path / "named.npz", x=bank.x, y=bank.y, classes=["a", "b", "c"])
    given |= {"data": f"npz:{tmp_path / 'named.npz'}", "membership": bank.member[0]}
    refused(bank, "seven", "(4, 7)", "(4, 3)", "3 classes", **given)


def test_networks_that_end_in_a_softmax(bank):
    softmax = bank.given | {"factory": "collecting_networks:Softmax"}
    found, expected = collect_signals(**softmax), collect_signals(**bank.given)
    assert found.logits is None
    np.testing.assert_allclose(found.probabilities.sum(axis=2), 1, atol=1e-5)
    near = np.abs(expected.phi) < 8  # beyond, float32 says less of a probability than of a logit
    assert near.mean() > 0.5
    np.testing.assert_allclose(found.phi[near], expected.phi[near], atol=0.01)
    few = [bank.folder / f"{name}.safetensors" for name in bank.names[:2]]
    more = {"weights": few, "membership": bank.member[:2], "queries": Queries(2, sensitivity=True)}
    found, expected = quietly(**softmax | more).signals, quietly(**bank.given | more).signals
    near = np.abs(expected.phi) < 8
    np.testing.assert_allclose(found.phi[near], expected.phi[near], atol=0.01)
    np.testing.assert_array_equal(found.correct, expected.correct)
    np.testing.assert_allclose(found.sensitivity, expected.sensitivity, atol=0.01)


@pytest.mark.parametrize("factory", ["Single", "Sigmoid"])
def test_networks_with_one_output_for_two_classes(bank, tmp_path, factory):
    rng = np.random.default_rng(0)
    for row in range(4):
        torch.manual_seed(row)
        save_file(bank.networks.Single().state_dict(), tmp_path / f"one-{row}.safetensors")
    data = RawData(bank.x, rng.integers(2, size=120), ("no", "yes"), (0.5,), (0.25,))
    given = {"weights": tmp_path, "membership": bank.member[:4], "data": data}
    found = quietly(factory=f"collecting_networks:{factory}", **given).signals
    alone = bank.networks.Single()
    alone.load_state_dict(load_file(tmp_path / "one-2.safetensors"))
    z = bank.answers(alone, bank.x)[:, 0]
    np.testing.assert_allclose(found.phi[2, :, 0], np.where(data.y, z, -z), atol=1e-2)
    assert (found.probabilities is None) == (factory == "Single")
    if factory == "Single":
        np.testing.assert_array_equal(found.logits[..., 0], 0)
    else:
        np.testing.assert_allclose(found.probabilities.sum(axis=2), 1, atol=1e-6)


def test_inputs_that_the_network_does_not_take(bank):
    x = np.random.default_rng(0).random((120, 5), np.float32)
    refused(bank, "net-6", "RuntimeError", "(4, 5)", data=RawData(x, bank.y, ("a", "b", "c")))
    refused(bank, "queries", "table", data=RawData(x, bank.y, ("a", "b", "c")), queries=Queries(2))


def test_a_model_that_answers_nan_is_named(bank, tmp_path):
    weights = load_file(bank.folder / "net-6.safetensors")
    weights["head.bias"][1] = torch.nan
    save_file(weights, tmp_path / "net-12.safetensors")
    files = [bank.given["weights"], tmp_path / "net-12.safetensors"]
    member = np.vstack([bank.member, ~bank.member[:1]])
    refused(bank, "net-12", "'head.bias'", "NaN", "1 of 3", weights=files, membership=member)


def test_other_mistakes(bank):
    with pytest.raises(UserError, match="queries: got 0"):
        Queries(0)
    refused(bank, "unknown data source", data="cifar")
    refused(bank, "absent.npz", data="npz:absent.npz")
    refused(bank, "device", "meta9", runtime=Here("meta9"))

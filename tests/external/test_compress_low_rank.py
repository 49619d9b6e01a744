"""`pruneaudit.compress` of users' networks with low rank, N:M patterns and Deep Compression."""

import json

import pytest
import torch
from torch import nn

import pruneaudit
from command_line import called
from pruneaudit.compression.state import restored
from pruneaudit.core.errors import UserError
from pruneaudit.external.filling import filled

METHODS = {
    "svd": "svd:fraction=0.5:split_ends=true",
    "energy": "svd:fraction=0.6:by=energy:split_ends=true",
    "nm": "nm:pattern=2:4",
    "moving": "nm:pattern=2:4:sr_ste=true",
    "svd, nm, kmeans": ["svd:fraction=0.7:split_ends=true", "nm:pattern=1:2", "kmeans:clusters=4"],
    "deep": "deep-compression:sparsity=0.6:clusters=4",
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Sequential(nn.Linear(16, 12), nn.ReLU()), nn.Linear(12, 4))


def samples():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 12, generator=generator), torch.randint(4, (40,), generator=generator)


@pytest.mark.parametrize("is_tuned", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_it_is_saved_and_comes_back_as_it_was(name, is_tuned, tmp_path):
    data = samples()
    tuning = pruneaudit.FineTuning(data, epochs=2, learning_rate=0.02) if is_tuned else None
    if name in ("moving", "deep") and not is_tuned:
        with pytest.raises(UserError, match=r"works during training, but there is no training; give finetuning="):
            pruneaudit.compress(network(), METHODS[name])
        return
    made = pruneaudit.compress(network(), METHODS[name], finetuning=tuning)
    again = pruneaudit.load_compressed(network, made.save(tmp_path / "made"))
    for key, weight in restored(again.state).items():
        assert torch.equal(made.model.get_parameter(key), weight)
        assert torch.equal(again.model.get_parameter(key), weight)
    assert torch.equal(again.model(data[0]), made.model(data[0]))
    summary = json.loads((tmp_path / "made" / "summary.json").read_text())
    assert summary["after"]["compressed_bytes"] < summary["before"]["compressed_bytes"]
    assert summary["after"]["macs"] <= summary["before"]["macs"]
    assert 0 < made.sparsity < 1
    assert [layer["name"] for layer in summary["left_whole"]] == []


def test_calibration_steers_low_rank():
    x, _ = samples()
    x[:, 6:] *= 0.01
    model, errors = network(), []
    for method in ("svd:fraction=0.5", "svd:fraction=0.5:data=public"):
        made = pruneaudit.compress(model, method, calibration=x if "public" in method else None)
        with torch.no_grad():
            errors.append(float((made.model[0](x) - model[0](x)).norm()))
    assert errors[1] < errors[0]
    with pytest.raises(UserError, match="calibration"):
        pruneaudit.compress(model, "svd:fraction=0.5:data=public")


def test_its_folder_is_read_as_a_checkpoint_but_not_compressed_again(tmp_path, monkeypatch):
    (tmp_path / "deeper.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deeper

    made = pruneaudit.compress(deeper.build(), ["svd:fraction=0.6", "rtn:bits=4"])
    made.save(tmp_path / "made")
    x, _ = samples()
    assert torch.equal(filled(deeper.build(), tmp_path / "made" / "model.safetensors")(x), made.model(x))
    common = ["compress", "--factory", "deeper:build", "--weights", tmp_path / "made"]
    code, _, err = called(*common, "--method", "rtn:bits=4", "--out", tmp_path / "again")
    assert code == 2
    assert "layers of low rank" in err


def test_the_command_says_which_layers_stay_whole(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import nets

    torch.save(nets.build().state_dict(), tmp_path / "w.pt")
    common = ["compress", "--factory", "nets:build", "--weights", tmp_path / "w.pt"]
    code, out, err = called(*common, "--method", "nm:pattern=2:4", "--out", tmp_path / "a")
    assert code == 0
    assert "left whole: 0 (160 weights)" in out
    assert "kept whole: 0: the number of inputs, 10, is no multiple of 4" in err
    code, out, err = called(*common, "--method", "svd:fraction=0.5:split_ends=true", "--out", tmp_path / "b")
    assert code == 0
    assert "kept whole: 4: rank 0 is not below 0.75" in err
    code, _, err = called(*common, "--method", "svd:fraction=0.2", "--out", tmp_path / "c")
    assert code == 2
    assert "layer '2' (3, 16)" in err
    code, _, err = called(*common, "--method", "deep-compression", "--out", tmp_path / "c")
    assert code == 2
    assert "--data and --epochs" in err


def test_a_chain_s_name_is_listed_and_its_options_are_checked():
    code, out, _ = called("list", "compressors")
    assert code == 0
    assert {"deep-compression", "finetune", "nm", "svd"} <= {line.split()[0] for line in out.splitlines()}
    with pytest.raises(UserError, match=r"'deep-compression': unknown option 'cluster' \(did you mean 'clusters'"):
        pruneaudit.compress(network(), "deep-compression:cluster=3")

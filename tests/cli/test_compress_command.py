"""`pruneaudit compress` as a user meets it: a checkpoint in, a folder out, or one line of refusal."""

import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import pruneaudit

# N samples, C classes

NETWORK = """
from torch import nn

def build(num_classes=3, width=12):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes),
    )

def sized(num_classes):
    return build(num_classes)

def table(input_shape, num_classes):
    return nn.Sequential(nn.Linear(input_shape[0], 16), nn.ReLU(), nn.Linear(16, num_classes))

def broken():
    return 1 / 0
"""
MODULE = "prune_model_network"


class Payload:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return exec, ("open('run.txt', 'w')",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a module, a trained network, its samples, and files that are none."""
    folder = tmp_path_factory.mktemp("owned")
    (folder / f"{MODULE}.py").write_text(NETWORK)
    names: dict = {}
    exec(NETWORK, names)
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (rng.integers(0, 60, (120, 1, 6, 6)) + 60 * y[:, None, None, None]).astype(np.uint8)
    torch.manual_seed(0)
    network = names["build"]()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    inputs, labels = (torch.from_numpy(x).float() / 255 - 0.5) / 0.25, torch.from_numpy(y)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, folder / "net.pt")
    torch.save(nn.Linear(3, 3).state_dict(), folder / "other.pt")
    with (folder / "hostile.pt").open("wb") as file:
        pickle.dump({"state_dict": Payload()}, file)
    np.savez(folder / "train.npz", x=x[:90], y=y[:90])
    np.savez(folder / "test.npz", x=x[90:], y=y[90:])
    np.savez(folder / "four.npz", x=x, y=np.arange(120) % 4)
    np.savez(folder / "alone.npz", x=x[:90])
    np.savez(folder / "larger.npz", x=np.zeros((20, 3, 6, 6), np.uint8))
    return folder


@pytest.fixture
def compress(call, monkeypatch, trained, tmp_path):
    """Runs `compress`; options given as keywords replace those of the network, None leaves one out."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*more, **options):
        given = {"factory": f"{MODULE}:build", "weights": "net.pt", "method": "l1unstructured", "sparsity": 0.8}
        given |= {"out": tmp_path / "out"} | options
        named = [part for key, value in given.items() if value is not None for part in (f"--{key}", str(value))]
        return call("compress", *named, *more)

    return run


def fresh():
    names: dict = {}
    exec(NETWORK, names)
    return names["build"]()


def test_one_shot_without_data(compress, trained, tmp_path):
    code, out, err = compress()
    assert (code, err) == (0, "")
    assert re.search(r"sparsity +0\.0% +80\.2%", out)
    assert re.search(
        rf"of all parameters +0\.0% +{pruneaudit.load_compressed(fresh, tmp_path / 'out').sparsity_all:.1%}", out
    )
    assert re.search(r"MACs per sample +unknown +unknown", out)
    assert f"saved: {tmp_path / 'out'}" in out
    pruned = pruneaudit.load_compressed(fresh, tmp_path / "out")
    dense = torch.load(trained / "net.pt", weights_only=True)["state_dict"]
    kept = pruned.masks["5.weight"]
    assert torch.equal(pruned.model[5].weight[kept], dense["5.weight"][kept])
    assert not pruned.model[5].weight[~kept].any()


def test_fine_tuned_and_tested(compress, tmp_path):
    code, out, err = compress(
        "--epochs", "3", "--batch-size", "16", data="npz:train.npz", **{"test-data": "npz:test.npz"}
    )
    assert (code, err) == (0, "")
    accuracy = json.loads((tmp_path / "out" / "summary.json").read_text())["accuracy"]
    assert accuracy["num_samples"] == 30
    assert accuracy["before"] > 0.9 and accuracy["after_finetuning"] > 0.9
    row = re.search(r"test accuracy +([\d.]+)% +([\d.]+)%", out)
    assert [float(value) for value in row.groups()] == pytest.approx(
        [100 * accuracy["before"], 100 * accuracy["after_finetuning"]], abs=0.06
    )
    assert (tmp_path / "out" / "history.csv").read_text().count("\n") == 4


def test_channels_go_and_macs_fall(compress, tmp_path):
    code, out, _ = compress("--example-shape", "1,6,6", method="l1structured:target=macs", sparsity=0.5)
    assert code == 0
    before, after = (int(n.replace(",", "")) for n in re.search(r"MACs per sample +([\d,]+) +([\d,]+)", out).groups())
    assert before == 36 * 9 * 12 + 48 * 3 and after == before // 2
    small = pruneaudit.load_compressed(fresh, tmp_path / "out").model
    assert small[0].out_channels == 6


def test_a_chain_is_done_in_order(compress, tmp_path):
    code, out, err = compress(
        "--method", "l1unstructured:sparsity=0.75", "--method", "rtn:bits=4", method=None, sparsity=None
    )
    assert (code, err) == (0, "")
    assert re.search(r"bits per weight +32\.00 +\d\.\d\d", out)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [step["name"] for step in summary["method"]] == ["l1unstructured", "rtn"]
    made = pruneaudit.load_compressed(fresh, tmp_path / "out")
    assert made.sparsity == pytest.approx(0.75, abs=0.01)
    assert made.state["codes/5.weight"].abs().max() <= 7


@pytest.mark.parametrize("methods", [("rtn:bits=4", "kmeans:clusters=4"), ("kmeans:clusters=4", "rtn:bits=4")])
def test_two_that_say_which_values_there_are_do_not_go_together(compress, tmp_path, methods):
    first, second = (method.partition(":")[0] for method in methods)
    named = [part for method in methods for part in ("--method", method)]
    code, out, err = compress(*named, method=None, sparsity=None)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"'{second}' cannot follow '{first}'" in err and "keep one of them" in err
    assert not (tmp_path / "out").exists()


def test_calibrated_and_exported(compress, tmp_path):
    """uint8 samples without labels are fed as training fed them, and the file is compared on them."""
    file = tmp_path / "net.onnx"
    code, out, err = compress("--onnx", file, method="static8", sparsity=None, calibration="alone.npz")
    assert code == 0
    assert err.splitlines() == ["warning: 'static8' asks for 256 samples and gets 90"]
    assert re.search(r"class of the audited network for [\d,]+ of 1,000 inputs \(90 calibration \+ 910 noise\)", out)
    assert re.search(r"int8 kernels: \d of 2 layers", out) and re.search(r"time \d+\.\d\d of its time", out)
    assert f"written: {file} ({file.stat().st_size:,} bytes)" in out
    assert re.search(r"x / 255.* with mean 0\.5 and std 0\.25", out)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["calibration"] == {"static8": 90} and summary["input"]["shape"] == [1, 6, 6]
    note = json.loads((tmp_path / "net.onnx.json").read_text())
    assert note["onnx"]["agreement"]["inputs"] == {"calibration": 90, "noise": 910}
    assert note["input"] == {"name": "input", "shape": ["batch", 1, 6, 6], "type": "float32"}


@pytest.mark.slow
def test_exported_without_samples_says_so(compress, tmp_path):
    file = tmp_path / "net.onnx"
    code, out, err = compress("--onnx", file, "--bits", "4", "--example-shape", "1,6,6", method="rtn", sparsity=None)
    assert (code, err) == (0, "") and "(1,000 random)" in out
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["method"]["options"]["bits"] == 4


def test_an_export_without_the_shape_of_an_input_is_refused_before_any_work(compress, tmp_path):
    code, out, err = compress("--onnx", tmp_path / "net.onnx", method="rtn:bits=4", sparsity=None)
    assert code == 2 and "shape of an input is unknown" in err and "--example-shape" in err
    assert out == "" and not (tmp_path / "out").exists() and not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize(
    ("given", "constants"),
    [
        ((), r"mean 0\.5 and std 0\.25 \(assumed for npz.*--mean, --std\)"),
        (("--mean", "0.4", "--std", "0.3"), r"mean 0\.4 and std 0\.3 \(as given\)"),
    ],
)
def test_the_constants_that_samples_are_fed_with_are_printed(compress, given, constants):
    code, out, _ = compress(*given, data="npz:train.npz")
    assert code == 0
    assert re.search(rf"x / 255.* with {constants}", out)


def test_data_alone_measure_accuracy(compress):
    code, out, _ = compress(data="npz:train.npz")
    assert code == 0 and re.search(r"accuracy on --data +\d", out)
    assert "MACs per sample" in out and "unknown" not in out


def test_unknown_macs_name_the_option_that_makes_them_known(compress, tmp_path):
    code, out, _ = compress()
    assert code == 0 and re.search(r"MACs per sample +unknown", out) and "give --example-shape" in out
    code, out, _ = compress("--force", "--example-shape", "1,6,6")
    assert code == 0 and re.search(r"MACs per sample +\d", out) and "--example-shape" not in out


def test_weights_that_training_began_from(compress, trained):
    given = {"method": "iterative:rounds=2:rewind=init", "data": "npz:train.npz", "initial-weights": "net.pt"}
    assert compress("--epochs", "1", **given)[0] == 0


def test_the_number_of_classes_is_passed_where_it_is_known(compress, tmp_path):
    assert compress(factory=f"{MODULE}:sized", data="npz:train.npz")[0] == 0
    code, _, err = compress(factory=f"{MODULE}:sized", out=tmp_path / "second")
    assert code == 2 and "give it with --factory-option num_classes=VALUE" in err
    assert compress("--factory-option", "num_classes=3", factory=f"{MODULE}:sized", out=tmp_path / "third")[0] == 0


def test_a_full_folder_is_left_alone_unless_forced(compress, tmp_path):
    assert compress()[0] == 0
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    code, _, err = compress(sparsity=0.5)
    assert code == 2 and "is not empty" in err and "--force" in err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert compress("--force", sparsity=0.5)[0] == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != before


REFUSED = [
    ({"sparsity": 1.5}, (), "sparsity: got 1.5, expected above 0 and below 1"),
    ({"method": "magnitude"}, (), "unknown compressor 'magnitude' (here: l1unstructured); expected one of"),
    ({"method": 'l1unstructured:exclude=["fc"]'}, (), "exclude: no layer 'fc'"),
    ({"method": "l1unstructured", "sparsity": None}, (), "write 'l1unstructured:sparsity=...'"),
    ({"method": "dpf"}, (), "on the command line --data and --epochs"),
    ({"method": "l1structured"}, (), "on the command line --example-shape 3,32,32"),
    (
        {"method": "slim:preset=mia_prune", "factory": f"{MODULE}:table"},
        ("--factory-option", "input_shape=[3]"),
        "needs",
    ),
    ({"weights": "other.pt"}, (), "other.pt: does not fit the factory's network"),
    ({"weights": "hostile.pt"}, (), "could be code"),
    ({"weights": "absent.pt"}, (), "absent.pt: no such file"),
    ({"weights": "*.pt"}, (), "found 3 files, expected one"),
    ({"factory": "nowhere:build"}, (), "no module 'nowhere'"),
    ({"factory": f"{MODULE}:broken"}, (), "ZeroDivisionError"),
    ({}, ("--factory-option", "depth=3"), "unknown option 'depth'"),
    ({}, ("--example-shape", "3x32"), "--example-shape: got '3x32', expected"),
    ({}, ("--example-shape", "3,32,32"), "example: inputs of shape (1, 3, 32, 32): the network fails"),
    ({}, ("--epochs", "3"), "epochs: fine-tuning needs samples; give --data"),
    ({}, ("--learning-rate", "0.1"), "learning_rate: has no effect without fine-tuning"),
    ({"data": "npz:train.npz"}, ("--epochs", "0"), "'epochs': got 0"),
    ({"data": "npz:train.npz"}, ("--epochs", "1", "--augment", "rotate"), "'augment': got 'rotate'"),
    ({"data": "npz:absent.npz"}, (), "absent.npz: no such file"),
    ({"data": "npz:train.npz", "test-data": "npz:four.npz"}, (), "test: got outputs of shape (4, 3)"),
    ({"data": "npz:four.npz"}, (), "net.pt: does not fit the factory's network (size mismatch"),
    ({"device": "tpu"}, (), "device: got 'tpu'"),
    ({"method": "static8", "sparsity": None}, (), "'static8' needs 256 samples, but none were given"),
    ({"calibration": "alone.npz"}, (), "'l1unstructured' uses no samples"),
    ({"calibration": "absent.npz", "method": "static8", "sparsity": None}, (), "absent.npz: no such file"),
    ({"calibration": "larger.npz", "method": "static8", "sparsity": None}, (), "calibration: inputs of shape (4, 3, 6"),
    ({"calibration": "alone.npz", "method": "snip:start=pretrained"}, (), "alone.npz: no array 'y' among x"),
    (
        {"sparsity": None},
        ("--bits", "4"),
        "bits: got 4, but 'l1unstructured' has no such degree; its degree is sparsity",
    ),
    ({"onnx": "net.pt"}, (), "net.pt: exists already; choose another file with --onnx"),
]


@pytest.mark.parametrize(("options", "more", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(compress, tmp_path, options, more, words):
    code, out, err = compress(*more, **options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert words in err
    assert not list(tmp_path.iterdir())


def test_code_in_a_checkpoint_is_never_run(compress, trained):
    compress(weights="hostile.pt")
    assert not (trained / "run.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "--help"],
        ["export", "--help"],
        [
            "compress",
            *["--factory", "a:b", "--weights", "w.pt", "--method", "dpf", "--sparsity", "0.5", "--out", "o"],
        ],
    ],
)
def test_help_and_early_refusals_import_no_torch(arguments):
    program = (
        "import sys\nfrom pruneaudit.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert end.code in (0, 2, None), end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)

"""The wheel holds what the program needs at run time, and runs from where it is unpacked."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = (
    "pruneaudit/py.typed",
    "pruneaudit/study/recipes/demo.toml",
    "pruneaudit/study/recipes/cifar10-small.toml",
    "pruneaudit/data/embedded/fashion_mnist_5k.npz",
    "pruneaudit/data/embedded/LICENSE.fashion-mnist",
    "pruneaudit/data/embedded/clinc150_6k.csv.gz",
    "pruneaudit/data/embedded/clinc150_6k.tokenizer.json.gz",
    "pruneaudit/data/embedded/LICENSE.clinc150",
    "pruneaudit/report/page/templates/report.html",
    "pruneaudit/report/page/templates/style.css",
    "pruneaudit/report/figures/embedded/vega.js.gz",
    "pruneaudit/report/figures/embedded/LICENSE.vega",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_recipes_data_and_templates(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in NEEDED if name not in names]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/")]


def test_the_wheel_runs_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import pruneaudit, sys\n"
        "assert pruneaudit.__file__.startswith(sys.argv[1]), pruneaudit.__file__\n"
        "from pruneaudit.study.recipes import load_recipe\n"
        "from pruneaudit.data.drawing import load_audit_data\n"
        "data = load_recipe('demo').data\n"
        "assert len(load_audit_data(data, 0).y) == data.num_samples + data.num_holdout > 0\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=tmp_path, env=environment)


def lowest_versions():
    """Constraints that hold every direct dependency at the lowest version that pyproject allows, torch apart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [dependency.split(">=") for dependency in project["dependencies"]]
    return [f"{name}=={version}" for name, version in bounds if name != "torch"]


@pytest.mark.slow
@pytest.mark.parametrize("versions", ["pinned", "lowest", "newest"])
def test_the_wheel_installs_into_a_clean_environment(versions, wheel, tmp_path):
    constraints = tmp_path / "constraints.txt"
    lines = {"pinned": (ROOT / "constraints.txt").read_text().splitlines(), "lowest": lowest_versions(), "newest": []}
    constraints.write_text("\n".join([*lines[versions], "torch==2.13.0"]))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--only-binary", ":all:", "-c", str(constraints)]
    subprocess.run([*install, "torch"], check=True)  # the pinned build first: a wider request takes a CUDA one
    subprocess.run([*install, str(wheel)], check=True)
    demo = [str(tmp_path / "venv" / "bin" / "pruneaudit"), "demo", "--quick", "--out", str(tmp_path / "runs")]
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(demo, check=True, capture_output=True, text=True, cwd=tmp_path, env=outside)
    assert "RMIA" in done.stdout
    assert (tmp_path / "runs" / "demo-quick" / "report.html").is_file()

"""Banks of small networks that are trained side by side: the same bytes however the work was cut."""

import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pruneaudit import __version__
from pruneaudit.api import attack_again, run, verify_run
from pruneaudit.cli import main
from pruneaudit.compressing.settings import tuning_of
from pruneaudit.data.population import load_population
from pruneaudit.errors import UserError
from pruneaudit.exporting.finished import finished_plan
from pruneaudit.files import file_sha256
from pruneaudit.identity import sha256_of
from pruneaudit.pipeline.engines import (
    ENGINES_FILE,
    NUM_PLACES,
    PLAIN,
    UNDECIDED,
    Engine,
    keep_engine,
    known_engine,
    resolve_engine,
)
from pruneaudit.pipeline.parcels import ParcelError, pack, pack_all, unpack_all
from pruneaudit.pipeline.plan import make_plan
from pruneaudit.pipeline.ray_worker import do_task
from pruneaudit.pipeline.request import Request
from pruneaudit.pipeline.store import Store
from pruneaudit.randomness import torch_generator
from pruneaudit.run_folder import prepare

FINDINGS = ("findings.csv", "findings.json", "comparisons.csv", "curves.csv", "releases.csv", "scores.parquet")
TRAINING = {"epochs": 3, "batch_size": 32, "engine": "stacked"}
TINYCNN = {"name": "tinycnn", "options": {"width": 4}}


def contents(folder):
    """What must not depend on how a study was run: findings and every artifact's bytes."""
    seals = sorted(path for path in folder.rglob("DONE") if "set-aside" not in path.parts)
    findings = {name: (folder / name).read_bytes() for name in FINDINGS}
    return findings | {str(path.relative_to(folder)): path.read_bytes() for path in seals}


@pytest.fixture(scope="module")
def stacked(make_study):
    """Convolutions, whose bits depend on the place; one release, which is trained alone."""
    release = make_study().model_dump()["releases"][1]

    def study(num_models=4, **changes):
        audit = {"attacks": ["loss"], "knowledge": ["matched"]}
        values = {"model": TINYCNN, "training": TRAINING, "releases": [release], "audit": audit} | changes
        return make_study(membership={"num_models": num_models}, **values)

    return study


@pytest.fixture(scope="module")
def calm(stacked, tmp_path_factory):
    """A bank of four and then of six models, both in one folder, in this process."""
    out = tmp_path_factory.mktemp("calm")
    four = run(stacked(), out=out, executor="serial")
    dense = {path: path.read_bytes() for path in four.folder.glob("dense-*/model-*/DONE")}
    six = run(stacked(6), out=out, executor="serial")
    return four, dense, six


@pytest.fixture
def folder(calm, tmp_path):
    """A copy of the run of six, to do harm to."""
    shutil.copytree(calm[2].folder, tmp_path / "small")
    return tmp_path / "small"


def test_two_workers_give_the_same_bytes_and_a_larger_bank_costs_only_itself(calm, stacked, tmp_path):
    four, dense, six = calm
    assert (four.num_tasks_done, six.num_tasks_done) == (4 * 4, 2 * 4)
    assert len(dense) == 4
    assert all(path.read_bytes() == content for path, content in dense.items())
    at_once = run(stacked(6), out=tmp_path, executor="processes", jobs=2)
    assert contents(at_once.folder) == contents(six.folder)


def test_a_lost_model_comes_back_with_the_same_bytes(calm, stacked, folder):
    shutil.rmtree(next(folder.glob("dense-*/model-002")))
    damaged = next(folder.glob("dense-*/model-005")) / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\0\0\1")
    again = run(stacked(6), out=folder.parent, executor="serial")
    assert again.num_tasks_done == 2
    assert contents(folder) == contents(calm[2].folder)


def test_what_a_run_says_of_its_engine(calm, folder):
    about = json.loads((folder / "about.json").read_text())
    assert about["engine"] == {"name": "stacked", "places": NUM_PLACES, "reason": "asked for"}
    assert "8 side by side (asked for)" in (folder / "report.html").read_text()
    configs = {name: json.loads(next(folder.glob(f"{name}-*/model-000/config.json")).read_text()) for name in RELEASES}
    assert configs["dense"]["engine"] == {"name": "stacked", "places": 8, "semantics_version": 1}
    assert configs["l1unstructured-0.8"]["engine"] == "plain"
    assert "engine" not in configs["dense"]["training"]


RELEASES = ("dense", "l1unstructured-0.8")


def test_everything_finds_the_plan_again(stacked, folder):
    """Also where the engine was left to a trial: its answer lies in the run folder."""
    study = stacked(6, training=TRAINING | {"engine": "auto"})
    (folder / "study.json").write_text(study.model_dump_json())
    again = run(study, out=folder.parent, executor="serial")
    assert again.num_tasks_done == 0
    assert {checked.state for checked in verify_run(folder)} == {"whole"}
    assert attack_again(folder, ["loss"], out=folder.parent / "again").num_tasks_done == 0
    plan, _ = finished_plan(folder)
    assert plan.engine == Engine("stacked", "asked for")
    assert all(Store(folder).status(task.artifact)[0] == "whole" for task in plan.tasks)


def test_signals_are_those_of_plain_training_up_to_rounding(calm, stacked, tmp_path):
    plain = run(stacked(2, training=TRAINING | {"engine": "plain"}), out=tmp_path, executor="serial").folder
    assert not (plain / ENGINES_FILE).exists()
    for m in range(2):
        one, other = (next(root.glob(f"dense-*/signals-*/model-00{m}")) for root in (plain, calm[2].folder))
        expected, got = np.load(one / "logits.npy"), np.load(other / "logits.npy")
        assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()
        history = [next(root.glob(f"dense-*/model-00{m}")) / "history.csv" for root in (plain, calm[2].folder)]
        rows = [np.loadtxt(path, delimiter=",", skiprows=1) for path in history]
        assert rows[1] == pytest.approx(rows[0], rel=1e-3)


def test_identities_of_plain_studies_are_what_they_were(make_study):
    """Artifacts of earlier versions stay whole."""
    wemem = {"name": "w", "parent": "init", "finetune": {"epochs": 2}, "defense": "wemem"}
    study = make_study(releases=[*make_study().model_dump()["releases"], wemem])
    population = load_population(study.data, study.seed)
    identities = sorted(task.artifact.identity for task in make_plan(study, population).tasks)
    assert len(identities) == 49
    assert sha256_of(identities) == "d0b1fc84f4612db4173cf3d8f0cd05af4aa90cc9c3caa6921c8093f4fb5f3855"
    for engine in ("stacked", "auto"):
        other = make_study(releases=study.releases, training={"epochs": 3, "batch_size": 32, "engine": engine})
        assert sorted(task.artifact.identity for task in make_plan(other, population).tasks) == identities
    other = make_plan(study, population, Engine("stacked"))
    assert not {task.artifact.identity for task in other.tasks} & set(identities)


# Which engine


@pytest.fixture(scope="module")
def population(stacked):
    study = stacked()
    return load_population(study.data, study.seed)


def asking(stacked, engine, **changes):
    return stacked(training=TRAINING | {"engine": engine}, **changes)


def test_an_engine_is_decided_once(stacked, population, tmp_path):
    """A folder in which a trial found something keeps it, for a larger bank and on another device too."""
    auto = asking(stacked, "auto")
    assert known_engine(auto, population, None) is known_engine(auto, population, tmp_path) is UNDECIDED
    tried = Engine("stacked", "faster in a trial")
    assert keep_engine(tried, auto, population, tmp_path) == tried
    for study in (auto, stacked(6, training=TRAINING | {"engine": "auto"}), asking(stacked, "stacked")):
        assert known_engine(study, population, tmp_path) == tried
        assert resolve_engine(study, population, tmp_path, "cuda") == tried
    assert keep_engine(Engine("plain", "not faster"), auto, population, tmp_path) == tried  # somebody came first
    other = asking(stacked, "auto", model={"name": "mlp", "options": {"hidden": [16]}})
    assert known_engine(other, population, tmp_path) is UNDECIDED
    assert known_engine(asking(stacked, "plain"), population, tmp_path) == PLAIN


def test_what_is_asked_for_counts_more_than_a_trial(stacked, population, tmp_path):
    auto, asked = asking(stacked, "auto"), asking(stacked, "stacked")
    keep_engine(Engine("plain", "not faster"), auto, population, tmp_path)
    engine = resolve_engine(asked, population, tmp_path, "cpu")
    assert engine == keep_engine(engine, asked, population, tmp_path) == Engine("stacked", "asked for")
    assert known_engine(auto, population, tmp_path) == engine  # the bank that is there stays the bank


def test_a_trial_names_its_answer(stacked, population, tmp_path):
    engine = resolve_engine(asking(stacked, "auto"), population, tmp_path, "cpu")
    assert (engine.name, engine.reason) in {
        ("stacked", "faster in a trial"),
        ("plain", "side by side was not faster in a trial"),
    }
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_trained_side_by_side(stacked, population, tmp_path, monkeypatch):
    (tmp_path / "unlucky_network.py").write_text("def build(input_shape, num_classes):\n    raise OSError('no luck')\n")
    (tmp_path / "odd_network.py").write_text(
        "from torch import nn\n\n\ndef build(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes), nn.Softplus())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for module, reason in (
        ("odd_network", "engine 'stacked' cannot .*no stacked form of its layer '2' \\(Softplus\\)"),
        ("unlucky_network", "no luck"),
    ):
        model = {"name": "factory", "options": {"target": f"{module}:build"}}
        engine = resolve_engine(asking(stacked, "auto", model=model), population, tmp_path / "run", "cpu")
        assert engine.name == "plain"
        assert engine.reason != "asked for"
        with pytest.raises(UserError, match=reason):
            run(asking(stacked, "stacked", model=model), out=tmp_path, executor="serial")
    assert not (tmp_path / "small").exists()


def test_one_network_of_a_users_own_has_no_engine():
    assert tuning_of({"engine": "plain"}, True).engine == "plain"
    with pytest.raises(UserError, match=r"engine.*expected: 'plain'"):
        tuning_of({"engine": "stacked"}, True)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"name": "other", "reason": "x"}}'])
def test_an_engine_that_cannot_be_read_is_not_guessed(stacked, population, tmp_path, text):
    (tmp_path / ENGINES_FILE).write_text(text)
    with pytest.raises(UserError, match=r"engines\.json: unreadable"):
        known_engine(asking(stacked, "auto"), population, tmp_path)


def test_a_dry_run_says_what_is_known(stacked, folder, tmp_path, capsys):
    study = asking(stacked, "auto")
    (tmp_path / "study.json").write_text(study.model_dump_json())
    for out, expected in (("elsewhere", "auto, decided when the run begins"), (".", "stacked (asked for)")):
        with pytest.raises(SystemExit):
            main(["run", str(tmp_path / "study.json"), "--out", str(tmp_path / out), "--dry-run"])
        assert f"engine: {expected}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_plan_imports_no_torch():
    program = (
        "import sys\nfrom pruneaudit.api import prepare\nfrom pruneaudit.study import Study\n"
        "prepare(Study.model_validate({'name': 'x', 'data': {'source': 'digits', 'num_samples': 200}}))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Mishaps


@pytest.fixture
def own_network(stacked, network_of_files):
    """A study whose network does what files in its folder say, and a function that asks for it by model."""
    target, place = network_of_files

    def ask(what, model_id):
        seed = int(torch.randint(2**62, (), generator=torch_generator(3, "initialise", model_id)))
        (place / f"{what}-{seed}").touch()

    return stacked(model={"name": "factory", "options": {"target": target}}, releases=[]), ask


def dense_bytes(folder, models):
    return {m: (next(folder.glob(f"dense-*/model-00{m}")) / "DONE").read_bytes() for m in models}


@pytest.mark.parametrize(("what", "reason"), [("spoil", "diverged"), ("raise", "no such luck")])
def test_a_model_that_fails_fails_alone(own_network, tmp_path, what, reason):
    study, ask = own_network
    calm = run(study, out=tmp_path / "calm", executor="serial")
    ask(what, 1)
    others = run(study, out=tmp_path, executor="serial")
    (failure,) = others.failures
    assert failure.startswith("train dense model-001: ")
    assert reason in failure
    assert dense_bytes(others.folder, (0, 2, 3)) == dense_bytes(calm.folder, (0, 2, 3))
    assert not list(others.folder.glob("dense-*/model-001"))


@pytest.mark.slow
def test_deaths_in_a_bundle(own_network, tmp_path):
    """Who dies once is tried again with the others; who always dies takes nobody along."""
    study, ask = own_network
    calm = run(study, out=tmp_path / "calm", executor="serial")
    ask("once", 0)
    again = run(study, out=tmp_path / "again", jobs=1)
    assert contents(again.folder) == contents(calm.folder)
    ask("always", 2)
    others = run(study, out=tmp_path, jobs=2)
    assert [failure.partition(":")[0] for failure in others.failures] == ["train dense model-002"]
    assert dense_bytes(others.folder, (0, 1, 3)) == dense_bytes(calm.folder, (0, 1, 3))


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_bundle_goes_on(calm, stacked, tmp_path):
    (tmp_path / "study.json").write_text(stacked(6).model_dump_json())
    command = [sys.executable, "-m", "pruneaudit", "run", "study.json", "--out", ".", "--executor", "serial"]
    driver = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("small/.staging/*")):
        assert driver.poll() is None
    driver.kill()
    driver.wait()
    assert (tmp_path / "small" / ENGINES_FILE).exists()
    finished = run(stacked(6), out=tmp_path, executor="serial")
    assert contents(finished.folder) == contents(calm[2].folder)


# On the way to another machine


def test_a_bundle_elsewhere_writes_the_same_bytes(calm, stacked, folder, tmp_path, monkeypatch):
    """What a Ray worker does, without Ray."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan, _ = prepare(stacked(6), folder=folder)
    store = Store(folder)
    store.open_for_writing()
    inputs = {"population": str(store.path(plan.population))}
    tasks = plan.of("train", "dense")[1:4]
    members = tuple(Request(t.name, t.action, t.spec, inputs, str(store.new_staging())) for t in tasks)
    bundle = Request("bundle", "train", {}, inputs, "", members=members)
    shipped = {"population": ("digest", lambda: pack(store.path(plan.population)))}
    answer, parcel = do_task(bundle.to_json(), shipped, "scratch", __version__)
    assert json.loads(answer)["error"] == ""
    assert json.loads(answer)["failed"] == {}
    places = [store.new_staging() for _ in members]
    unpack_all(parcel, places)
    for task, place in zip(tasks, places, strict=True):
        expected = store.path(task.artifact)
        assert file_sha256(place / "model.safetensors") == file_sha256(expected / "model.safetensors")
        assert sorted(load_file(place / "model.safetensors")) == sorted(load_file(expected / "model.safetensors"))
        assert (place / "summary.json").read_bytes() == (expected / "summary.json").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_gives_the_same_bytes(calm, stacked, tmp_path):
    on_ray = run(stacked(6), out=tmp_path, executor="ray", jobs=2)
    assert contents(on_ray.folder) == contents(calm[2].folder)


def test_parcels_of_several_folders(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c", "d")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "x--1.txt").write_text("one")
    (folders[1] / "x--1.txt").write_text("two")
    parcel = pack_all(folders[:2])
    unpack_all(parcel, folders[2:])
    assert [(folder / "x--1.txt").read_text() for folder in folders[2:]] == ["one", "two"]
    content = next(iter(parcel.values()))
    for name in ("x.txt", "2--x.txt", "-1--x.txt", "0--../x.txt", "0--", "0--a/b"):
        with pytest.raises(ParcelError, match="got a file named"):
            unpack_all({name: content}, folders[2:])

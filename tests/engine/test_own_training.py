"""Studies whose networks are trained by a function of the user's."""

import importlib
import json
import sys

import pytest
from safetensors.torch import load_file

from command_line import succeed
from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_functions, check_plugins
from pruneaudit.engine.scheduler import TasksFailedError
from pruneaudit.published.pruning_mia_tree import export_tree
from pruneaudit.runs.beginning import plan_study

CODE = """
import torch
from torch.nn.functional import cross_entropy


def net(input_shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))


def train(model, x, y, generator, device):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(3):
        for batch in torch.randperm(len(y), generator=generator).split(20):
            loss = cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield {"epoch": epoch + 1, "loss": loss}


def fail(model, x, y, generator, device):
    raise ZeroDivisionError("in the user's code")


def diverge(model, x, y, generator, device):
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))


def takes_too_little(model, x, y):
    pass
"""
FINETUNE = {"epochs": 1, "learning_rate": 0.02, "batch_size": 32}
RELEASES = [
    {"name": "control", "finetune": FINETUNE},
    {"name": "pruned", "compress": "l1unstructured", "sparsity": 0.8, "finetune": FINETUNE},
    {"name": "smaller", "parent": "init", "model": "mlp:hidden=[4]"},
]
PINNED = {
    "dense": "206db5c0efd394badf2e6e26a2c4c4f2d953494fe3df1c64e27a83f2c24980a0",
    "dense+finetune": "57e9bcbbd6e27e0671438032b76f5322a6db423be6a41a589aa2afb90ff400d7",
    "l1unstructured-0.8": "910db0fb47bc448b6aebe320117ba31cba006c8cd30fb41244d27ff61dec24fa",
    "again": "9376d1fa26ac37d8f315fe8ecd508300e811a3d87034153a3d3c00fdcaa6fdf7",
}
"""Identities of model 0 of a plain study, from before functions could train."""


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The folder of the user's module, which can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("code")
        (folder / "own_study.py").write_text(CODE)
        patch.syspath_prepend(folder)
        yield folder
        sys.modules.pop("own_study", None)


@pytest.fixture(scope="module")
def make_task_context(code, make_study):
    """A function from changed settings to a study with the user's network and training."""

    def make(function="train", **changes):
        values = {"model": "own_study:net", "training": {"function": f"own_study:{function}"}, "releases": RELEASES}
        return make_study(**(values | {"audit": {"attacks": ["loss"]}} | changes))

    return make


@pytest.fixture(scope="module")
def finished(make_task_context, tmp_path_factory):
    return run(make_task_context(), out=tmp_path_factory.mktemp("serial"), runtime=Runtime(executor="serial"))


def identities(study):
    plan = plan_study(study)[0]
    return {name: plan.models(name)[0].artifact.identity for name in plan.releases}


def one_of(finished, release, file, model=0):
    return next(finished.folder.glob(f"{release}-????????/model-{model:03d}/{file}"))


def test_identities_without_a_function_are_what_they_were(make_study):
    releases = [release.model_dump() for release in make_study().releases]
    again = {"name": "again", "parent": "init", "model": "mlp:hidden=[8]"}
    assert identities(make_study(releases=[*releases, again])) == PINNED


def test_every_whole_training_is_the_users(finished):
    assert not finished.failures
    for release in ("dense", "smaller"):
        lines = one_of(finished, release, "history.csv").read_text().splitlines()
        assert lines[0] == "epoch,loss"
        assert len(lines) == 4
    for release in ("control", "pruned"):  # the loop's
        assert one_of(finished, release, "history.csv").read_text().startswith("epoch,loss,learning_rate")
    means = finished.audit.results.releases.set_index("release")
    assert means.loc["dense", "test_accuracy"] > 0.5  # it did train: 10 classes


def test_the_mask_holds_in_fine_tuning(finished):
    weights = load_file(one_of(finished, "pruned", "model.safetensors"))
    masks = load_file(one_of(finished, "pruned", "mask.safetensors"))
    assert sum(int((~mask).sum()) for mask in masks.values()) > 800
    assert all(not weights[name][~mask].any() for name, mask in masks.items())


@pytest.mark.slow
def test_processes_give_the_same_bytes_as_serial(finished, make_task_context, tmp_path):
    parallel = run(
        make_task_context(releases=RELEASES[2:]), out=tmp_path, runtime=Runtime(executor="processes", jobs=1)
    )
    for release in ("dense", "smaller"):
        for model in range(4):
            expected = one_of(finished, release, "model.safetensors", model).read_bytes()
            assert one_of(parallel, release, "model.safetensors", model).read_bytes() == expected


def test_a_second_run_trains_nothing_and_settings_of_the_loop_train_no_dense_model(finished, make_task_context):
    assert run(make_task_context(), out=finished.folder.parent, runtime=Runtime(executor="serial")).num_tasks_done == 0
    function = {"function": "own_study:train"}
    before, after = (
        identities(make_task_context()),
        identities(make_task_context(training=function | {"weight_decay": 0.5})),
    )
    assert [name for name in before if before[name] != after[name]] == ["control", "pruned"]


def test_an_exported_tree_states_no_settings_that_did_not_train(finished, tmp_path):
    tree = export_tree([finished.folder], tmp_path / "tree")
    configs = [json.loads((folder / "config.json").read_text()) for folder in tree.experiments]
    by_release = {config["pruneaudit"]["release"]: config for config in configs}
    assert set(by_release["dense"]["training"].values()) == {None}
    assert by_release["dense"]["data"]["batch_size"] is None
    assert by_release["dense"]["pruneaudit"]["study"]["training"]["function"] == "own_study:train"
    assert by_release["pruned"]["training"]["epochs"] == 1


def test_the_source_is_part_of_the_identity(make_task_context, code):
    before = identities(make_task_context())
    (code / "own_study.py").write_text(CODE + "\nRATE = 0.1\n")
    importlib.invalidate_caches()
    changed = identities(make_task_context())
    (code / "own_study.py").write_text(CODE)
    assert all(changed[name] != before[name] for name in before)
    assert identities(make_task_context()) == before


def test_what_the_function_raises_fails_the_task_with_its_traceback(make_task_context, tmp_path):
    with pytest.raises(TasksFailedError, match="ZeroDivisionError: in the user's code") as caught:
        run(make_task_context("fail", releases=[]), out=tmp_path, runtime=Runtime(executor="serial"))
    assert "own_study.py" in caught.value.details


def test_weights_that_are_no_numbers_fail_the_task(make_task_context, tmp_path):
    with pytest.raises(TasksFailedError, match=r"training diverged: '1\.weight' is not finite after own_study:diverge"):
        run(make_task_context("diverge", releases=[]), out=tmp_path, runtime=Runtime(executor="serial"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": "takes_too_little"}, r"got takes_too_little\(model, x, y\), expected takes_too_little\(model"),
        ({"function": "absent"}, "training.function: own_study has no function 'absent'"),
        (
            {"releases": [{"compress": "dpf", "sparsity": 0.5}]},
            "release 'dpf-0.5': compressor 'dpf' works in the training loop",
        ),
        (
            {"releases": [{"parent": "init", "defense": "label_smoothing"}]},
            "defense 'label_smoothing' works in the training loop",
        ),
        (
            {"releases": [{"name": "again", "parent": "init", "finetune": {"epochs": 2}}]},
            "release 'again': 'own_study:train' ",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(make_task_context, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        study = make_task_context(**changes)
        check_plugins(study)
        check_functions(study)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"select": "best_dev"}, "select = 'best_dev' .* own_study:train"),
        ({"select": "best_dev", "patience": 2}, "in your function"),
    ],
)
def test_settings_that_watch_the_loop_are_refused(make_task_context, training, message):
    with pytest.raises(ValueError, match=message):
        make_task_context(training=training | {"function": "own_study:train"})


@pytest.mark.parametrize("method", ["dpf:start=pretrained", "gradual", "iterative"])
def test_methods_that_start_from_its_networks_go_on_with_the_loop(make_task_context, method):
    check_plugins(make_task_context(releases=[{"compress": method, "sparsity": 0.5, "finetune": FINETUNE}]))


def test_fine_tuning_may_choose_its_epoch(make_task_context):
    finetune = FINETUNE | {"select": "best_dev"}
    study = make_task_context(releases=[{"name": "tuned", "finetune": finetune}])
    assert study.training_of(study.releases[0]).select == "best_dev"
    assert study.training_of(study.releases[0]).function is None


def test_settings_without_effect_are_said(make_task_context):
    function = {"function": "own_study:train"}
    assert make_task_context(training=function | {"epochs": 30, "batch_size": 128}).warnings() == []
    (note,) = make_task_context(training=function | {"epochs": 5, "batch_size": 7, "weight_decay": 0.1}).warnings()
    # weight decay is what the fine-tunings take over
    assert note.startswith("no effect: training.epochs, training.batch_size; own_study:train")
    (note,) = make_task_context(training=function | {"weight_decay": 0.1}, releases=[]).warnings()
    assert note.startswith("no effect: training.weight_decay;")


def test_the_command_line_says_what_its_estimate_leaves_out(make_task_context, tmp_path):
    file = tmp_path / "context.json"
    file.write_text(json.dumps(make_task_context().model_dump(mode="json")))
    assert "not counted: training by own_study:train" in succeed("run", file, "--out", tmp_path, "--dry-run")

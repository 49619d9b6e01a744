"""A whole choice: halves that never meet, the same certificate however it was made, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from pruneaudit.api import Runtime, choose
from pruneaudit.choosing import bench
from pruneaudit.core.errors import UserError
from pruneaudit.engine.progress import Silent
from pruneaudit.evaluation.limits import Limits
from pruneaudit.runs import beginning
from pruneaudit.study import Study

SPACE = [
    {"compress": "rtn", "bits": [2, 8]},
    {"compress": "l1unstructured", "sparsity": [0.5, 0.95], "finetune": {"epochs": 1}},
    {"parent": "init", "finetune": {"epochs": 1}, "name": "early"},
]
LIMITS = Limits(min_accuracy=0.6, max_auc=0.8)
SEARCH, CONFIRM = {0, 1, 2, 3, 4}, {5, 6, 7, 8, 9, 10}
FILES = ("search.json", "certificate.json", "certificate.md", "certificate.html", "SHA256SUMS")


def a_study(**changes):
    values = {
        "name": "tiny",
        "data": {"source": "digits", "num_samples": 300, "num_holdout": 500},
        "membership": {"num_models": 11},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "training": {"epochs": 12, "batch_size": 16, "learning_rate": 0.02},
        "choose": {"space": SPACE, "rungs": [4]},
    }
    return Study.model_validate(values | changes)


class Watch(Silent):
    """Counts finished tasks; stops the run at one of them."""

    def __init__(self, stop_at=None):
        self.names, self.lines, self.warnings, self._stop_at = [], [], [], stop_at

    def done(self, task, seconds=0.0):
        self.names.append(task.name)
        if len(self.names) == self._stop_at:
            raise KeyboardInterrupt

    def say(self, message):
        self.lines.append(message)

    def warn(self, message):
        self.warnings.append(message)


def made(out, study=None, limits=LIMITS, progress=None, executor="serial"):
    runtime = Runtime(executor, jobs=None if executor == "serial" else 2, progress=progress or Silent())
    return choose(study or a_study(), limits, out, runtime)


def files_of(choice):
    return {name: (choice.folder / "choice" / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def choice(tmp_path_factory):
    return made(tmp_path_factory.mktemp("choice"))


@pytest.fixture
def copied(choice, tmp_path):
    """The folder with the runs, copied."""
    shutil.copytree(choice.folder, tmp_path / "tiny")
    return tmp_path


def test_the_search_reads_no_model_that_confirms(tmp_path, monkeypatch):
    """Of the tasks, of the attack settings, and on disk when the list is sealed."""
    tasks, settings, at_the_seal = [], [], []
    carry_out, of_bank = bench.carry_out, bench.bank_settings

    def watched(plan, *rest):
        tasks.append({task.model_id for task in plan.tasks})
        return carry_out(plan, *rest)

    def seen(signals, *rest):
        found = of_bank(signals, *rest)
        for setting in found:
            parts = (*setting.attack_input.releases, *setting.attack_input.references)
            settings.append({model for part in parts for model in part.model_names.tolist()})
        return found

    def sealed(path):
        at_the_seal.append(len(tasks))
        at_the_seal.append({int(place.name[6:]) for place in tmp_path.rglob("model-*")})

    monkeypatch.setattr(bench, "carry_out", watched)
    monkeypatch.setattr(bench, "bank_settings", seen)
    keep = "pruneaudit.choosing.files.ChoiceFolder.keep_search"
    from pruneaudit.choosing.files import ChoiceFolder

    original = ChoiceFolder.keep_search
    monkeypatch.setattr(keep, lambda self, path: (sealed(path), original(self, path)))
    found = made(tmp_path)
    num_before, on_disk = at_the_seal
    assert tasks == [{0, 1, 2, 3}, SEARCH, CONFIRM]
    assert num_before == 2
    assert on_disk == SEARCH
    confirming = [models for models in settings if models & CONFIRM]
    assert confirming == [CONFIRM] * len(found.path.listed)
    assert [models for models in settings if models & SEARCH] == settings[: -len(confirming)]
    assert set(found.path.confirm_model_ids) == CONFIRM
    assert {model for rung in found.path.rungs for model in rung.model_ids} == SEARCH


def test_other_coins_of_models_that_confirm_change_nothing_of_the_search(choice, tmp_path, monkeypatch):
    draw = beginning.draw_membership

    def other(study, audit_data):
        splits = draw(study, audit_data)
        splits.member[5:] = np.roll(splits.member[5:], 1, axis=0)
        return splits

    monkeypatch.setattr(beginning, "draw_membership", other)
    other = made(tmp_path)
    assert (other.folder / "choice" / "search.json").read_bytes() == files_of(choice)["search.json"]
    assert other.certificate.judged != choice.certificate.judged


@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_other_executors_give_the_same_files(choice, tmp_path, executor):
    assert files_of(made(tmp_path, executor=executor)) == files_of(choice)


@pytest.mark.parametrize("stop_at", [30, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 60, 80))])
def test_a_choice_that_was_interrupted_ends_with_the_same_files(choice, tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, progress=Watch(stop_at))
    assert not (tmp_path / "tiny/choice/certificate.json").exists()
    assert files_of(made(tmp_path)) == files_of(choice)


def test_the_second_time_it_is_free(choice, copied):
    watch = Watch()
    again = made(copied, progress=watch)
    assert watch.names == []
    assert files_of(again) == files_of(choice)
    assert (again.certificate, again.path) == (choice.certificate, choice.path)


def test_a_sealed_search_is_not_repeated(choice, copied, monkeypatch):
    for name in ("certificate.json", "certificate.md", "certificate.html"):
        (copied / "tiny/choice" / name).unlink()
    from pruneaudit.api import choice as api

    monkeypatch.setattr(api, "search", lambda *_: pytest.fail("searched again"))
    watch = Watch()
    assert files_of(made(copied, progress=watch)) == files_of(choice)
    assert watch.names == []


def test_a_changed_search_is_made_again(choice, copied):
    file = copied / "tiny/choice/search.json"
    file.write_text(file.read_text().replace('"naive": "', '"naive": "x'))
    assert files_of(made(copied)) == files_of(choice)


def test_an_earlier_choice_on_the_same_models_is_recorded(choice, copied):
    first = made(copied, limits=Limits(min_accuracy=0.25, max_auc=0.8))
    assert first.path.earlier == (choice.path.identity,)
    second = made(copied, limits=Limits(min_accuracy=0.3, max_auc=0.8))
    assert second.path.earlier == (choice.path.identity, first.path.identity)


def test_trials_are_releases_of_a_run(choice, copied):
    """A run of the candidates trains only what no trial trained."""
    from pruneaudit.api import run

    listed = [c.release for c in a_study().choose.candidates if c.name in choice.path.listed]
    watch = Watch()
    run(a_study(releases=listed, choose=None), copied, Runtime("serial", progress=watch))
    made_there = [name for name in watch.names if "dense+" not in name and not name.startswith("signals dense ")]
    assert made_there == []


def test_the_record_tells_the_path(choice):
    rungs = choice.path.rungs
    assert [rung.num_references for rung in rungs] == [3, 4]
    assert len(rungs[0].candidates) + sum(one.why == "failed" for one in rungs[0].passed_over) == 6
    left = {one.name for rung in rungs for one in rung.passed_over} | {one.name for one in choice.path.passed_over}
    assert left | set(choice.path.listed) == {"dense", *(c.name for c in a_study().choose.candidates)}
    assert not left & set(choice.path.listed)
    scope = choice.certificate.scope
    assert (scope.num_search_models, scope.num_confirm_models, scope.num_references) == (5, 6, 5)
    assert (scope.attacks, scope.num_samples) == (("rmia",), 300)
    assert {one.candidate.name for one in choice.certificate.judged} == set(choice.path.listed)


def test_the_naive_choice_is_the_best_by_estimates(choice):
    last = choice.path.rungs[-1].candidates
    within = [each for each in last if all(t.p_value is None or t.p_value <= 0.5 for t in each.tests)]
    assert choice.naive.bytes == min(each.bytes for each in within)
    assert choice.naive_confirmed.name == choice.naive.name


@pytest.mark.slow
def test_optuna_is_told_batches_in_order(tmp_path, choice):
    """The same list for one worker and for two, and no trial outside the budget."""
    study = a_study(choose={"space": SPACE, "rungs": [4], "search": "optuna", "batch": 2, "budget": 3, "confirm": 2})
    first, second = made(tmp_path / "a", study), made(tmp_path / "b", study, executor="processes")
    assert files_of(first) == files_of(second)
    assert first.path.num_tried == 4
    assert len(first.path.listed) <= 2


def test_a_small_budget_tries_a_part_of_the_grid(tmp_path):
    study = a_study(choose={"space": SPACE, "rungs": [], "budget": 2, "dense": False})
    found = made(tmp_path, study)
    assert found.path.num_tried == 2
    assert "dense" not in found.path.searched


def test_dense_models_are_not_trained_where_no_candidate_starts_from_them(tmp_path):
    space = [{"parent": "init", "finetune": {"epochs": [1, 2]}, "name": "early"}]
    watch = Watch()
    made(tmp_path, a_study(choose={"space": space, "rungs": [], "dense": False}), progress=watch)
    assert watch.names
    assert not any(name.split()[1] == "dense" for name in watch.names)


@pytest.mark.slow
def test_every_kind_of_references_counts(tmp_path):
    """Candidates can start from releases of the study; others of these are not made."""
    space = [
        {"compress": "rtn", "bits": 8},
        {"parent": "init", "defense": {"name": "label_smoothing", "options": {"alpha": [0.1, 0.4]}}, "name": "smooth"},
        {"parent": "half", "compress": "rtn", "bits": 4, "name": "after"},
    ]
    study = a_study(
        releases=[SPACE[1] | {"sparsity": 0.5, "name": "half"}, {"name": "unused", "compress": "rtn:bits=2"}],
        audit={"references": ["matched", "undefended", "dense"], "attacks": ["loss"]},
        choose={"space": space, "rungs": [], "attacks": ["rmia"]},
    )
    watch = Watch()
    found = made(tmp_path, study, Limits(max_auc=0.9), watch)
    assert {name.split()[1] for name in watch.names} == {
        *("dense", "half", "after", "rtn-8", "smooth+alpha=0.1", "smooth+alpha=0.4")
    }
    kinds = {one.name: {t.references for t in one.tests if t.figure == "auc"} for one in found.path.rungs[0].candidates}
    expected = {name: {"matched", "undefended" if name.startswith("smooth") else "dense"} for name in kinds}
    assert kinds == expected | {"dense": {"matched"}}  # equal references count once


@pytest.mark.slow
def test_a_finished_run_in_the_folder_stays_valid(tmp_path):
    from pruneaudit.api import run
    from pruneaudit.runs import RunFolder

    run(a_study(choose=None), tmp_path, Runtime("serial"))
    watch = Watch()
    made(tmp_path, progress=watch)
    assert not [name for name in watch.names if name.startswith("train ")]
    assert any("contains findings of a run" in warning for warning in watch.warnings)
    assert not any(RunFolder(tmp_path / "tiny").problems().values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"choose": None}, ["[choose]", "choose.space"]),
        ({"membership": {"num_models": 6}}, ["6", "8"]),
        ({"choose": {"space": SPACE, "attacks": ["rima"]}}, ["rima", "rmia"]),
        (
            {"choose": {"space": SPACE, "attacks": ["attack_p"]}, "data": {"source": "digits"}},
            ["attack_p", "num_holdout"],
        ),
        ({"choose": {"space": [{"compress": "l1unstructured:scop=x", "sparsity": 0.5}]}}, ["scop", "scope"]),
        ({"choose": {"space": [{"compress": "rtn", "bits": 4, "parent": "nobody"}]}}, ["nobody"]),
        ({"choose": {"space": [{"compress": "qat", "bits": 4}]}}, ["qat", "finetune"]),
        ({"releases": [{"name": "rtn-8", "compress": "rtn:bits=4"}]}, ["rtn-8"]),
    ],
)
def test_bad_studies_are_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(UserError) as error:
        made(tmp_path, a_study(**changes))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_auc=0.501), ["0.501", "6 models", "num_models"]),
        (Limits(max_tpr={0.01: 0.05}), ["num_samples"]),
        (Limits(min_accuracy=0.999), ["0.999", "num_samples"]),
    ],
)
def test_a_limit_that_no_bank_of_this_size_can_certify_is_refused(tmp_path, limits, words):
    with pytest.raises(UserError) as error:
        made(tmp_path, limits=limits)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_attack_that_no_candidate_suits_certifies_nothing(tmp_path):
    space = [{"compress": "rtn", "bits": 8}]
    study = a_study(
        choose={"space": space, "attacks": ["mask_filter"], "rungs": []}, releases=[SPACE[1] | {"sparsity": 0.5}]
    )
    found = made(tmp_path, study, Limits(max_auc=0.9))
    assert found.chosen is None
    tests = [test for each in found.path.searched.values() for test in each.tests if test.figure == "auc"]
    assert tests and all(test.value is None and test.suppressed for test in tests)


def test_an_attack_that_finds_nothing_is_refused(tmp_path):
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.attack import PredictionAttack

    class Blind(PredictionAttack):
        """The labels."""

        def of_predictions(self, logits, labels):
            return labels.astype(float)

    if "blind" not in ATTACKS.names():
        ATTACKS.register("blind", Blind)
    try:
        with pytest.raises(UserError, match=r"'blind' does not work \(AUC 0"):
            made(tmp_path, a_study(choose={"space": SPACE, "attacks": ["rmia", "blind"]}))
    finally:
        ATTACKS._registered.pop("blind")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["search.json", "certificate.json"])
def test_files_of_another_version_are_made_again(choice, copied, harm):
    """They count as an earlier choice, if nobody can tell which one it was."""
    from pruneaudit.core.files import seal_files

    folder = copied / "tiny/choice"
    (folder / harm).write_text((folder / harm).read_text().replace('"format": 1', '"format": 0'))
    seal_files(folder, [name for name in FILES if name != "SHA256SUMS"])
    again = made(copied)
    assert again.path.earlier == (("unknown",) if harm == "search.json" else ())
    assert again.certificate.judged == choice.certificate.judged


def test_a_certificate_is_plain_json(choice):
    text = (choice.folder / "choice/certificate.json").read_text()
    assert json.loads(text)["kind"] == "pruneaudit certificate"
    assert str(choice.folder) not in text

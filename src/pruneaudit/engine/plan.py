"""Plans the tasks of a study: which artifacts it needs, the inputs of each, and a valid order.

The identity of an artifact is the hash of everything that determines it, including its parents'
identities. The number of models and the list of attacks do not influence any model, so a larger bank
trains only the additional models, and further attacks train nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pruneaudit.attacks.groups import skips
from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Step, check_order
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.core.identity import sha256_of
from pruneaudit.data import SOURCES
from pruneaudit.data.audit_data import SAVED_FILES, AuditData
from pruneaudit.data.kinds import OF_TOKENS
from pruneaudit.engine.attack_needs import check_attacks, check_halves, queried_for
from pruneaudit.engine.identities import base_config, dense_config, release_config
from pruneaudit.engine.model_artifacts import model_artifacts
from pruneaudit.engine.queries import Asked, Query, plain_query, queries_of
from pruneaudit.engine.store import Artifact
from pruneaudit.engine.target_files import TARGET_ID, UsersWeights, source_on_disk
from pruneaudit.models import MODELS
from pruneaudit.study import DENSE, Release, Study
from pruneaudit.study.base import BASE
from pruneaudit.study.baselines import added_baselines, with_baselines
from pruneaudit.study.lineage import (
    SCORING,
    check_release,
    depends_on_parent,
    described,
    inherited_compress,
    origin_of,
    plugin_options,
    scoring_models_of,
    with_counterparts,
)
from pruneaudit.study.parts import check_has_public, own_uses
from pruneaudit.study.starts import check_starts, folder_of, has_new_heads
from pruneaudit.study.training import FUNCTION_PARAMETERS, OWN, SHARED
from pruneaudit.study.user_function import SourceHash, check_takes

SAMPLE_SCORES_SEMANTICS = 1

Action = Literal["train", "release", "import", Asked, "sample_scores", "attack"]
MAKING: tuple[Action, ...] = ("train", "release", "import")
"""The actions that make the models of a release."""


@dataclass(frozen=True)
class Task:
    """A task: makes one artifact from its parents."""

    action: Action
    release: str
    """A release; `SCORING` for the scoring bank, `BASE` for the base."""
    model_id: int
    artifact: Artifact
    inputs: Mapping[str, Artifact]
    """Input artifacts by role: audit data, start, parent, teacher, weights, model, sample_scores; model-000, ... for
    many."""
    spec: Mapping[str, Any]
    """The settings of the action, as JSON data."""

    @property
    def name(self) -> str:
        """A short name for progress and messages."""
        if self.trains_base:
            return f"{self.action} {self.release}"
        if self.action == "sample_scores":
            return f"{self.action} of {self.spec['num_models']} scoring models"
        if self.action == "attack":
            return f"attack {self.release} by {self.spec['label']}, references {self.spec['references']}"
        return f"{self.action} {self.release} model-{self.model_id:03d}"

    @property
    def trains_base(self) -> bool:
        """Whether it trains the base, which is no model of a bank."""
        return self.spec.get("kind") == BASE

    @property
    def makes_model(self) -> bool:
        """Whether it makes a model of a release, which has a row of membership."""
        return self.action in MAKING and self.release != SCORING and not self.trains_base


@dataclass(frozen=True)
class Plan:
    """All tasks that must be done before a study can be audited."""

    study: Study
    audit_data: Artifact
    tasks: tuple[Task, ...]
    """Ordered so that every task comes after its inputs."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the source of each user function that is called, by `package.module:function`."""
    added: tuple[str, ...] = ()
    """Releases of `study` that were added automatically as baselines (`study.baselines`)."""
    files: tuple[UsersWeights, ...] = ()
    """The target's own files of weights."""
    start: UsersWeights | None = None
    """The user's file or folder of weights that all networks, or their base, start from; None if there is none."""

    def of(self, action: Action, release: str) -> list[Task]:
        """Returns the tasks of one action and release, in the order of models."""
        return [task for task in self.tasks if task.action == action and task.release == release]

    def models(self, release: str) -> list[Task]:
        """Returns the tasks that make the models of a release, in the order of models."""
        return [task for task in self.tasks if task.action in MAKING and task.release == release]

    @property
    def given(self) -> tuple[Artifact, ...]:
        """The artifacts that no task makes: the audit data, and the weights of the user's files."""
        return (self.audit_data, *(weights.artifact for weights in self.users_weights))

    @property
    def users_weights(self) -> tuple[UsersWeights, ...]:
        """The user's files of weights: the target's, and the one that all networks start from."""
        return self.files if self.start is None else (*self.files, self.start)

    def without(self, lost: Collection[str]) -> Plan:
        """Returns the plan without the given releases; `dense` stays."""
        releases = tuple(release for release in self.study.releases if release.name not in lost)
        tasks = tuple(task for task in self.tasks if task.release not in lost)
        files = tuple(weights for weights in self.files if weights.release not in lost)
        return replace(self, study=self.study.model_copy(update={"releases": releases}), tasks=tasks, files=files)

    def only(self, models: Collection[int], releases: Collection[str]) -> Plan:
        """Returns the plan of some models of some releases, with all tasks that these need; no other release is asked.

        Args:
            models: ids of models.
            releases: names of releases, `dense` only if it is asked itself.
        """
        makers = {task.artifact.folder: task for task in self.tasks}
        wanted = [t for t in self.tasks if t.release in releases and t.model_id in models and not t.trains_base]
        needed: set[str] = set()
        while wanted:
            task = wanted.pop()
            if task.artifact.folder not in needed:
                needed.add(task.artifact.folder)
                wanted += [makers[a.folder] for a in task.inputs.values() if a.folder in makers]
        tasks = tuple(task for task in self.tasks if task.artifact.folder in needed)
        made = {task.release for task in tasks}
        kept = {*made}
        for release in reversed(self.study.releases):  # a child comes after its parent
            kept |= {release.parent} if release.name in kept else set()
        study = self.study.model_copy(update={"releases": tuple(r for r in self.study.releases if r.name in kept)})
        files = tuple(weights for weights in self.files if weights.release in made and TARGET_ID in models)
        return replace(self, study=study, tasks=tasks, files=files)

    @property
    def releases(self) -> tuple[str, ...]:
        """Names of the releases, `dense` first."""
        return (DENSE, *(release.name for release in self.study.releases))


def check_plugins(study: Study, with_attacks: bool = True) -> None:
    """Checks the plug-ins of a study and their options, without data, torch or user functions.

    Args:
        study: the study.
        with_attacks: whether to check that the study can meet the needs of its attacks.

    Raises:
        UserError: a name or an option is unknown or wrong.
    """
    plugin_options(SOURCES, study.data.source, "data.source")
    plugin_options(MODELS, study.model, "model")
    check_starts(study)
    for release in study.releases:
        _check_order(study, release)  # first: a step that cannot stay needs no training
        check_release(study, release)
        check_has_public(study, release)
    if with_attacks and not skips(study.audit.attacks):
        check_attacks(study)


def _check_order(study: Study, release: Release) -> None:
    """Refuses compressors that cannot follow each other, or the parent's compressors."""
    where = f"release '{release.name}'"
    for plugin in release.compress:
        plugin_options(COMPRESSORS, plugin, where)
    inherited = inherited_compress(study, release)
    steps = [Step.of(described(COMPRESSORS, plugin, where)) for plugin in (*inherited, *release.compress)]
    try:
        check_order(steps, len(inherited))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def check_functions(study: Study) -> None:
    """Imports the user's training function of a study, if there is one, and checks its parameters.

    Raises:
        UserError: it cannot be imported, or has other parameters.
    """
    if study.training.function:
        check_takes(study.training.function, FUNCTION_PARAMETERS, "training.function")


def _check_augmentation(study: Study, audit_data: AuditData) -> None:
    """Refuses augmentation and queries that the kind of the samples does not have.

    Raises:
        UserError: a table with either, or an augmentation of another kind.
    """
    finetunes = [release.finetune for release in study.releases if release.finetune is not None]
    named = {study.training.augment, *(each.augment for each in finetunes if each.augment)} - {"none"}
    if audit_data.kind == "table" and (named or study.audit.queries > 1):
        raise UserError("augmentation and several queries need images, but these data are a table; leave them out")
    is_text = audit_data.kind == "tokens"
    wrong = sorted(name for name in named if (name == OF_TOKENS) != is_text)
    if wrong:
        expected = f"'none' or '{OF_TOKENS}'" if is_text else "'none', 'flip' or 'crop_flip'"
        kind = "texts" if is_text else "images"
        raise UserError(f"training.augment: got '{wrong[0]}', but these data are {kind}; expected {expected}")


def make_plan(
    study: Study, audit_data: AuditData, source_hash: SourceHash = source_on_disk, is_whole: bool = True
) -> Plan:
    """Plans the tasks of a study.

    Args:
        study: the study.
        audit_data: the audit data of the study.
        source_hash: hashes the sources of user functions, which are not called, and the files of a target; default:
            those on disk.
        is_whole: whether these are all releases of the study. If not, no baselines are added, and attacks are not
            checked: another part can have the releases that they need.

    Raises:
        UserError: the study needs something that its plug-ins or data do not support.
    """
    check_plugins(study, with_attacks=is_whole)
    if not skips(study.audit.attacks):
        check_halves(study, audit_data)
    asked, study = study, study.with_named_families()
    study = with_baselines(study) if is_whole else with_counterparts(study)
    _check_augmentation(study, audit_data)
    root = audit_data_artifact(audit_data.sha256, audit_data.files)
    sources: dict[str, str] = {}

    def remembered(function_name: str, what: str) -> str:
        if function_name not in sources:
            sources[function_name] = source_hash(function_name, what)
        return sources[function_name]

    in_bank = audit_data_artifact(audit_data.bank_sha256)
    shaped_by = {"public_sha256": audit_data.public_sha256} if audit_data.public_sha256 else {}
    bank = dense_config(study, in_bank, shaped_by, remembered)
    start = _users_start(study, bank, remembered)
    if start or study.training.init != OWN:
        bank["init"] = start.artifact.identity if start else SHARED
    starts = {"start": start.artifact} if start else {}
    tasks = []
    if study.base:
        first = {"head": "new"} if has_new_heads(study.model_copy(update={"base": None})) else {}
        config = base_config(study, bank | first, in_bank, shaped_by)
        artifact = model_artifacts(BASE, config, 1)[0]
        tasks.append(Task("train", BASE, 0, artifact, {"audit_data": root, **starts}, artifact.config))
        bank["init"], starts = artifact.identity, {"start": artifact}
    bank |= {"head": "new"} if has_new_heads(study) else {}
    num_models = study.membership.num_models
    files = {DENSE: UsersWeights.of_target(study.target, bank, remembered)} if study.target else {}
    of_target = {"target": files[DENSE].artifact.identity} if files else {}
    made: dict[str, list[Artifact]] = {DENSE: model_artifacts(DENSE, bank, num_models, of_target)}
    identities = {DENSE: sha256_of(bank)}
    held = {"audit_data": root, **starts}
    tasks += [_model_task("train", DENSE, m, artifact, held, files) for m, artifact in enumerate(made[DENSE])]
    needs = queried_for(study, audit_data)
    for query in queries_of(study, None, bank, needs):
        tasks += _query_tasks(query, DENSE, made[DENSE], held)
    scoring, scores = _scoring_tasks(study, bank, held, in_bank)
    tasks += scoring
    for release in study.releases:
        read = {"sample_scores": scores[size]} if (size := scoring_models_of(release)) else {}
        config = release_config(study, release, bank, identities, read, remembered)
        config |= shaped_by if own_uses(study, release) else {}
        identities[release.name] = sha256_of(config)
        if release.weights:
            files[release.name] = UsersWeights.of_release(release, config, remembered)
            config_of_target = of_target | {"weights": files[release.name].artifact.identity}
        else:
            config_of_target = of_target
        count = 1 if release.is_file_alone else num_models
        made[release.name] = model_artifacts(release.name, config, count, config_of_target)
        parents = made[release.parent] if depends_on_parent(release) else None
        role = "parent" if origin_of(release) == "own-dense" else "teacher"
        for m, artifact in enumerate(made[release.name]):
            inputs = (held if "init" in config else {"audit_data": root}) | read
            inputs |= {role: parents[m]} if parents else {}
            tasks.append(_model_task("release", release.name, m, artifact, inputs, files))
        for query in queries_of(study, release, config, needs):
            tasks += _query_tasks(query, release.name, made[release.name], held)
    added = tuple(added_baselines(asked, study))
    return Plan(study, root, tuple(tasks), sources, added, tuple(files.values()), start)


def _users_start(study: Study, bank: Mapping[str, Any], source_hash: SourceHash) -> UsersWeights | None:
    """Returns the user's file or folder of weights that the networks, or their base, start from; None without one."""
    if folder_of(study.model):
        has_new_head = has_new_heads(study.model_copy(update={"base": None}))
        return UsersWeights.of_folder(study.model, has_new_head, bank, source_hash)
    return UsersWeights.of_start(study.training, bank, source_hash) if study.training.init_file else None


def _model_task(
    action: Action,
    release: str,
    model_id: int,
    artifact: Artifact,
    inputs: Mapping[str, Artifact],
    files: Mapping[str, UsersWeights],
) -> Task:
    """Returns the task that makes one model of a release; the target's is imported if it is a file."""
    if model_id != TARGET_ID or release not in files:
        return Task(action, release, model_id, artifact, inputs, artifact.config)
    held = {"weights": files[release].artifact}
    return Task("import", release, model_id, artifact, {**inputs, **held}, artifact.config)


def audit_data_artifact(sha256: str, files: tuple[str, ...] = SAVED_FILES) -> Artifact:
    """Returns the artifact of the audit data with a checksum, as stored in a run folder."""
    # The identity keeps the former word: see `identities.ENGINE`.
    return Artifact(f"audit_data-{sha256[:8]}", {"kind": "population", "sha256": sha256}, files)


def _scoring_tasks(
    study: Study, bank: Mapping[str, Any], held: Mapping[str, Artifact], in_bank: Artifact
) -> tuple[list[Task], dict[int, Artifact]]:
    """Plans the scoring bank for the releases' defences: trainings, queries, and the samples' scores from them.

    Args:
        study: the study.
        bank: the configuration of the bank.
        held: the inputs of a dense training: the audit data, and the weights to start from, if they are a file's.
        in_bank: the samples of the bank.

    Returns:
        Its tasks (none if no defence needs it), and the artifacts of scores, by the number of models.
    """
    sizes = sorted({scoring_models_of(release) for release in study.releases} - {0})
    if not sizes:
        return [], {}
    # Its members are drawn independently under every protocol, so the protocol is not part of its identity.
    config = {key: value for key, value in bank.items() if key not in study.membership.identity}
    config |= {"kind": SCORING, "training": study.training.of_release.identity}
    models = model_artifacts(SCORING, config, sizes[-1])
    audit_data = held["audit_data"]
    tasks = [Task("train", SCORING, m, a, held, a.config) for m, a in enumerate(models)]
    queries = _query_tasks(plain_query(study.seed), SCORING, models, held, in_bank)
    tasks += queries
    scores = {}
    for size in sizes:
        answers = {f"model-{task.model_id:03d}": task.artifact for task in queries[:size]}
        shape = {"kind": "sample_scores", "semantics_version": SAMPLE_SCORES_SEMANTICS, "seed": study.seed}
        parents = sorted(artifact.identity for artifact in (in_bank, *answers.values()))
        config = {**shape, "num_models": size, "parents": parents}
        folder = f"{models[0].folder.rpartition('/')[0]}/sample_scores-{sha256_of(config)[:8]}"
        scores[size] = Artifact(folder, config, ("scores.npy", SUMMARY_FILE))
        tasks.append(Task("sample_scores", SCORING, 0, scores[size], {"audit_data": audit_data} | answers, config))
    return tasks, scores


def _query_tasks(
    query: Query, release: str, models: list[Artifact], held: Mapping[str, Artifact], in_bank: Artifact | None = None
) -> list[Task]:
    """Returns one task per model: query it with the audit data, or (`in_bank`) only with the bank's samples."""
    tasks, shape = [], query.shape
    for m, model in enumerate(models):
        config = {**shape, "parents": sorted([model.identity, (in_bank or held["audit_data"]).identity])}
        folder = f"{model.folder.rpartition('/')[0]}/{query.action}-{sha256_of(shape)[:8]}/model-{m:03d}"
        spec = {**shape, "model": model.config["model"], "prepared": model.config.get("prepared", []), "model_id": m}
        spec |= {"bank_alone": True} if in_bank else {}
        inputs = dict(held) if "init" in shape else {"audit_data": held["audit_data"]}
        artifact = Artifact(folder, config, query.files)
        tasks.append(Task(query.action, release, m, artifact, {**inputs, "model": model}, spec))
    return tasks

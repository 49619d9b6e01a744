"""A study is read from TOML or JSON into one frozen description, or refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from pruneaudit.core.errors import UserError
from pruneaudit.core.settings_file import MAX_BYTES, scalar
from pruneaudit.engine.plan import check_plugins
from pruneaudit.study import (
    Audit,
    Data,
    FineTuning,
    Membership,
    Plugin,
    Release,
    Source,
    Study,
    Training,
    settings_reference,
)
from pruneaudit.study.lora import Lora
from pruneaudit.study.reference import SECTIONS

TOML = """
name = "small"
seed = 3
model = "mlp:hidden=[8]"

[data]
source = "npz:/a/b:c.npz"
num_holdout = 10

[training]
epochs = 4
schedule = "step"
milestones = [2, 3]

[[releases]]
finetune = { epochs = 2 }

[[releases]]
compress = { name = "l1unstructured", options = { scope = "layerwise" } }
sparsity = [0.5, 0.9]
finetune = { epochs = 2, schedule = "cosine" }

[audit]
attacks = ["loss", "lira:mode=offline"]
references = ["adaptive", "dense", "matched"]
"""


def study(**values: Any) -> Study:
    return Study.from_text(json.dumps({"name": "a", **values}), "study.json", is_json=True)


def refusal(**values: Any) -> str:
    """The one line that refuses a study of these values."""
    with pytest.raises(UserError) as caught:
        study(**values)
    message = str(caught.value)
    assert message.startswith("study.json: ")
    assert message.isprintable()
    return message.removeprefix("study.json: ")


def release(**values: Any) -> dict[str, Any]:
    return {"compress": "l1unstructured", "sparsity": 0.5, **values}


OF_RELEASE = "'releases.{}': sparsity of 'l1unstructured': got "

# ------------------------------------------------------------------ reading


def test_toml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(TOML)
    found = Study.load(path)
    assert (found.name, found.seed) == ("small", 3)
    assert found.model == Plugin(name="mlp", options={"hidden": [8]})
    assert found.data == Data(source=Source(name="npz", options={"path": "/a/b:c.npz"}), num_holdout=10)
    assert found.training == Training(epochs=4, schedule="step", milestones=(2, 3))
    assert [entry.name for entry in found.releases] == [
        "dense+finetune",
        "l1unstructured-0.5-scope=layerwise",
        "l1unstructured-0.9-scope=layerwise",
    ]
    assert [entry.asked("sparsity") for entry in found.releases] == [None, 0.5, 0.9]
    assert found.audit.attacks == (Plugin(name="loss"), Plugin(name="lira", options={"mode": "offline"}))
    assert found.audit.references == ("matched", "dense")


def test_json_says_the_same_as_toml(tmp_path: Path) -> None:
    found = Study.from_text(TOML, "small.toml")
    path = tmp_path / "small.json"
    path.write_text(found.model_dump_json())
    assert Study.load(path) == found


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path: Path, suffix: str) -> None:
    text = TOML if suffix == ".toml" else json.dumps({"name": "small", "seed": 3})
    (tmp_path / f"study{suffix}").write_text(text, encoding="utf-8-sig")
    study = Study.load(tmp_path / f"study{suffix}")
    assert (study.name, study.seed) == ("small", 3)


def test_everything_but_the_name_has_a_default() -> None:
    assert study() == Study(name="a", data=Data(), membership=Membership(), training=Training(), audit=Audit())
    assert Study(name="a").releases == ()


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("text", ["name = ", "{", "[1", "\x00", '{"name": "a"} x', "a" * 100, "=", "[[[", "]"])
def test_a_syntax_error_is_one_line(text: str, is_json: bool) -> None:
    with pytest.raises(UserError, match=f"^some file: not {'JSON' if is_json else 'TOML'}: "):
        Study.from_text(text, "some file", is_json)


@pytest.mark.parametrize("text", ["[1]", "3", '"a"', "null"])
def test_json_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"some file: got a .*, expected a table of settings"):
        Study.from_text(text, "some file", is_json=True)


@pytest.mark.parametrize("depth", [100, 980, 984, 988, 992, 996, 1000, 5000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_one_line(depth: int, brackets: tuple[str, str]) -> None:
    nested = brackets[0] * depth + "1" + brackets[1] * depth
    for text in (nested, f'{{"name": "a", "description": {nested}}}'):
        with pytest.raises(UserError):
            Study.from_text(text, "some file", is_json=True)
    with pytest.raises(UserError):
        Study.from_text(f'name = "a"\ndescription = {"[" * depth}{"]" * depth}', "some file")


def test_files_that_cannot_be_a_study(tmp_path: Path) -> None:
    not_text, large = tmp_path / "binary.toml", tmp_path / "large.toml"
    not_text.write_bytes(b'name = "\xff\xfe"')
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    for path, words in (
        (tmp_path / "missing.toml", "cannot be read (No such file or directory); expected a study in TOML or JSON"),
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / ("x" * 300), "cannot be read (File name too long)"),
        (not_text, "not a text file in UTF-8"),
        (large, "at most 1,000,000 bytes"),
    ):
        with pytest.raises(UserError) as caught:
            Study.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert words in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        Study.load("a\0b.toml")


def test_a_file_of_exactly_the_greatest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "full.toml"
    path.write_text('name = "a"\n'.ljust(MAX_BYTES, "#"))
    assert Study.load(path) == Study(name="a")


# ------------------------------------------------------------------ unknown keys and wrong values


@pytest.mark.parametrize(
    ("values", "key", "meant"),
    [
        ({"trainin": {}}, "trainin", "training"),
        ({"training": {"epoch": 3}}, "training.epoch", "epochs"),
        ({"data": {"num_sample": 3}}, "data.num_sample", "num_samples"),
        ({"membership": {"num_model": 3}}, "membership.num_model", "num_models"),
        ({"audit": {"attack": ["loss"]}}, "audit.attack", "attacks"),
        ({"audit": {"attacks": [{"name": "lira", "option": {}}]}}, "audit.attacks.0.option", "options"),
        ({"model": {"nam": "mlp", "name": "mlp"}}, "model.nam", "name"),
        ({"releases": [release(), release(name="b", fine_tune={})]}, "releases.1.fine_tune", "finetune"),
        ({"releases": [release(finetune={"epochs": 1, "rounds": 1})]}, "releases.0.finetune.rounds", None),
        ({"releases": [release(finetune={"epochs": 1, "epoch": 1})]}, "releases.0.finetune.epoch", "epochs"),
        ({"releases": [release(compress={"nme": "x", "name": "y"})]}, "releases.0.compress.0.nme", "name"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(values: Any, key: str, meant: str | None) -> None:
    suggestion = f" (did you mean '{meant}'?)" if meant else ""
    assert refusal(**values).startswith(f"unknown key '{key}'{suggestion}; known keys: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "x"}, "'seed': got 'x', expected: a valid integer"),
        ({"seed": -1}, "'seed': got -1, expected: greater than or equal to 0"),
        ({"seed": 2**63}, "'seed': got 9223372036854775808, expected: less than 9223372036854775808"),
        ({"training": 3}, "'training': got 3, expected: a table of settings"),
        ({"training": {"epochs": 1.5}}, "'training.epochs': got 1.5, expected: a valid integer"),
        ({"training": {"learning_rate": 0}}, "'training.learning_rate': got 0, expected: greater than 0"),
        ({"training": {"learning_rate": float("nan")}}, "'training.learning_rate': got nan, expected: a finite number"),
        ({"training": {"momentum": float("inf")}}, "'training.momentum': got inf, expected: a finite number"),
        ({"training": {"optimizer": "lbfgs"}}, "'training.optimizer': got 'lbfgs', expected: 'sgd' or 'adam'"),
        ({"training": {"schedule": "step"}}, "'training': schedule 'step' needs milestones"),
        ({"training": {"milestones": [3]}}, "'training': schedule 'step' needs milestones"),
        ({"training": {"patience": 3}}, "'training': patience = 3 needs select = 'best_dev'"),
        ({"training": {"schedule": "step", "milestones": [0]}}, "'training.milestones.0': got 0, expected: greater"),
        ({"data": {"label_noise": 1}}, "'data.label_noise': got 1, expected: less than 1"),
        ({"data": {"num_samples": 3}}, "'data.num_samples': got 3, expected: greater than or equal to 4"),
        ({"membership": {"num_models": 0}}, "'membership.num_models': got 0, expected: greater than or equal to 1"),
        ({"membership": {"num_models": 1}}, "'membership': num_models = 1, expected at least 2"),
        ({"membership": {"protocol": "disjont"}}, "'membership.protocol': got 'disjont', expected: 'pooled'"),
        ({"audit": {"queries": 0}}, "'audit.queries': got 0, expected: greater than or equal to 1"),
        ({"audit": {"fpr_levels": [0.1, 1]}}, "'audit.fpr_levels.1': got 1, expected: less than 1"),
        ({"audit": {"fpr_levels": []}}, "'audit.fpr_levels': got [], expected: "),
        ({"audit": {"attacks": []}}, "'audit.attacks': got [], expected: "),
        ({"audit": {"attacks": "loss"}}, "'audit.attacks': got 'loss', expected: a list"),
        ({"audit": {"attacks": ["lira:offline"]}}, "'audit.attacks.0': got 'lira:offline', expected name:key=value"),
        ({"audit": {"attacks": [3]}}, "'audit.attacks.0': got 3, expected: a table of settings"),
        ({"audit": {"references": ["shadow"]}}, "audit.references: got 'shadow', expected matched"),
        ({"releases": "x"}, "'releases': got 'x', expected: a list"),
        ({"releases": [3]}, "'releases.0': got 3, expected: a table of settings"),
        ({"releases": [release(sparsty=0.5)]}, "'releases.0': unknown key 'sparsty' (did you mean 'sparsity'?)"),
        ({"releases": [{}]}, "'releases.0': a release needs compress, finetune, or both"),
        ({"releases": [release(finetune={})]}, "'releases.0.finetune.epochs' is missing"),
        ({"releases": [release(compress=5)]}, "'releases.0.compress.0': got 5, expected: a table of settings"),
        ({"releases": [release(compress={"options": {}})]}, "'releases.0.compress.0.name' is missing"),
        ({"releases": [release(compress="l1:x")]}, "'releases.0.compress.0': got 'l1:x', expected name:key=value"),
        ({"releases": [release(compress=None)]}, "'releases.0': sparsity = 0.5 needs a"),
        (
            {"releases": [{"sparsity": 0.5, "finetune": {"epochs": 1}}]},
            "'releases.0': sparsity = 0.5 needs a",
        ),
        (
            {"releases": [release(sparsity=0)]},
            OF_RELEASE.format(0) + "0, expected: greater than 0",
        ),
        (
            {"releases": [release(sparsity=1.0)]},
            OF_RELEASE.format(0) + "1, expected: less than 1",
        ),
        (
            {"releases": [release(sparsity=-0.1)]},
            OF_RELEASE.format(0) + "-0.1, expected: greater than 0",
        ),
        (
            {"releases": [release(sparsity=2)]},
            OF_RELEASE.format(0) + "2, expected: less than 1",
        ),
        (
            {"releases": [release(sparsity=[0.5, 1.0])]},
            OF_RELEASE.format(1) + "1, expected: less than 1",
        ),
        (
            {"releases": [release(sparsity=[0.5, [0.7]])]},
            OF_RELEASE.format(1) + "[0.7], expected: a valid number",
        ),
        ({"releases": [release(sparsity=[])]}, "'releases': a release got sparsity = [], expected at least one"),
        (
            {"releases": [release(sparsity=[0.5, 0.7], name="b")]},
            "'releases': a release with several values of",
        ),
        ({"releases": [release(), release()]}, "two releases are named 'l1unstructured-0.5'"),
        ({"releases": [release(sparsity=[0.5, 0.5])]}, "two releases are named 'l1unstructured-0.5'"),
        ({"releases": [release(name="dense")]}, "two releases are named 'dense'"),
        ({"training": {"select": "best_dev"}}, "select = 'best_dev' needs data.num_public above 0"),
        (
            {"releases": [release(name="r", finetune={"epochs": 1, "schedule": "step"})]},
            "finetune of release 'r': schedule 'step' needs milestones",
        ),
        (
            {"releases": [release(finetune={"epochs": 1, "select": "best_dev"})]},
            "select = 'best_dev' needs data.num_public above 0",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(values: Any, message: str) -> None:
    assert refusal(**values).startswith(message)


BAD_NAMES = [
    "../x",
    "a/b",
    "a..b",
    ".hidden",
    "",
    "a b",
    "a'",
    'a"',
    "a\n",
    "a\x1b[2J",
    "\x00",
    "é",
    "a" * 300,
    0,
    None,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_not_be_a_folder_is_refused(name: Any) -> None:
    assert refusal(name=name).startswith("'name': got ")
    if name not in ("", None):  # those stand for the default name of a release
        assert refusal(releases=[release(name=name)]).startswith("'releases.0.name': got ")


@pytest.mark.parametrize("name", ["a", "A-b_c.d+e=f", "0", "a" * 80])
def test_a_plain_name_is_taken(name: str) -> None:
    assert study(name=name, releases=[release(name=name)]).name == name


def test_a_name_left_out_is_made_of_compressor_and_options() -> None:
    options = {"exclude": ["a b", "c"], "scope": "layerwise"}
    names = [
        entry.name
        for entry in study(
            releases=[
                {"finetune": {"epochs": 1}},
                release(sparsity=[0.25, 0.5]),
                release(compress="l1unstructured:scope=layerwise", name=""),
                release(compress={"name": "l1unstructured", "options": options}),
                release(compress="p" * 200),
            ]
        ).releases
    ]
    assert names == [
        "dense+finetune",
        "l1unstructured-0.25",
        "l1unstructured-0.5",
        "l1unstructured-0.5-scope=layerwise",
        "l1unstructured-0.5-exclude=__a_b____c__-scope=layerwise",
        "p" * 80,
    ]


def test_many_releases_are_quick() -> None:
    levels = [level / 100_000 for level in range(1, 20_000)]
    assert len(study(releases=[release(sparsity=levels)]).releases) == len(levels)


# ------------------------------------------------------------------ plug-ins


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("lira", "lira", {}),
        ("lira:mode=offline", "lira", {"mode": "offline"}),
        ("a:x=1:y=0.5:z=true", "a", {"x": 1, "y": 0.5, "z": True}),
        ("a:x=[1, 2]:y='b'", "a", {"x": [1, 2], "y": "b"}),
        (" a : x = b c ", "a", {"x": "b c"}),
        ("a:x=b=c", "a", {"x": "b=c"}),
        ("a:x=", "a", {"x": ""}),
    ],
)
def test_a_plugin_as_a_text(text: str, name: str, options: dict[str, Any]) -> None:
    assert Plugin.model_validate(text) == Plugin(name=name, options=options)


@pytest.mark.parametrize("text", ["lira:", "lira:mode", "a:x=1:y"])
def test_a_plugin_text_without_a_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected name:key=value \('.*' has no '='\)"):
        Plugin.model_validate(text)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("digits", {}),
        ("npz:/a/b:c.npz", {"path": "/a/b:c.npz"}),
        ("npz:x=1.npz", {"path": "x=1.npz"}),
        ("text:a.csv:label=kind:max_length=9", {"path": "a.csv", "label": "kind", "max_length": 9}),
        ("clinc150_6k:labels=intents:tokenizer=/m.x/y", {"labels": "intents", "tokenizer": "/m.x/y"}),
    ],
)
def test_a_source_as_a_text(text: str, options: dict[str, Any]) -> None:
    assert Source.model_validate(text) == Source(name=text.partition(":")[0], options=options)


def test_a_label_is_the_text_of_a_plugin() -> None:
    assert Plugin(name="lira", options={"variance": "pooled", "mode": "offline"}).label == (
        "lira:mode=offline:variance=pooled"
    )
    for text in ("lira", "lira:mode=offline", "a:x=1:y=0.5"):
        assert Plugin.model_validate(text).label == text


def test_an_attack_given_twice_counts_once() -> None:
    attacks = ["loss", "lira", {"name": "loss"}, "lira:mode=offline", {"name": "lira", "options": {"mode": "offline"}}]
    assert [attack.label for attack in study(audit={"attacks": attacks}).audit.attacks] == [
        "loss",
        "lira",
        "lira:mode=offline",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "mpl"}, "model: unknown model 'mpl' (did you mean 'mlp'?); expected one of: "),
        ({"model": "mlp:hiden=[3]"}, "model: options of 'mlp': unknown key 'hiden' (did you mean 'hidden'?)"),
        ({"model": "tinycnn:width=0"}, "model: options of 'tinycnn': 'width': got 0, expected: "),
        ({"data": {"source": "digit"}}, "data.source: unknown data source 'digit' (did you mean 'digits'?)"),
        ({"data": {"source": "npz"}}, "data.source: options of 'npz': 'path' is missing"),
        ({"audit": {"attacks": ["lirra"]}}, "unknown attack 'lirra' (did you mean 'lira'?)"),
        ({"audit": {"attacks": ["lira:mode=off"]}}, "audit.attacks: options of 'lira': 'mode': got 'off', expected: "),
        ({"releases": [release(compress="l2", name="r")]}, "release 'r': unknown compressor 'l2'"),
        (
            {"releases": [release(compress="l1unstructured:scope=all", name="r")]},
            "release 'r': options of 'l1unstructured': 'scope': got 'all', expected: 'global' or 'layerwise'",
        ),
        (
            {"releases": [release(compress="l1unstructured:exclude=classifier", name="r")]},
            "release 'r': options of 'l1unstructured': 'exclude': got 'classifier', expected: a list",
        ),
    ],
)
def test_a_wrong_plugin_option_names_plugin_and_key(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_plugins(study(**values))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        "import pruneaudit.study",
        "from pruneaudit.engine.plan import check_plugins as check; from pruneaudit.study import Study\n"
        "try: check(Study(name='a', releases=[{'compress': 'nonesuch', 'sparsity': 0.5}]))\n"
        "except ValueError as error: assert 'nonesuch' in str(error)\n"
        "else: sys.exit('no error')\n"
        "check(Study(name='a', releases=[{'compress': 'l1unstructured', 'sparsity': 0.5}]))",
    ],
)
def test_reading_and_checking_a_study_imports_no_torch(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"import sys\n{code}\nassert 'torch' not in sys.modules"], check=True)


# ------------------------------------------------------------------ studies of the first format


FORMER = [
    ("num_reserve", "[data]\nnum_reserve = 5"),
    ("audit.knowledge", '[audit]\nknowledge = ["matched"]'),
    ("training.engine", '[training]\nengine = "plain"'),
    ("releases.pruner", '[[releases]]\npruner = "l1unstructured"\nsparsity = 0.5'),
]


@pytest.mark.parametrize(("word", "text"), FORMER)
def test_a_study_of_the_first_format_is_told_to_migrate(word: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text(f'name = "old"\n{text}\n')
    with pytest.raises(UserError) as refused:
        Study.load(file)
    assert word in str(refused.value)
    assert str(refused.value).endswith(f"pruneaudit migrate {file}")
    with pytest.raises(UserError, match="first format"):
        Study.from_text('{"name": "old", "format": 1}', "old.json", is_json=True)


def test_a_study_of_a_later_format_is_for_a_later_version() -> None:
    with pytest.raises(UserError, match="got format = 3, expected 2"):
        Study.from_text('name = "new"\nformat = 3', "new.toml")


def test_a_study_says_its_format() -> None:
    assert study().model_dump(mode="json")["format"] == 2


# ------------------------------------------------------------------ --set


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=5", ("seed",), 5),
        ("training.epochs = 7", ("training", "epochs"), 7),
        ("training.learning_rate=1e-3", ("training", "learning_rate"), 0.001),
        ("description=a text = 3", ("description",), "a text = 3"),
        ('description="quoted"', ("description",), "quoted"),
        ("description=2024-01-01", ("description",), "2024-01-01"),
        ("description=a\nseed=9", ("description",), "a seed=9"),
        ("releases.0.finetune.epochs=9", ("releases", 0, "finetune", "epochs"), 9),
        ("releases.-1.name=b", ("releases", 1, "name"), "b"),
        ("data.source=npz:/x.npz", ("data", "source"), Source(name="npz", options={"path": "/x.npz"})),
        ("model=mlp", ("model",), Plugin(name="mlp")),
        ("data.label_noise=0.5", ("data", "label_noise"), 0.5),
        ('audit.attacks=["loss"]', ("audit", "attacks"), (Plugin(name="loss"),)),
    ],
)
def test_an_override_is_put_in(override: str, path: tuple[Any, ...], value: Any) -> None:
    base = json.dumps({"name": "a", "releases": [{"finetune": {"epochs": 1}}, release()]})
    found: Any = Study.from_text(base, "study.json", is_json=True, overrides=[override])
    for key in path:
        found = found[key] if isinstance(key, int) else getattr(found, key)
    assert (" ".join(found.split()) if isinstance(found, str) else found) == value


def test_overrides_are_put_in_before_anything_is_checked_and_in_order() -> None:
    text = json.dumps({"name": "a", "releases": [release(), release(sparsity=1)]})
    overrides = ["releases.1.sparsity=2", "releases.1.sparsity=[0.7, 0.9]"]
    found = Study.from_text(text, "study.json", is_json=True, overrides=overrides)
    assert [entry.asked("sparsity") for entry in found.releases] == [0.5, 0.7, 0.9]


@pytest.mark.parametrize("override", ["", "seed", "=5", "a..b=1", ".seed=1", "training.=1"])
def test_an_override_without_key_or_value_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=r"^--set: got '.*', expected key=value, for example training\.epochs=5$"):
        Study.from_text('name = "a"', "study.toml", overrides=[override])


@pytest.mark.parametrize("path", ["releases.5.sparsity", "releases.x.sparsity", "name.x", "name.x.y", "releases.5"])
def test_an_override_that_leads_nowhere_is_refused(path: str) -> None:
    text = json.dumps({"name": "a", "releases": [release()]})
    with pytest.raises(UserError, match=f"--set: .*no setting '{path}'"):
        Study.from_text(text, "study.json", is_json=True, overrides=[f"{path}=1"])


def test_an_override_of_an_unknown_key_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown key 'training\.epoch' \(did you mean 'epochs'\?\)"):
        Study.from_text('name = "a"', "study.toml", overrides=["training.epoch=1"])


@given(st.text())
@example("1\nx = 2")
@example("2024-01-01")
@example("07:32:00")
@example("1979-05-27T07:32:00Z")
def test_a_scalar_is_json_data_and_loses_nothing(text: str) -> None:
    value = scalar(text)
    if isinstance(value, str):
        assert value == text.strip() or text.strip()[0] in "\"'"
    else:
        json.dumps(value)
        assert "\n" not in text.strip() or text.strip()[0] in "[#{"


# ------------------------------------------------------------------ what follows from a study


def test_finetuning_is_filled_in_from_training() -> None:
    training = Training(
        epochs=90, batch_size=7, learning_rate=0.3, schedule="step", milestones=(30, 60), augment="flip"
    )
    filled = FineTuning(epochs=5, learning_rate=0.01).over(training)
    assert filled == training.model_copy(update={"epochs": 5, "learning_rate": 0.01})
    assert filled.milestones == (30, 60)
    assert FineTuning(epochs=5, milestones=(2,)).over(training).milestones == (2,)
    assert FineTuning(epochs=5, schedule="cosine").over(training).milestones == ()
    waiting = Training(select="best_dev", patience=2)
    assert FineTuning(epochs=5).over(waiting).patience == 2
    assert FineTuning(epochs=5, select="last").over(waiting).patience is None
    stepped = FineTuning(epochs=5, schedule="step", milestones=(1, 2), decay=0.5).over(Training())
    assert (stepped.schedule, stepped.milestones, stepped.decay) == ("step", (1, 2), 0.5)
    with pytest.raises(UserError, match="finetune: schedule 'step' needs milestones"):
        FineTuning(epochs=5, schedule="step").over(Training())
    with pytest.raises(UserError, match="finetune: schedule 'step' needs milestones"):
        FineTuning(epochs=5, milestones=(1,)).over(Training())


def test_every_setting_of_training_can_be_set_for_finetuning() -> None:
    given = Training(
        epochs=2,
        batch_size=3,
        optimizer="adam",
        learning_rate=0.5,
        momentum=0.1,
        weight_decay=0.2,
        schedule="step",
        milestones=(1,),
        decay=0.3,
        augment="crop_flip",
        select="best_dev",
        patience=4,
        lora=Lora(r=2),
    )
    assert all(getattr(given, key) != getattr(Training(), key) for key in FineTuning.model_fields)
    assert FineTuning(**given.model_dump(include=set(FineTuning.model_fields))).over(Training()) == given


def test_settings_that_do_not_go_together_are_warned_of() -> None:
    assert study().warnings() == []
    (queries,) = study(audit={"queries": 3}).warnings()
    assert queries.startswith("audit.queries > 1 usually weakens")
    assert study(audit={"queries": 3}, training={"augment": "flip"}).warnings() == []
    assert study(training={"optimizer": "adam"}).warnings() == []
    assert study(training={"optimizer": "adam", "momentum": 0.5}).warnings() == [
        "training.momentum has no effect with Adam"
    ]


def test_studies_are_frozen() -> None:
    found = Study.from_text(TOML, "small.toml")
    parts: list[tuple[Any, str]] = [
        (found, "name"),
        (found.data, "num_samples"),
        (found.training, "epochs"),
        (found.releases[0], "name"),
        (found.releases[0].finetune, "epochs"),
        (found.audit, "queries"),
        (found.model, "name"),
    ]
    for part, name in parts:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, getattr(part, name))


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_+=-]{0,20}", fullmatch=True)
SPARSITIES = st.floats(0.001, 0.999)
VALUES = st.integers(-5, 5) | st.booleans() | st.text(max_size=4) | st.floats(-1, 1)
OPTIONS = st.dictionaries(st.text(max_size=4), VALUES | st.lists(VALUES, max_size=2), max_size=2)
PLUGINS = st.builds(Plugin, name=st.text(max_size=8), options=OPTIONS)
FINETUNINGS = st.builds(FineTuning, epochs=st.integers(1, 9), learning_rate=st.none() | st.floats(1e-6, 1e3))
RELEASES = st.builds(Release, name=NAMES, compress=PLUGINS, sparsity=SPARSITIES, finetune=st.none() | FINETUNINGS)
STUDIES = st.builds(
    Study,
    name=NAMES,
    description=st.text(max_size=20),
    seed=st.integers(0, 2**63 - 1),
    data=st.builds(Data, num_samples=st.none() | st.integers(4, 10**6), label_noise=st.floats(0, 0.9)),
    model=PLUGINS,
    training=st.builds(Training, momentum=st.floats(0, 0.99), weight_decay=st.floats(0, 10)),
    releases=st.lists(RELEASES, max_size=3, unique_by=lambda entry: entry.name).map(tuple),
    audit=st.builds(Audit, attacks=st.lists(PLUGINS, min_size=1, max_size=3).map(tuple), queries=st.integers(1, 9)),
).filter(lambda built: all(entry.name != "dense" for entry in built.releases))


@given(STUDIES)
def test_a_study_comes_back_from_json_as_it_was(built: Study) -> None:
    text = built.model_dump_json()
    assert Study.from_text(text, "study.json", is_json=True) == built
    assert Study.model_validate_json(text) == built
    assert Study.from_text(text, "study.json", is_json=True).model_dump_json() == text


KEYS = st.sampled_from(
    [*Study.model_fields, *Training.model_fields, *Release.model_fields, *Audit.model_fields, "options", "source", "x"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=15)


@given(st.dictionaries(KEYS, NESTED, max_size=5), st.booleans())
def test_random_settings_give_a_study_or_one_line(values: dict[str, Any], named: bool) -> None:
    text = json.dumps(values | ({"name": "a"} if named else {}))
    try:
        found = Study.from_text(text, "study.json", is_json=True)
    except UserError as error:
        assert str(error).startswith("study.json: ")
        assert str(error).isprintable()
    else:
        assert found.name
        assert found.warnings() is not None


@given(st.text(st.characters(), max_size=60), st.booleans())
@example('"\\u0000" = 1', False)
@example('{"\\ud800": 1}', True)
@example('{"name": "a", "description": "\\ud800"}', True)
@example("a." * 1000 + "b = 1", False)
def test_random_text_gives_a_study_or_one_line(text: str, is_json: bool) -> None:
    with pytest.raises(UserError) as caught:  # none of them has a name
        Study.from_text(text, "some file", is_json)
    assert str(caught.value).startswith("some file: ")
    assert str(caught.value).isprintable()


@given(st.lists(st.text(max_size=12) | st.tuples(KEYS, st.text(max_size=5)).map("=".join), max_size=4))
def test_random_overrides_give_a_study_or_one_line(overrides: list[str]) -> None:
    try:
        found = Study.from_text(TOML, "some file", overrides=overrides)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert len(found.releases) == 3 or any("releases" in override for override in overrides)


def test_a_study_of_too_many_tasks_is_refused():
    releases = [{"name": f"r{i}", "finetune": {"epochs": 1}} for i in range(60)]
    with pytest.raises(UserError, match="1,220,000 tasks"):
        Study.from_text(
            json.dumps({"name": "a", "membership": {"num_models": 10_000}, "releases": releases}),
            "s.json",
            is_json=True,
        )


def test_a_key_of_very_many_parts_is_refused_at_once():
    with pytest.raises(UserError, match="nested too deeply"):
        Study.from_text("name = 'a'\n" + "a." * 100_000 + "b = 1", "s.toml")


def test_the_reference_names_every_setting_with_its_default():
    rows = {row.key: row for row in settings_reference()}
    assert rows["membership.protocol"].default == "'pooled'"
    assert rows["name"].default == "required"
    assert rows["releases[].finetune.epochs"].default == "required"
    assert "canaries" in rows["audit.canary_guesses"].meaning
    settings = Study(name="x").model_dump()
    for section in ("data", "membership", "training", "audit"):
        assert {f"{section}.{key}" for key in settings[section]} <= set(rows) | set(SECTIONS)


def test_no_defense_without_a_defence_is_said_to_be_nothing_of_its_own():
    study = Study.model_validate({"name": "x", "audit": {"references": ["undefended"]}})
    assert any("the same as 'matched'" in note for note in study.warnings())

"""Which releases of a study are the baseline of the frontier."""

from pruneaudit.engine.assemble import undefended_dense
from pruneaudit.study import Study

TUNED = {"finetune": {"epochs": 1}}


def test_the_baseline_is_dense_and_undefended_in_its_whole_line_of_parents():
    releases = [
        {"name": "control", **TUNED},
        {"name": "early", "parent": "init", **TUNED},
        {"name": "small", "parent": "init", "model": {"name": "mlp", "options": {"hidden": [4]}}},
        {"name": "early+control", "parent": "early", **TUNED},
        {"name": "defended", "parent": "init", "defense": "label_smoothing"},
        {"name": "of-defended", "parent": "defended", **TUNED},
        {"name": "pruned", "compress": "l1unstructured", "sparsity": 0.5, **TUNED},
        {"name": "static", "parent": "init", "compress": "static:start=init", "sparsity": 0.5},
    ]
    study = Study.model_validate({"name": "lines", "releases": releases})
    assert undefended_dense(study) == ["dense", "control", "early", "small", "early+control"]
    assert undefended_dense(Study(name="alone")) == ["dense"]

"""The strings that seed random draws are frozen.

Never change a string here to make a test pass. Another spelling is another seed: every bank, every stored artifact and
every published number of the draws that use it would be another one. A new draw adds a line.
"""

import ast
from pathlib import Path

import pruneaudit
from pruneaudit.core import seeds

FROZEN = {
    "POPULATION": "population",
    "CANARIES": "canaries",
    "CANARY_ROWS": "canary rows",
    "CANARY_COINS": "canary coins",
    "CANARY_HALVES": "canary halves",
    "LABEL_NOISE": "label_noise",
    "EMBEDDED_IMAGES": "fashion_mnist_5k",
    "EMBEDDED_TEXTS": "clinc150_6k",
    "MEMBERSHIP": "membership",
    "HALVES": "halves",
    "HOLDOUT_HALVES": "holdout halves",
    "SCORING_MEMBERSHIP": "scoring membership",
    "QUERY": "query",
    "SENSITIVITY": "sensitivity",
    "FOLDS": "folds",
    "BANK_HALVES": "bank halves",
    "FAMILY_ROWS": "family rows",
    "ATTACK": "attack",
    "INPUTS": "inputs",
    "BOOTSTRAP": "bootstrap",
    "BOOTSTRAP_POOLED": "bootstrap pooled",
    "FRONTIER": "frontier",
    "POWER_SUBSETS": "power subsets",
    "POWER_EXTRAPOLATION": "power extrapolation",
    "RECORD_COINS": "record coins",
    "RECORD_FOLDS": "record folds",
    "RECORD_HALVES": "record halves",
    "SEARCH": "search",
    "CERTIFICATE": "certificate",
    "CLAIMS": "claims",
    "MIGRATION": "migration",
    "CALIBRATION": "calibration",
    "COMPLEAK_VIEWS": "compleak views",
    "COMPLEAK_CALLED": "compleak called members",
    "SCORING": "scoring",
    "BASE": "base",
    "ADAPTER": "adapter",
    "INITIALISE": "initialise",
    "TRAINING": "training",
    "FINETUNE": "finetune",
    "FINETUNE_SEED": "seed {}",
    "WHOLE_RELEASE": "release {}",
    "PRUNE": "prune",
    "PRUNE_PHASE": "prune phase",
    "PRUNE_OUTSIDE": "prune outside a study",
    "EXPORT_INPUTS": "export inputs",
    "FORGETTING": "forgetting",
    "DEFENSE": "defense",
    "ROUND": "round {}",
    "EARLY": "early",
    "SPARSITY_TRAINING": "sparsity training",
    "BETWEEN_STEPS": "between steps",
    "COMPRESS_STEP": "step {}",
    "RELEASE_COMPRESS": "compress",
    "RELEASE_PRUNER": "pruner",
    "RELEASE_SPARSITY": "sparsity",
    "RELEASE_PARENTS": "parents",
    "GIVEN": "signals",
    "DENSE": "dense",
    "MATCHED": "matched",
    "NO_DEFENSE": "no-defense",
    "AUC": "auc",
    "TPR": "tpr_at_{:g}%_fpr",
    "SELFTEST": "selftest",
    "SELFTEST_BANK": "selftest bank",
    "SELFTEST_MEMBERSHIP": "selftest membership",
    "SELFTEST_SENSITIVITY": "selftest sensitivity",
    "SELFTEST_INPUTS": "selftest inputs",
    "SELFTEST_STRUCTURE": "selftest structure",
    "HOLDOUT": "holdout",
    "NULL": "null",
    "PLANTED": "planted",
}
DRAWS = {"numpy_generator", "torch_generator", "seed_for", "generator", "train"}
"""Functions and methods whose arguments name a draw: the last asks for a phase of training."""


def names_of(module):
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_strings_never_change():
    assert names_of(seeds) == FROZEN


def spelled_out(source):
    """Lines of calls that name a draw by a string of their own."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in calls:
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called in DRAWS and any(is_text(argument) for argument in call.args):
            yield call.lineno


def is_text(node):
    if isinstance(node, ast.IfExp):
        return is_text(node.body) or is_text(node.orelse)
    if isinstance(node, ast.Tuple):
        return any(is_text(part) for part in node.elts)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_every_draw_takes_its_name_from_there():
    files = sorted(Path(pruneaudit.__file__).parent.rglob("*.py"))
    found = {str(file): lines for file in files if (lines := list(spelled_out(file.read_text())))}
    assert not found


def test_a_string_of_its_own_is_found():
    given = 'numpy_generator(seed, seeds.FOLDS)\nown.generator("prune")\nseed_for(0, "a" if x else y)\n'
    given += 'context.train(model, (), f"round {n}", None)\ndefense.train(model, hooks, settings, ("phase", name))\n'
    assert list(spelled_out(given)) == [2, 3, 4, 5]

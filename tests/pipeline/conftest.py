import pytest

from pruneaudit.study import Study


def small_study(**changes):
    """Four tiny networks on digits: seconds, not minutes."""
    values = {
        "name": "small",
        "seed": 3,
        "data": {"source": "digits", "num_samples": 200, "num_reserve": 60},
        "membership": {"num_models": 4},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "training": {"epochs": 3, "batch_size": 32},
        "releases": [
            {"name": "dense+finetune", "finetune": {"epochs": 1, "learning_rate": 0.02}},
            {"pruner": "l1unstructured", "sparsity": 0.8, "finetune": {"epochs": 1, "learning_rate": 0.02}},
        ],
        "audit": {"attacks": ["loss", "lira"], "knowledge": ["matched", "dense"]},
    }
    return Study.model_validate(values | changes)


@pytest.fixture(scope="session")
def make_study():
    """A function from changed top-level settings to a small study."""
    return small_study


@pytest.fixture
def study():
    return small_study()

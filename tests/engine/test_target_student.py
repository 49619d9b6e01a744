"""Students in a study with a target: of the user's own network, and the user's own student."""

import json

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.data.digits import Digits
from pruneaudit.data.source import NoOptions
from pruneaudit.models import build_model
from pruneaudit.study import Release, Study
from pruneaudit.training.checkpoint import load_tensors

BIG, SMALL = ({"name": "mlp", "options": {"hidden": [width]}} for width in (32, 6))


def trained(model, chosen, seed):
    raw = Digits().load(NoOptions(), None)
    x = (torch.tensor(raw.x[chosen]).float() / 255 - raw.mean[0]) / raw.std[0]
    network = build_model("mlp", model["options"], raw.x.shape[1:], 10, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), torch.tensor(raw.y[chosen])).backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    member = np.zeros(1797, np.int8)
    member[np.random.default_rng(0).permutation(1797)[:400]] = 1
    np.save(folder / "member.npy", member)
    torch.save(trained(BIG, member == 1, 7).state_dict(), folder / "prod.pt")
    student = trained(SMALL, member == 1, 8)
    torch.save(student.state_dict(), folder / "student.pt")
    tuned = {"finetune": {"epochs": 2, "learning_rate": 0.02}}
    study = Study.model_validate(
        {
            "name": "mine",
            "data": {"source": "digits", "num_samples": 300},
            "model": BIG,
            "training": {"epochs": 2, "batch_size": 32},
            "target": {
                "weights": str(folder / "prod.pt"),
                "member": str(folder / "member.npy"),
                "num_references": 2,
            },
            "releases": [
                {"compress": "distil:data=members", "model": SMALL, **tuned},
                {
                    "name": "shipped",
                    "weights": str(folder / "student.pt"),
                    "compress": "distil:data=members",
                    "model": SMALL,
                    **tuned,
                },
                {"name": "int8", "weights": str(folder / "prod.pt"), "compressed_bytes": 1234},
                {"name": "retrained", "weights": str(folder / "prod.pt"), "compress": "static:sparsity=0.5:start=init"},
            ],
            "audit": {"attacks": ["loss", "rmia"]},
        }
    )
    finished = run(study, folder, runtime=Runtime("serial"))
    assert not finished.failures
    return finished, student


def weights(finished, release):
    """The weights of all its models, in the order of models; the target's has a folder of its own."""
    found = sorted(finished.folder.glob(f"{release}-????????/model-*"), key=lambda folder: folder.name)
    return [load_tensors(folder / WEIGHTS_FILE) for folder in found], found


def test_the_targets_student_is_made_here_or_is_the_users_file(made):
    finished, student = made
    shipped, folders = weights(finished, "shipped")
    assert len(shipped) == 3
    assert all(torch.equal(shipped[0][name], value) for name, value in student.state_dict().items())
    assert not torch.equal(shipped[0]["1.weight"], shipped[1]["1.weight"])
    own, _ = weights(finished, "distil-members")
    assert [each.keys() for each in own] == [shipped[0].keys()] * 3
    summary = json.loads((folders[0] / SUMMARY_FILE).read_text())
    small, big = 64 * 6 + 6 * 10, 64 * 32 + 32 * 10
    assert (summary["prunable_weights"], summary["dense_weights"]) == (small, big)
    assert summary["effective_bits"] == pytest.approx(32 * small / big)


def test_both_are_measured_with_students_as_references(made):
    findings = made[0].audit.findings
    for release in ("distil-members", "shipped"):
        rows = findings[(findings["release"] == release) & (findings["victim"] == "mean")]
        assert set(rows["references"]) == {"matched"}
        assert rows["auc"].notna().all()


def test_a_file_is_compared_at_the_size_that_its_owner_states(made):
    results = made[0].audit.results
    row = results.releases.set_index("release").loc["int8"]
    assert row["compressed_bytes"] == 1234
    assert np.isnan(row["effective_bits"])
    dense = results.releases.set_index("release").loc["dense"]
    assert row["compression_ratio"] == pytest.approx(dense["compressed_bytes"] / 1234)
    entry = next(one for one in results.about["release_report"]["releases"] if one["name"] == "int8")
    assert entry["size"]["bytes"] == 1234 and entry["size"]["effective_bits"] is None
    frontier = results.frontier[results.frontier["release"] == "int8"]
    assert set(frontier["compressed_bytes"]) == {1234}


def test_only_a_file_has_a_stated_size():
    with pytest.raises(UserError, match=r"compressed_bytes: got 5 without weights.*leave it out"):
        Release(compress="rtn:bits=4", compressed_bytes=5)

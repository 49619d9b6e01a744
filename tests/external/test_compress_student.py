"""`pruneaudit.compress` with `distil`: a student of a user's own network."""

import numpy as np
import pytest
import torch
from torch import nn

import pruneaudit
from command_line import called, succeed
from pruneaudit.core.errors import UserError
from pruneaudit.training.checkpoint import load_tensors


class Viewing(nn.Module):
    """A network whose code needs plain memory order, and whose BatchNorm would notice training mode."""

    def __init__(self, width=8):
        super().__init__()
        self.conv, self.norm, self.head = (
            nn.Conv2d(2, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.Linear(width * 16, 3),
        )

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(x.view(len(x), -1))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(240, 2, 4, 4, generator=generator)
    return x, (x.mean(dim=(1, 2, 3)) * 6 + 1.5).clamp(0, 2.99).long()


@pytest.fixture
def teacher(data):
    torch.manual_seed(1)
    network = Viewing()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(data[0]), data[1]).backward()
        optimizer.step()
    return network.eval()


def student():
    torch.manual_seed(2)
    return Viewing(2)


def agreement(one, other, x):
    return float((one(x).argmax(1) == other(x).argmax(1)).float().mean())


def test_it_learns_from_the_teacher_without_labels(teacher, data, tmp_path):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    wrong = (data[1] + 1) % 3
    tuning = pruneaudit.FineTuning((data[0], wrong), epochs=25, learning_rate=0.02, batch_size=32)
    made = pruneaudit.compress(teacher, "distil:data=members-soft", student=student, finetuning=tuning, test=data)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert agreement(made.model.eval(), teacher, data[0]) > 0.7 > agreement(student().eval(), teacher, data[0])
    first, last = (made.summary["accuracy"][when] for when in ("before", "after_finetuning"))
    assert 0.7 < last < first
    share = (2 * 2 * 9 + 2 * 16 * 3) / (8 * 2 * 9 + 8 * 16 * 3)
    assert made.summary["after"]["effective_bits"] == pytest.approx(32 * share)
    assert made.summary["after"]["sparsity"] == 0
    assert made.summary["after"]["compression_ratio"] > 3
    again = pruneaudit.load_compressed(student, made.save(tmp_path / "student"))
    assert torch.equal(again.model.eval()(data[0]), made.model(data[0]))


def test_a_network_given_as_the_student_does_not_change(teacher, data):
    given = student()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    tuning = pruneaudit.FineTuning(data, epochs=1)
    made = pruneaudit.compress(teacher, "distil:data=members", student=given, finetuning=tuning)
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())
    assert not torch.equal(made.model.conv.weight, given.conv.weight)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("distil:data=members", {}, r"student: .*'distil'.*--student"),
        ("rtn:bits=4", {"student": student}, r"student: .*'rtn'.*leave it out"),
        ("distil:data=members", {"student": lambda: 3}, r"student: got int"),
        ("distil:data=members", {"student": nn.Linear(4, 3)}, r"student: .*\(4, 2, 4, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(method, arguments, message, teacher, data):
    tuning = pruneaudit.FineTuning(data, epochs=1)
    with pytest.raises(UserError, match=message):
        pruneaudit.compress(teacher, method, finetuning=tuning, **arguments)


def test_a_student_needs_training(teacher):
    with pytest.raises(UserError, match=r"'distil' works during training"):
        pruneaudit.compress(teacher, "distil:data=members", student=student)


def test_the_samples_are_an_option_of_the_method(teacher):
    with pytest.raises(UserError, match=r"write 'distil:data=members' \(or .*public.*\)$"):
        pruneaudit.compress(teacher, "distil", student=student)


def test_on_the_command_line(teacher, data, tmp_path, monkeypatch):
    code = "from torch import nn\n\n\n"
    code += "def big(): return nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))\n"
    code += "def small(): return nn.Sequential(nn.Flatten(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 3))\n"
    (tmp_path / "students_code.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))
    torch.save(network.state_dict(), "big.pt")
    np.savez("data.npz", x=data[0].numpy(), y=data[1].numpy())
    shared = ("compress", "--factory", "students_code:big", "--weights", "big.pt", "--out", "small")
    taught = ("--method", "distil:data=members", "--data", "npz:data.npz", "--epochs", "1")
    out = succeed(*shared, *taught, "--student", "students_code:small")
    assert "bits per weight" in out
    assert load_tensors(tmp_path / "small" / "model.safetensors")["1.weight"].shape == (4, 32)
    code, _, err = called(*shared[:-1], "other", *taught)
    assert code == 2 and "--student" in err
    code, _, err = called(*shared[:-1], "other", "--method", "distil", *taught[2:])
    assert code == 2 and "write 'distil:data=members'" in err and "baseline" not in err
    assert not (tmp_path / "other").exists()

"""Distillation: its loss, its teacher, and what happens at the ends of its options."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.teaching import FollowTeacher, soft_loss
from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

DISTIL = COMPRESSORS.get("distil")


def network(seed, width=6):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))


def trained(samples, hooks=(), **settings):
    student = network(1)
    chosen = Training(epochs=2, batch_size=8, learning_rate=0.05, **settings)
    train(student, samples, chosen, torch.Generator().manual_seed(2), hooks)
    return student.state_dict()


def hooks_of(teacher, make_context, **options):
    context = make_context(lambda: network(1))
    vars(context)["teacher"] = teacher
    return DISTIL.compress(network(1), DISTIL.Options(**options), context).hooks


def is_same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_the_loss_is_hintons():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 4)) * 3
    expected = 0.0
    for row in range(5):
        p, q = (np.exp(z[row] / 2.5) / np.exp(z[row] / 2.5).sum() for z in (teacher, student))
        expected += 2.5**2 * (p * np.log(p / q)).sum() / 5
    assert float(soft_loss(torch.tensor(student), torch.tensor(teacher), 2.5)) == pytest.approx(expected, rel=1e-12)


def test_at_a_high_temperature_its_gradient_matches_logits():
    student = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(6, 4, dtype=torch.float64)
    soft_loss(student, teacher, 1e4).backward()
    centred = [z - z.mean(dim=1, keepdim=True) for z in (student.detach(), teacher)]
    torch.testing.assert_close(student.grad, (centred[0] - centred[1]) / 6 / 4, rtol=1e-3, atol=1e-5)


def test_alpha_0_is_training_without_a_teacher(noise, make_context):
    plain = trained(noise, augment="flip")
    assert is_same(plain, trained(noise, hooks_of(network(7), make_context, data="members", alpha=0), augment="flip"))
    assert not is_same(plain, trained(noise, hooks_of(network(7), make_context, data="members"), augment="flip"))


@pytest.mark.parametrize("data", ["members-soft", "mixed"])
def test_without_labels_labels_change_nothing(data, noise, make_context):
    others = Samples(noise.stored, (noise.y + 1) % 3)
    weights = [trained(samples, hooks_of(network(7), make_context, data=data)) for samples in (noise, others)]
    assert is_same(*weights)
    weights = [trained(samples, hooks_of(network(7), make_context, data="members")) for samples in (noise, others)]
    assert not is_same(*weights)


def test_a_student_of_itself_at_temperature_1_has_nothing_to_learn():
    logits = torch.randn(4, 3, requires_grad=True)
    soft_loss(logits, logits.detach(), 1.0).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(4, 3), atol=1e-7, rtol=0)


def test_teacher_and_student_see_the_same_views_and_the_teacher_stays_as_it_is(noise):
    seen = {"teacher": [], "student": []}

    class Noting(nn.Module):
        def __init__(self, who):
            super().__init__()
            self.who, self.inside = who, nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3))

        def forward(self, x):
            seen[self.who].append(x.clone())
            return self.inside(x)

    teacher, student = Noting("teacher"), Noting("student")
    before = copy.deepcopy(teacher.state_dict())
    settings = Training(epochs=1, batch_size=8, learning_rate=0.05, augment="flip")
    train(student, noise, settings, torch.Generator().manual_seed(2), [FollowTeacher(teacher, 4.0, 0.9)])
    assert len(seen["teacher"]) == 5
    assert all(torch.equal(*pair) for pair in zip(seen["teacher"], seen["student"], strict=True))
    assert is_same(before, teacher.state_dict())
    assert not teacher.training


def test_without_a_teacher_it_is_refused(make_context):
    with pytest.raises(UserError, match=r"'distil' needs a teacher.*parent"):
        hooks_of(None, make_context, data="members")


def test_other_classes_are_refused():
    with pytest.raises(UserError, match=r"student has 3 outputs and the teacher 4"):
        soft_loss(torch.zeros(2, 3), torch.zeros(2, 4), 1.0)

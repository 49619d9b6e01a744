"""CompLeak's attack on several releases: what it is shown, who votes about whom, and the network."""

import numpy as np
import pytest
import torch

from pruneaudit.attacks._networks import Dropout, VotesAndLosses
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.compleak_mr import HIGHEST_LOSS, CompleakMr, Options, losses, pairs_in, voting_folds
from pruneaudit.attacks.learned import Rows
from pruneaudit.core.errors import UserError
from pruneaudit.metrics import auc

# n rows, C classes, d releases, k = d - 1 further releases


class Watched(CompleakMr):
    """Keeps what each forest learned from, and what it was asked."""

    def __init__(self, options):
        super().__init__(options)
        self.forests = []

    def _forest(self, features, member, rng):
        forest, asked = super()._forest(features, member, rng), []
        self.forests.append((features, asked))

        def voted(given):
            votes = forest(given)
            asked.append((given, votes))
            return votes

        return voted


def three_releases(make_bank, make_earlier, **sizes):
    bank = make_bank(**sizes)
    return make_earlier(bank), make_earlier(bank, seed=1), bank


def few(**options):
    return Options(**{"trees": 10, "min_leaf": 5, "epochs": 3, **options})


def test_what_forests_and_network_are_shown(make_bank, make_earlier):
    releases = three_releases(make_bank, make_earlier, num_models=2, num_samples=20, num_classes=4)
    samples = np.array([7, 3, 11])
    features = CompleakMr().features_of(releases, 1, samples)
    assert features.dtype == np.float32
    assert features.shape == (3, 3 * 4 + 4 + 2)
    blocks = list(pairs_in(features, 4))
    assert len(blocks) == 2
    for row, n in enumerate(samples):
        posteriors = []
        for release in releases:
            p = np.exp(release.logits[1, n].astype(float))
            posteriors.append(p / p.sum())
        order = sorted(range(4), key=lambda c: posteriors[0][c])
        label = releases[0].labels[n]
        for number, block in enumerate(blocks, start=1):
            expected = [posteriors[0][c] for c in order] + [posteriors[number][c] for c in order]
            np.testing.assert_allclose(block[row], expected + [float(c == label) for c in order], rtol=1e-5)
        np.testing.assert_allclose(features[row, -2:], [-np.log(p[label]) for p in posteriors[1:]], rtol=1e-5)


def test_a_loss_without_bounds_is_bounded(make_bank):
    bank = make_bank(num_models=1, num_samples=9)
    bank.logits[0, 0, bank.labels[0]] = -1e30
    bank.logits[0, 1, bank.labels[1]] = 1e30
    found = losses(bank, 0, np.arange(9))
    assert found[0] == HIGHEST_LOSS and found[1] == 0
    assert ((found > 0) & (found < HIGHEST_LOSS))[2:].all()


def rows_of(features, member, model, num_classes):
    return Rows(features.astype(np.float32), np.zeros(len(member), int), member, num_classes, np.asarray(model))


@pytest.mark.parametrize(("num_models", "num_folds"), [(2, 2), (3, 3), (7, 4)])
def test_the_rows_of_a_model_share_a_fold(num_models, num_folds, rng):
    model = rng.integers(num_models, size=200) * 3  # some numbers are missing: those models had no rows
    fold = voting_folds(rows_of(np.zeros((200, 1)), model > 0, model, 2), rng)
    assert len(np.unique(fold)) == num_folds
    assert all(len(np.unique(fold[model == one])) == 1 for one in np.unique(model))


def test_the_rows_of_a_single_model_are_dealt_evenly(rng):
    fold = voting_folds(rows_of(np.zeros((203, 1)), np.arange(203) % 2 == 0, np.full(203, 5), 2), rng)
    assert sorted(np.bincount(fold)) == [50, 51, 51, 51]


@pytest.mark.parametrize("num_references", [1, 5])
def test_no_forest_votes_about_its_own_rows(num_references, make_bank, make_earlier):
    victims, references = (
        three_releases(make_bank, make_earlier, num_models=m, num_samples=60, first_id=first, seed=first)
        for m, first in ((2, 0), (num_references, 50))
    )
    attack = Watched(few())
    attack.score(AttackInput.of(victims, references), np.random.default_rng(0))
    folds = 4
    assert len(attack.forests) == (folds + 1) * 2
    for pair in range(2):
        voted = []
        for learned, asked in attack.forests[pair : 2 * folds : 2]:
            ((given, _),) = asked
            assert not {tuple(row) for row in learned} & {tuple(row) for row in given}
            voted += [tuple(row) for row in given]
        everything, of_victims = attack.forests[2 * folds + pair]
        assert sorted(voted) == sorted(tuple(row) for row in everything)
        assert of_victims and not {tuple(row) for row in everything} & {tuple(r) for g, _ in of_victims for r in g}


def test_votes_about_noise_are_noise_however_well_the_forests_learn_it_by_heart(rng):
    """With votes of forests about their own rows the AUC would be near 1."""
    num_rows, num_classes = 2000, 3
    member = np.arange(num_rows) % 2 == 0
    features = rng.random((num_rows, 2 * num_classes + num_classes + 1))
    train = rows_of(features, member, rng.integers(6, size=num_rows), num_classes)
    attack = Watched(few(min_leaf=1, trees=20))
    attack.trained(train, train.where(member & ~member), rng)
    learned, _ = attack.forests[-1]
    assert len(learned) == num_rows
    asked = [asked[0] for _, asked in attack.forests[:-1]]
    voted = {tuple(row): vote for given, votes in asked for row, vote in zip(given, votes, strict=True)}
    votes = np.array([voted[tuple(row)] for row in learned])
    assert abs(auc(votes[None], member[None])[0] - 0.5) < 0.05


def test_the_network_has_the_published_layers():
    network = VotesAndLosses(10, 5).eval()
    sizes = [
        (layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, torch.nn.Linear)
    ]
    assert sizes == [(10, 128), (128, 64), (5, 128), (128, 64), (128, 256), (256, 128), (128, 64), (64, 2)]
    assert [layer.p for layer in network.modules() if isinstance(layer, Dropout)] == [0.5] * 6
    x = torch.randn(7, 15)
    changed = x.clone()
    changed[:, 10:] = 0
    assert not torch.equal(network(x), network(changed))
    recipe = CompleakMr().recipe()
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("sgd", 0.01, 5e-4)
    assert (recipe.epochs, recipe.batch_size, recipe.schedule, recipe.select_epoch) == (100, 128, "cosine", False)


def test_every_release_counts(make_bank, make_earlier):
    """The published code queries the last release in place of the others."""
    victims, references = (
        three_releases(make_bank, make_earlier, num_models=m, num_samples=80, first_id=first, seed=first)
        for m, first in ((2, 0), (4, 50))
    )
    other = make_earlier(references[-1], gain=0, seed=7)

    def scored(middle):
        changed = AttackInput.of(victims, (references[0], middle, references[2]))
        return CompleakMr(few()).score(changed, np.random.default_rng(0)).victims

    assert (np.abs(scored(references[1]) - scored(other)).max(axis=1) > 0).all()


@pytest.mark.parametrize("height", [1e4, 1e30])
def test_extreme_answers_stay_finite(height, make_bank, make_earlier):
    releases = three_releases(make_bank, make_earlier, num_models=6, num_samples=60)
    for release in releases:
        release.logits[:, ::7] *= height
    found = CompleakMr(few(epochs=20)).score(AttackInput.of(releases, releases), np.random.default_rng(0)).victims
    assert np.isfinite(found).all()


def test_its_options_are_checked():
    with pytest.raises(UserError, match="epochs"):
        Options(epochs=0)
    with pytest.raises(UserError, match="label"):
        Options(label=False)

"""Bits of several networks in one order, whatever each of them says."""

import numpy as np
import torch
from torch import nn

from pruneaudit.compression.kept import KeptByModels, Whole, kept_bits
from pruneaudit.compression.structured import remove_channels

# M models, D bits


def joined(*models):
    found = KeptByModels()
    for kept in models:
        found.add({key: np.array(bits, dtype=bool) for key, bits in kept.items()})
    packed, num_bits = found.packed()
    return np.unpackbits(packed, axis=1, count=num_bits).astype(int).tolist() if num_bits else num_bits


def test_keys_have_one_order_and_what_a_network_does_not_mention_is_kept():
    first, second = {"mask/b": [0, 1], "mask/a": [1, 0, 0]}, {"mask/b": [1, 0]}
    assert joined(first, second) == [[1, 0, 0, 0, 1], [1, 1, 1, 1, 0]]


def test_masks_of_different_shapes_are_of_different_weights_and_left_out():
    assert joined({"mask/a": [1, 0], "mask/b": [0]}, {"mask/a": [1, 0, 1], "mask/b": [1]}) == [[0], [1]]
    assert joined({"mask/a": [1, 0]}, {"mask/a": [1, 0, 1]}) == 0


def test_channels_of_an_unknown_width_end_at_the_last_one_that_anybody_removed():
    assert joined({"channels/a": [1, 0]}, {"channels/a": [0, 1, 1, 0]}, {}) == [[1, 0, 1, 1], [0, 1, 1, 0], [1] * 4]


def test_networks_that_keep_everything_have_no_bits():
    assert joined({}, {}) == 0


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def test_with_and_without_the_whole_network():
    whole = build()
    smaller, record = remove_channels(whole, torch.zeros(1, 4), "l1", 0.5, target="channels")
    removed = whole[0].weight.abs().sum(dim=1).argsort()[:3]
    channels = ~torch.isin(torch.arange(6), removed)
    mask = smaller[2].weight > 0  # (3, 3)
    known = kept_bits({"2.weight": mask}, record, Whole(build))
    np.testing.assert_array_equal(known["channels/0"], channels.numpy())
    expected = torch.zeros(3, 6, dtype=torch.bool)
    expected[:, channels] = mask
    np.testing.assert_array_equal(known["mask/2.weight"], expected.flatten().numpy())
    unknown = kept_bits({"2.weight": mask}, record, None)
    np.testing.assert_array_equal(unknown["channels/0"], channels[: int(removed.max()) + 1].numpy())
    np.testing.assert_array_equal(unknown["mask/2.weight"], mask.flatten().numpy())
    alone = kept_bits({"2.weight": mask}, "", None)
    assert alone.keys() == {"mask/2.weight"}

"""Who is in whose training set: the pooled protocol.

Each sample is in each model's training set with probability 1/2, independently of all other samples
and models, as in the membership game (Yeom et al. 2018, arXiv:1709.01604) and online LiRA (Carlini et
al. 2022, arXiv:2112.03570).

Never exact halves. If each sample were a member of exactly half of the models, the others' rows would
tell a victim's row: whoever counts that M/2 of the M - 1 references hold the sample knows that the
victim does not, and "guess the rarer side" wins every time without a look at any model. Attacks that
compare a sample's members with its non-members pick that count up as if it were leakage. Independent
coins leave nothing to count.
"""

from __future__ import annotations

import numpy as np

from pruneaudit.randomness import numpy_generator

# M models, N samples


def member_row(study_seed: int, model_id: int, reserve: np.ndarray) -> np.ndarray:
    """Who is in the training set of one model; it depends on no other model, nor on how many there are.

    Args:
        study_seed: the study's seed.
        model_id: the model.
        reserve: (N,) bool, samples that are in no training set.

    Returns:
        (N,) bool, true for members.
    """
    coins = numpy_generator(study_seed, "membership", model_id).random(len(reserve)) < 0.5  # (N,)
    return coins & ~reserve


def membership(study_seed: int, num_models: int, reserve: np.ndarray) -> np.ndarray:
    """The rows of models 0..num_models-1.

    Args:
        study_seed: the study's seed.
        num_models: M, at least 1.
        reserve: (N,) bool, samples that are in no training set.

    Returns:
        (M, N) bool, true for members.
    """
    return np.stack([member_row(study_seed, model_id, reserve) for model_id in range(num_models)])


def eligible(reserve: np.ndarray, num_models: int) -> np.ndarray:
    """Which samples may be scored for which model: under this protocol, all but the reserve for all.

    Args:
        reserve: (N,) bool, samples that are never audited.
        num_models: M.

    Returns:
        (M, N) bool.
    """
    return np.tile(~reserve, (num_models, 1))

"""What a study calls post-processing is made without one sample and without training; nothing else is."""

import copy

import pytest
import torch

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.study import Plugin, Study
from pruneaudit.study.lineage import plugin_options
from pruneaudit.study.post_processing import post_processing

METHODS = [
    *("l1unstructured:sparsity=0.5", "random:sparsity=0.5", "lamp:sparsity=0.5", "static:sparsity=0.5"),
    *("synflow:sparsity=0.5:start=pretrained", "iterative:sparsity=0.5:rounds=1", "nm:pattern=2:4"),
    *("l1structured:sparsity=0.3", "l2structured:sparsity=0.3", "slim:sparsity=0.3:preset=mia_prune"),
    *("rtn:bits=4", "kmeans:clusters=8", "svd:fraction=0.5", "svd:fraction=0.5:data=public"),
    *("svd:fraction=0.5:data=members", "wanda:sparsity=0.5", "sparsegpt:sparsity=0.5", "obc:sparsity=0.5"),
    *("snip:sparsity=0.5:start=pretrained", "gptq:bits=4", "static8", "finetune", "slim:sparsity=0.3"),
    *("iterative:sparsity=0.5", "iterative:sparsity=0.5:rounds=1:rewind=early", "distil:data=public"),
]


class ReadsDataError(Exception):
    """A method asked for samples, or for training."""


class Nothing:
    """Samples and teachers that do not exist."""

    def __getattr__(self, name):
        raise ReadsDataError(name)

    def __len__(self):
        raise ReadsDataError("len")

    def __call__(self, *_):
        raise ReadsDataError("call")


def is_made_without_data(plugin, model):
    def train(*_):
        raise ReadsDataError("train")

    context = CompressionContext(
        torch.full((1, 1, 8, 8), torch.nan),  # only its shape may matter
        torch.Generator().manual_seed(0),
        train,
        lambda: copy.deepcopy(model),
        samples=Nothing(),
        teacher=None,
    )
    options = plugin_options(COMPRESSORS, plugin, "test")
    try:
        made = COMPRESSORS.get(plugin.name).compress(copy.deepcopy(model), options, context)
    except Exception as error:
        if isinstance(error, ReadsDataError) or "needs a teacher" in str(error):
            return False
        raise
    return all(weight.isfinite().all() for weight in made.model.state_dict().values())


@pytest.mark.parametrize("method", METHODS)
def test_post_processing_needs_no_sample_and_no_training(method, make_net):
    plugin = Plugin.model_validate(method)
    works_without = is_made_without_data(plugin, make_net())
    options = plugin_options(COMPRESSORS, plugin, "test")
    tuned = {"finetune": {"epochs": 1}} if COMPRESSORS.get(plugin.name).works_in_training(options) else {}
    study = Study.model_validate({"name": "s", "releases": [{"name": "r", "compress": method, **tuned}]})
    assert post_processing(study) == ({"r": "dense"} if works_without else {})

"""Encoders of Transformers, of torch and of the package give the same logits, once they have the same weights."""

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.data.inputs import answered, token_inputs
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models import build_model

transformers = pytest.importorskip("transformers")

T, V, C, D, HEADS, LAYERS, EPS = 9, 30, 4, 16, 4, 2, 1e-5
SHAPE = TokenShape(T, Vocabulary(V, padding=0, unknown=1))


def randomised(network):
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            draws = torch.Generator().manual_seed(number)
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draws))
    return network.eval()


def texts():
    rng = np.random.default_rng(0)
    lengths = torch.tensor([T, 1, 4, 7, 2])
    ids = torch.from_numpy(rng.integers(3, V, (5, T)))
    ids[torch.arange(T) >= lengths[:, None]] = SHAPE.vocabulary.padding
    return token_inputs(ids, lengths)


def paste(theirs, name, ours):
    """Copies one layer; every parameter of theirs must get a value."""
    theirs.get_submodule(name).load_state_dict(ours.state_dict())


def paste_block(theirs, names, ours):
    """Copies a block, by the names of q, k, v, o, both norms, and both hidden layers."""
    attention = ours.attention
    layers = (attention.q, attention.k, attention.v, attention.o, ours.norm1, ours.norm2, ours.fc1, ours.fc2)
    for name, layer in zip(names, layers, strict=True):
        paste(theirs, name, layer)


class TorchText(nn.Module):
    """The text encoder with torch's own encoder layers."""

    def __init__(self, ours):
        super().__init__()
        self.ours = ours
        made = nn.TransformerEncoderLayer(D, HEADS, 2 * D, 0.0, "gelu", EPS, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(made, LAYERS, norm=nn.LayerNorm(D, EPS), enable_nested_tensor=False)
        for layer, block in zip(self.encoder.layers, ours.blocks, strict=True):
            part = block.attention
            with torch.no_grad():
                layer.self_attn.in_proj_weight.copy_(torch.cat([part.q.weight, part.k.weight, part.v.weight]))
                layer.self_attn.in_proj_bias.copy_(torch.cat([part.q.bias, part.k.bias, part.v.bias]))
            names = ("self_attn.out_proj", "norm1", "norm2", "linear1", "linear2")
            for name, found in zip(names, (part.o, block.norm1, block.norm2, block.fc1, block.fc2), strict=True):
                paste(layer, name, found)
        self.encoder.norm.load_state_dict(ours.norm.state_dict())

    def forward(self, input_ids, attention_mask):
        real = attention_mask.bool()
        x = self.ours.embedding(input_ids) + self.ours.positions(torch.arange(T).expand_as(input_ids))
        x = self.encoder(x, src_key_padding_mask=~real) * real[..., None]
        return self.ours.classifier(x.sum(1) / real.sum(1, keepdim=True))


class HfText(nn.Module):
    """The text encoder with an encoder of Transformers: ESM, which is pre-norm, with learned positions."""

    def __init__(self, ours):
        super().__init__()
        config = transformers.EsmConfig(
            vocab_size=V,
            pad_token_id=0,
            mask_token_id=2,
            hidden_size=D,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=2 * D,
            max_position_embeddings=T + 1,
            position_embedding_type="absolute",
            layer_norm_eps=EPS,
            emb_layer_norm_before=False,
            token_dropout=False,
        )
        self.encoder = transformers.EsmModel(config, add_pooling_layer=False).eval()
        self.classifier = ours.classifier
        table = self.encoder.embeddings
        with torch.no_grad():
            table.word_embeddings.weight.copy_(ours.embedding.weight)
            table.position_embeddings.weight[1:].copy_(ours.positions.weight)  # it counts from the padding id + 1
        names = (
            *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
            *("attention.LayerNorm", "LayerNorm", "intermediate.dense", "output.dense"),
        )
        for layer, block in zip(self.encoder.encoder.layer, ours.blocks, strict=True):
            paste_block(layer, names, block)
        paste(self.encoder, "encoder.emb_layer_norm_after", ours.norm)

    def forward(self, input_ids, attention_mask):
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask[..., None]
        return self.classifier((found * real).sum(1) / real.sum(1))


def test_texts_of_all_lengths():
    options = {"width": D, "layers": LAYERS, "heads": HEADS}
    ours = randomised(build_model("tiny_transformer", options, SHAPE, C, torch.Generator()))
    x = texts()
    with torch.no_grad():
        logits = answered(ours, x)
        assert logits.std() > 0.05
        # In training mode, because torch's fast path of evaluation computes other bits; nothing drops out.
        for theirs in (TorchText(ours).train(), HfText(ours)):
            torch.testing.assert_close(answered(theirs, x), logits, rtol=1e-4, atol=1e-5)


def test_images():
    ours = randomised(
        build_model("vit", {"width": D, "layers": LAYERS, "heads": HEADS}, (1, 8, 8), C, torch.Generator())
    )
    config = {"model_type": "vit", "hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config |= {"intermediate_size": 4 * D, "patch_size": 4, "layer_norm_eps": EPS}
    theirs = build_model("hf", {"config": config}, (1, 8, 8), C, torch.Generator()).eval()
    vit = theirs.vit
    with torch.no_grad():
        vit.embeddings.cls_token.copy_(ours.prefix.class_token)
        vit.embeddings.position_embeddings.copy_(ours.prefix.positions)
    paste(vit, "embeddings.patch_embeddings.projection", ours.embed)
    names = (
        *("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"),
        *("layernorm_before", "layernorm_after", "mlp.fc1", "mlp.fc2"),
    )
    for layer, block in zip(vit.layers, ours.blocks, strict=True):
        paste_block(layer, names, block)
    paste(vit, "layernorm", ours.norm)
    paste(theirs, "classifier", ours.head)
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = ours(x)
        assert logits.std() > 0.05
        torch.testing.assert_close(theirs(x), logits, rtol=1e-4, atol=1e-5)

"""Small transformers of several authors, with random parameters, and texts for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.core.options import validated
from pruneaudit.data.inputs import Inputs, answered, token_inputs
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.models import build_model
from pruneaudit.models._outputs import logits_in
from pruneaudit.training.samples import Samples

# n texts, T tokens, V ids, C classes

V, T, C = 60, 9, 5
WIDTH, HIDDEN, HEADS, LAYERS = 32, 48, 4, 2
_COMMON: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN,
    "num_labels": C,
}


class TorchEncoder(nn.Module):
    """torch's encoder layers, and the mean over real tokens."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(V, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, **{"batch_first": True, **options})
        self.time_first = not options.get("batch_first", True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=self.nests(options))
        self.head = nn.Linear(WIDTH, C)

    @staticmethod
    def nests(options: dict[str, Any]) -> bool:
        """Whether torch allows its shortcut with nested tensors for such layers."""
        return bool(options.get("batch_first", True)) and not options.get("norm_first")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        real, x = attention_mask.bool(), self.words(input_ids)
        x = x.transpose(0, 1) if self.time_first else x
        x = self.encoder(x, src_key_padding_mask=~real)
        x = (x.transpose(0, 1) if self.time_first else x) * real[:, :, None]
        logits: Tensor = self.head(x.sum(1) / real.sum(1, keepdim=True))
        return logits


class Listed(nn.Module):
    """Attention as in "The Annotated Transformer": four layers in a list, and the numbers of heads in attributes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.d_k, self.h = width // heads, heads
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = (layer(x).view(len(x), -1, self.h, self.d_k).transpose(1, 2) for layer in list(self.linears)[:3])
        scores = (q @ k.transpose(-2, -1) / self.d_k**0.5).masked_fill(~real[:, None, None, :], -1e9)
        mixed = scores.softmax(-1) @ v
        result: Tensor = self.linears[-1](mixed.transpose(1, 2).reshape(len(x), -1, self.h * self.d_k))
        return result


class Joint(nn.Module):
    """Attention as in timm: one layer for q, k and v, and the width of all heads from attributes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, width // heads, width
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.mT * self.head_dim**-0.5).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, self.attn_dim))
        return result


class HeadByHead(Joint):
    """The same, but the layer holds q, k and v head by head."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (-1, 3, self.head_dim)).permute(3, 0, 2, 1, 4)
        scores = (q @ k.mT * self.head_dim**-0.5).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """An attention, and a feed-forward block with gates."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.words, self.attention = nn.Embedding(V, WIDTH), attention
        self.up, self.gate = nn.Linear(WIDTH, HIDDEN), nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down, self.head = nn.Linear(HIDDEN, WIDTH), nn.Linear(WIDTH, C)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x, real = self.words(input_ids), attention_mask.bool()
        x = x + self.attention(x, real)
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        logits: Tensor = self.head((x * real[:, :, None]).sum(1))
        return logits


def own() -> nn.Module:
    """The package's encoder."""
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": HEADS}
    return build_model("tiny_transformer", sizes, TokenShape(T, Vocabulary(V, 0, 1)), C, torch.Generator())


def hugging_face(kind: str) -> Callable[[], nn.Module]:
    """Makes a text classifier of transformers: bert, roberta, distilbert, gpt2, ..."""

    def make() -> nn.Module:
        import transformers

        sizes = {"vocab_size": V, "max_position_embeddings": T}
        of_kind: dict[str, dict[str, Any]] = {
            "roberta": {"max_position_embeddings": T + 2, **_COMMON},
            "distilbert": {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": HIDDEN, "num_labels": C},
            "gpt2": {
                **{"n_positions": T, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_inner": HIDDEN},
                **{"pad_token_id": 0, "num_labels": C},
            },
            "albert": {"embedding_size": 16, **_COMMON},
            "modernbert": {
                **dict.fromkeys(("pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id"), 0),
                **_COMMON,
            },
            "llama": {"pad_token_id": 0, **_COMMON},
            "gpt_neox": {"pad_token_id": 0, **_COMMON},
            "grouped": {"pad_token_id": 0, "num_key_value_heads": 2, **_COMMON},
        }
        name = "llama" if kind == "grouped" else kind
        config = transformers.AutoConfig.for_model(name, **{**sizes, **of_kind.get(kind, _COMMON)})
        network: nn.Module = transformers.AutoModelForSequenceClassification.from_config(config)
        return network

    return make


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "own": own,
    "torch": TorchEncoder,
    "torch, norm first": lambda: TorchEncoder(norm_first=True),
    "torch, time first": lambda: TorchEncoder(batch_first=False),
    "listed": lambda: Block(Listed(WIDTH, HEADS)),
    "joint": lambda: Block(Joint(WIDTH, HEADS)),
    "head by head": lambda: Block(HeadByHead(WIDTH, HEADS)),
    **{
        kind: hugging_face(kind)
        for kind in (
            *("bert", "roberta", "distilbert", "albert", "deberta-v2", "modernbert"),
            *("gpt2", "gpt_neox", "llama", "grouped"),
        )
    },
}
FOREIGN = set(list(MAKERS)[list(MAKERS).index("bert") :])
"""Those that need transformers."""


@torch.no_grad()
def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draws all parameters anew, in place, so that none is zero or one."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        scale = 1.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.5
        parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) + (parameter.ndim < 2) * 0.6)
    return model.eval()


def texts(n: int = 12, seed: int = 0) -> Samples:
    """Random texts of 2 to T tokens, with labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, V, (n, T), generator=generator, dtype=torch.int32)
    lengths = torch.randint(2, T + 1, (n,), generator=generator, dtype=torch.int32)
    lengths[0] = T
    ids[torch.arange(T) >= lengths[:, None]] = 0
    return Samples(ids, torch.randint(C, (n,), generator=generator), lengths, Vocabulary(V, 0, 1))


def example() -> Inputs:
    """One text of padding tokens, as the first trial of a study has it."""
    return token_inputs(torch.zeros(1, T, dtype=torch.int32), torch.full((1,), T))


@torch.no_grad()
def logits(model: nn.Module, x: Inputs) -> Tensor:
    """A network's answers without torch's shortcut in evaluation, (n, C)."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        found: Tensor = logits_in(answered(model.eval(), x))
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    return found


def removed(model: nn.Module, method: str, samples: Samples | None = None, **options: Any) -> Compressed:
    """Half of the units of a network for texts are removed."""
    compressor = COMPRESSORS.get(method)
    given: Any = CompressionContext(
        example(), torch.Generator(), lambda *_: None, nn.Module, samples=samples or texts()
    )
    return compressor.compress(model, validated(compressor.Options, {"sparsity": 0.5, **options}, method), given)


def groups_of(made: Compressed) -> list[dict[str, Any]]:
    """The groups in the record of a removal."""
    found: list[dict[str, Any]] = json.loads(made.structure)["groups"]
    return found

"""Which tensors are weight matrices, each once; what shares them, what computes them, and what is left whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.compression.layer_sizes import layer_table, weight_counts
from pruneaudit.compression.matrices import counted_weights, matrices
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.core.errors import UserError

# B batch, F features


class Upwards(nn.Module):
    """Most weights are in a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 32, 4, stride=2, padding=1)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.up(self.conv(x).relu()).relu().mean((2, 3)))
        return logits


class Attentive(nn.Module):
    """Most weights are in an attention's own projections; positions and a class token are added."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.positions, self.first = nn.Parameter(torch.randn(1, 4, 16)), nn.Parameter(torch.randn(1, 1, 16))
        self.attention, self.norm = nn.MultiheadAttention(16, 4, batch_first=True), nn.LayerNorm((16,))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions + self.first
        logits: Tensor = self.head(self.norm(x + self.attention(x, x, x)[0]).mean(1))
        return logits


class Reading(nn.Module):
    """A table of embeddings, a recurrent layer, a bilinear one, and a matrix of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.memory = nn.Embedding(30, 6), nn.LSTM(6, 5, batch_first=True)
        self.pairs, self.mixing = nn.Bilinear(5, 5, 8), nn.Parameter(torch.randn(8, 4))
        self.scale = nn.Parameter(torch.randn(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        last = self.memory(self.words(x))[0][:, -1]  # (B, 5)
        logits: Tensor = (self.pairs(last, last).relu() @ self.mixing) * self.scale.T
        return logits


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = nn.Linear(20, 16, bias=False), nn.Linear(20, 16, bias=False)
        self.dec.weight = self.enc.weight
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.enc(x), self.dec(x.flip(1))], 1).relu())
        return logits


def zeros_of(tensors: list[Tensor]) -> float:
    """By hand: the fraction of zeros."""
    return sum(int((tensor == 0).sum()) for tensor in tensors) / sum(tensor.numel() for tensor in tensors)


EXPECTED = {
    Upwards: {"conv.weight", "up.weight", "head.weight"},
    Attentive: {"patches.weight", "attention.in_proj_weight", "attention.out_proj.weight", "head.weight"},
    Reading: {"memory.weight_ih_l0", "memory.weight_hh_l0", "pairs.weight", "mixing"},
    Tied: {"enc.weight", "head.weight"},
}
EXAMPLES = {
    Upwards: torch.randn(2, 3, 8, 8),
    Attentive: torch.randn(2, 3, 8, 8),
    Reading: torch.randint(30, (2, 7)),
    Tied: torch.randn(2, 20),
}


@pytest.mark.parametrize("method", ["l1unstructured", "random:scope=layerwise", "static"])
@pytest.mark.parametrize("make", EXPECTED)
def test_what_is_said_to_be_zero_is_zero_of_all_weight_matrices(make: type[nn.Module], method: str) -> None:
    torch.manual_seed(0)
    pruned = pruneaudit.compress(make(), method, 0.8, example=EXAMPLES[make])
    parameters = dict(pruned.model.named_parameters())
    by_hand = zeros_of([parameters[name] for name in EXPECTED[make]])
    assert pruned.sparsity == pytest.approx(by_hand) == pytest.approx(0.8, abs=0.01)
    assert pruned.sparsity_all == pytest.approx(zeros_of(list(parameters.values())))
    assert pruned.masks is not None
    assert set(pruned.masks) == EXPECTED[make]
    assert zeros_of([value for name, value in parameters.items() if name not in EXPECTED[make]] or [torch.ones(1)]) < 1
    assert pruned.model(EXAMPLES[make]).isfinite().all()


def test_what_is_left_whole_is_named_with_the_reason() -> None:
    whole = pruneaudit.compress(Attentive(), "l1unstructured:exclude=['patches']", 0.5).summary["left_whole"]
    assert {row["name"]: row["weights"] for row in whole} == {"patches": 768, "positions": 64, "first": 16}
    assert {row["name"]: row["why"] != "" for row in whole} == {"patches": False, "positions": True, "first": True}
    (words,) = (
        row
        for row in pruneaudit.compress(Reading(), "l1unstructured", 0.5).summary["left_whole"]
        if row["name"] == "words"
    )
    assert "embeddings" in words["why"] and words["weights"] == 180


def test_tables_of_embeddings_are_pruned_and_counted_where_they_are_asked_for() -> None:
    pruned = pruneaudit.compress(Reading(), "l1unstructured:layers=with_embeddings", 0.8)
    parameters = dict(pruned.model.named_parameters())
    assert pruned.masks is not None
    assert set(pruned.masks) == EXPECTED[Reading] | {"words.weight"}
    assert pruned.sparsity == pytest.approx(zeros_of([parameters[name] for name in pruned.masks]))
    assert pruned.sparsity == pytest.approx(0.8, abs=0.01)


def test_projections_of_other_widths_are_matrices_and_added_vectors_are_not() -> None:
    attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=6, add_bias_kv=True)
    assert set(counted_weights(attention)) == {"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"}
    cell = nn.ModuleDict({"cell": nn.GRUCell(3, 4), "norm": nn.LayerNorm((3, 4)), "act": nn.PReLU(3)})
    assert set(counted_weights(cell)) == {"cell.weight_ih", "cell.weight_hh"}


def test_excluding_an_attention_covers_what_is_in_it() -> None:
    model = Attentive()
    left = set(prunable_weights(model, ["attention"]))
    assert left == {"patches.weight", "head.weight"}
    assert set(prunable_weights(model, ["attention.in_proj_weight"])) == EXPECTED[Attentive] - {
        "attention.in_proj_weight"
    }
    assert set(prunable_weights(Reading(), ["mixing"])) == EXPECTED[Reading] - {"mixing"}
    assert set(prunable_weights(Upwards(), only="convolutions")) == {"conv.weight", "up.weight"}


# ------------------------------------------------------------------ shared


def test_a_shared_tensor_is_one_tensor() -> None:
    model = Tied()
    assert [(matrix.name, matrix.aliases) for matrix in matrices(model)] == [
        ("enc.weight", ("dec.weight",)),
        ("head.weight", ()),
    ]
    counts = weight_counts(model)
    assert (counts["parameters"], counts["prunable_weights"]) == (320 + 165, 320 + 160)
    assert [(row.name, row.shared_with) for row in layer_table(model)] == [("enc", ("dec",)), ("head", ())]


@pytest.mark.parametrize("name", ["enc", "dec", "dec.weight"])
def test_excluding_a_shared_tensor_by_any_of_its_names_leaves_it_alone(name: str) -> None:
    model = Tied()
    pruned = pruneaudit.compress(model, f"l1unstructured:exclude=['{name}']", 0.5)
    assert torch.equal(pruned.model.dec.weight, model.dec.weight)  # type: ignore[union-attr, arg-type]
    assert pruned.sparsity == pytest.approx(80 / 480)


def test_a_shared_tensor_stays_shared_and_comes_back_from_disk_once(tmp_path: object) -> None:
    torch.manual_seed(0)
    pruned = pruneaudit.compress(Tied(), "l1unstructured", 0.6)
    folder = pruned.save(f"{tmp_path}/pruned")
    again = pruneaudit.load_compressed(Tied, folder)
    for model in (pruned.model, again.model):
        assert model.dec.weight is model.enc.weight
    x = torch.randn(3, 20)
    assert torch.equal(again.model(x), pruned.model(x))
    assert (folder / "model.safetensors").stat().st_size < 4 * 485 + 600
    assert pruned.summary["after"]["bytes"] == 4 * 485


def test_channels_of_shared_layers_stay() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, 8), nn.ReLU(), Tied2(), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)
    )
    with pytest.warns(UserWarning, match=r"2\.one.*2\.other"):
        pruned = pruneaudit.compress(model, "l1structured", 0.2, example=(20,))
    assert pruned.model[2].one.weight is pruned.model[2].other.weight  # type: ignore[index, union-attr]
    assert pruned.sparsity > 0.1
    assert {"2.one"} <= {row["name"] for row in pruned.summary["left_whole"]}


class Tied2(nn.Module):
    """Two layers with one weight, in the middle of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 12), nn.Linear(8, 12)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.one(x) + self.other(x.flip(1))
        return summed


def test_a_shared_table_of_embeddings_stays_a_table() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(30, 6), "head": nn.Linear(6, 30), "other": nn.Linear(4, 4)})
    model["head"].weight = model["words"].weight
    assert set(prunable_weights(model)) == {"other.weight"}
    assert set(prunable_weights(model, only="with_embeddings")) == {"words.weight", "other.weight"}


# ------------------------------------------------------------------ computed


def _older(make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(nn.Linear(20, 8))


def _masked() -> nn.Module:
    layer = nn.Linear(20, 8)
    torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.25)
    return layer


COMPUTED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "weight_norm": ("weight_norm", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(20, 8))),
    "spectral_norm": ("spectral_norm", lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(20, 8))),
    "orthogonal": ("orthogonal", lambda: nn.utils.parametrizations.orthogonal(nn.Linear(20, 8))),
    "older weight_norm": ("weight_norm", lambda: _older(nn.utils.weight_norm)),
    "older spectral_norm": ("spectral_norm", lambda: _older(nn.utils.spectral_norm)),
    "torch's pruning": ("torch.nn.utils.prune", _masked),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_computed_weight_is_refused_by_name_and_the_advice_works(kind: str) -> None:
    by, make = COMPUTED[kind]
    torch.manual_seed(0)
    model = nn.Sequential(make(), nn.ReLU(), nn.Linear(8, 5))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        pruneaudit.compress(model, "l1unstructured", 0.5)
    said = str(caught.value)
    assert "'0.weight'" in said and f"{by} computes it" in said and "exclude layer '0'" in said

    pruned = pruneaudit.compress(model, "l1unstructured:exclude=['0']", 0.5)
    masked = 40 if by == "torch.nn.utils.prune" else 0
    assert pruned.sparsity == pytest.approx((20 + masked) / 200)
    assert pruned.summary["after"]["macs"] == 20 * 8 + 8 * 5
    for part in (model, pruned.model):  # counting has changed neither
        assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items() if name[0] == "0")

    call = said.partition("or call ")[2].removesuffix(" first")
    eval(call, {"torch": torch, "model": model})  # noqa: S307  # the very line that was said
    assert pruneaudit.compress(model, "l1unstructured", 0.5).sparsity == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["weight_norm", "older weight_norm"])
def test_channels_around_a_computed_weight_can_go(kind: str, tmp_path: object) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        hidden = (nn.ReLU(), nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 5))
        return nn.Sequential(COMPUTED[kind][1](), *hidden)

    with pytest.warns(UserWarning, match="kept whole: 0: ") as told:
        pruned = pruneaudit.compress(build(), "l1structured", 0.2, example=(20,))
    assert pruned.summary["kept_whole"] == [str(told.pop().message)]
    assert pruned.sparsity == pytest.approx(0.2, abs=0.05)
    assert "computed by weight_norm" in [row["why"] for row in pruned.summary["left_whole"]]
    again = pruneaudit.load_compressed(build, pruned.save(f"{tmp_path}/pruned"))
    x = torch.randn(3, 20)
    assert torch.equal(again.model.eval()(x), pruned.model.eval()(x))


def test_masks_over_filters_take_a_shared_convolution_once_and_refuse_a_computed_one() -> None:
    first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    second.weight = first.weight
    model = nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    pruned = pruneaudit.compress(model, "l1structured:preset=mia_prune", 0.5)
    assert pruned.masks is not None
    assert set(pruned.masks) == {"0.weight", "0.bias", "1.bias"}
    assert int((pruned.model[1].weight.flatten(1) == 0).all(1).sum()) == 2  # type: ignore[index, union-attr]
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(UserError, match=r"'0\.weight' .*weight_norm computes it"):
        pruneaudit.compress(model, "l1structured:preset=mia_prune", 0.5)

"""Initialisation of a module's parameters."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from sktorch.modules import MLP, ConvNet, RecurrentNet, initialize
from sktorch.modules._initialization import INITIALIZERS

# Names that take a matrix, a convolution's weight, or either.
TAKE_BOTH = sorted(set(INITIALIZERS) - {"dirac", "eye", "sparse"})


def changed(module, initializer):
    """Names of the parameters that ``initialize`` changes."""
    before = {name: value.clone() for name, value in module.named_parameters()}
    assert initialize(module, initializer) is module
    return {
        name for name, value in module.named_parameters() if not torch.equal(value, before[name])
    }


def test_names_are_those_of_torch():
    names = {name[:-1] for name in dir(nn.init) if name.endswith("_") and name[0] != "_"}
    assert set(INITIALIZERS) == names - {"constant"}
    assert {"xavier_uniform", "kaiming_normal", "orthogonal", "trunc_normal"} <= set(INITIALIZERS)


@pytest.mark.parametrize("initializer", TAKE_BOTH)
@pytest.mark.parametrize(
    ("module", "weights"),
    [
        (MLP(5, 3, (4, 6), normalization="batch"), {"1.weight", "4.weight", "7.weight"}),
        (ConvNet((1, 8, 8), 3, (4,), normalization="layer"), {"0.weight", "5.weight"}),
        (nn.Linear(5, 3), {"weight"}),
        (nn.Embedding(5, 3), {"weight"}),
        (nn.Bilinear(5, 3, 2), {"weight"}),
        (nn.ConvTranspose1d(4, 3, 2), {"weight"}),
        (nn.GRUCell(3, 2), {"weight_ih", "weight_hh"}),
        (nn.MultiheadAttention(4, 2), {"in_proj_weight", "out_proj.weight"}),
        (
            RecurrentNet((None, 3), 2),
            {"recurrent.weight_ih_l0", "recurrent.weight_hh_l0", "head.1.weight"},
        ),
    ],
)
def test_a_name_sets_weights_only(module, weights, initializer):
    assert changed(copy.deepcopy(module), initializer) == weights


@pytest.mark.parametrize(
    ("initializer", "layer"),
    [("eye", nn.Linear(4, 3)), ("sparse", nn.Linear(20, 3)), ("dirac", nn.Conv2d(2, 3, 3))],
)
def test_names_for_one_kind_of_layer(initializer, layer):
    reference = copy.deepcopy(layer.weight.data)
    more = {"sparsity": 0.1} if initializer == "sparse" else {}
    torch.manual_seed(0)
    initialize(layer, initializer)
    torch.manual_seed(0)
    INITIALIZERS[initializer](reference, **more)
    assert torch.equal(layer.weight.data, reference)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("gelu", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        (lambda: nn.LeakyReLU(0.5), math.sqrt(2 / 1.25)),
        (nn.PReLU, math.sqrt(2 / (1 + 0.25**2))),
        ("tanh", 5 / 3),
        ("sigmoid", 1.0),
        ("selu", 3 / 4),
        ("identity", 1.0),
    ],
)
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_gain_of_the_activation_that_follows(activation, gain, normalization):
    module = MLP(200, 150, (300,), activation, dropout=0.1, normalization=normalization)
    hidden, output = module[1].weight, module[-1].weight
    for name, spread in [("xavier_normal", math.sqrt(2 / 500)), ("kaiming_normal", 200**-0.5)]:
        initialize(module, name)
        assert hidden.std().item() == pytest.approx(gain * spread, rel=0.02)
    assert output.std().item() == pytest.approx(300**-0.5, rel=0.02)
    initialize(module, "orthogonal")
    columns = hidden.T @ hidden
    torch.testing.assert_close(columns, gain**2 * torch.eye(200), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output @ output.T, torch.eye(150), rtol=1e-3, atol=1e-4)
    initialize(module, {"1.weight": "kaiming_uniform"})
    assert hidden.abs().max().item() == pytest.approx(gain * math.sqrt(3 / 200), rel=0.01)


def test_gain_of_convolutions_and_recurrent_layers():
    convolution = initialize(ConvNet((20, 50), 2, (100,)), "kaiming_normal")[0].weight
    assert convolution.std().item() == pytest.approx(math.sqrt(2 / 60), rel=0.05)
    module = initialize(RecurrentNet((None, 3), 50, 50, activation="relu"), "kaiming_normal")
    recurrent, head = module.recurrent.weight_hh_l0, module.head[-1].weight
    assert recurrent.std().item() == pytest.approx(50**-0.5, rel=0.05)
    assert head.std().item() == pytest.approx(50**-0.5, rel=0.05)


def test_an_activation_used_twice_counts_twice():
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(200, 200), relu, nn.Linear(200, 200), relu, nn.Linear(200, 2))
    initialize(module, "xavier_normal")
    for layer in module[0], module[2]:
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 200), rel=0.03)


def test_activations_called_as_functions_leave_torchs_gain():
    module = nn.ModuleList([nn.Linear(200, 200), nn.Linear(200, 200)])
    for layer in initialize(module, "kaiming_normal"):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 200), rel=0.03)


@pytest.mark.parametrize(
    "patterns",
    [
        {"*.weight": "kaiming_normal", "*.bias": "zeros"},
        {"*weight": nn.init.kaiming_normal_, "*": "zeros"},
        {"1.weight": "ones", "[!1].weight": "normal", "?.bias": partial(nn.init.constant_, val=7)},
    ],
)
def test_patterns(patterns):
    module = MLP(4, 3, (5,))
    assert changed(module, patterns) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert set(module[1].bias.tolist()) in ({0.0}, {7.0})


def test_what_no_pattern_matches_stays():
    assert changed(MLP(4, 3), {"1.*": "zeros"}) == {"1.weight", "1.bias"}
    assert changed(MLP(4, 3), {}) == set()


def test_the_first_pattern_counts_and_none_leaves():
    module = MLP(4, 3, (5,), normalization="layer")
    names = changed(module, {"2.*": None, "*.weight": "orthogonal"})
    assert names == {"1.weight", "4.weight"}
    assert changed(module, None) == set()


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("name", ["orthogonal", "xavier_uniform", "kaiming_normal", "sparse"])
def test_patterns_of_matrices_leave_the_vectors_of_normalization(name, normalization):
    module = MLP(4, 3, (5, 6), normalization=normalization)
    patterns = {"*.weight": name, "*.bias": "ones"}
    scales = {"2.weight", "5.weight"}
    assert changed(module, patterns) == dict(module.named_parameters()).keys() - scales
    assert {*module[2].weight.tolist(), *module[5].weight.tolist()} == {1.0}


@pytest.mark.parametrize("pattern", ["weight", "*weight", "*.weight", "w*"])
def test_patterns_match_the_modules_own_parameters(pattern):
    assert changed(nn.Linear(4, 3), {pattern: "ones"}) == {"weight"}


def double(tensor):
    return tensor * 2


@pytest.mark.parametrize("function", [double, lambda tensor: tensor.mul_(2)])
def test_functions_in_place_or_not(function):
    module = MLP(4, 3)
    before = module[1].weight.clone()
    initialize(module, function)
    assert torch.equal(module[1].weight, 2 * before)
    assert module[1].weight.requires_grad
    assert module[1].weight.is_leaf


def test_a_shared_weight_is_set_once():
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    module[1].weight = module[0].weight
    before = module[0].weight.clone()
    assert torch.equal(initialize(module, double)[0].weight, 2 * before)
    assert torch.equal(initialize(module, {"1.weight": double})[0].weight, 4 * before)


def test_padding_of_an_embedding_stays_zero():
    weight = initialize(nn.Embedding(5, 4, padding_idx=2), "normal").weight
    assert weight[2].abs().max() == 0
    assert weight[[0, 1, 3, 4]].abs().min() > 0


def test_seed_decides_and_equals_a_hand_written_initialisation():
    torch.manual_seed(3)
    module = initialize(MLP(4, 3, (5,)), "kaiming_uniform")
    torch.manual_seed(3)
    reference = MLP(4, 3, (5,))
    nn.init.kaiming_uniform_(reference[1].weight, nonlinearity="relu")
    nn.init.kaiming_uniform_(reference[3].weight, nonlinearity="linear")
    for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_stays(dtype):
    module = initialize(MLP(4, 3, dtype=dtype), "xavier_uniform")
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}


def weight_norm():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("module", "initializer", "error", "message"),
    [
        (MLP(4, 3), "kaiming_norml", ValueError, "not known.*Did you mean 'kaiming_normal'?"),
        (MLP(4, 3), "kaiming_normal_", ValueError, "Did you mean 'kaiming_normal'?"),
        (MLP(4, 3), {"*": "zero"}, ValueError, "initializer='zero' .*Did you mean 'zeros'?"),
        (MLP(4, 3), "constant", ValueError, r"needs a value: give functools.partial"),
        (MLP(4, 3), 0.5, TypeError, "initializer=0.5 must be a name from torch.nn.init"),
        (MLP(4, 3), {"*": 1}, TypeError, "initializer=1 must be a name"),
        (
            MLP(4, 3),
            {"*.wieght": "zeros"},
            ValueError,
            r"'\*.wieght' sets no parameter.*\['1.weight', '1.bias'",
        ),
        (MLP(4, 3), {"*": "zeros", "*.bias": "ones"}, ValueError, r"'\*.bias' sets no parameter"),
        (
            MLP(4, 3),
            {"*": "xavier_normal"},
            ValueError,
            r"'xavier_normal' can't initialise '1.bias' of shape \(100,\).* fewer than 2 dim",
        ),
        (ConvNet((1, 8, 8), 3), "dirac", ValueError, "'dirac' can't initialise '7.weight' of"),
        (ConvNet((1, 8, 8), 3), "eye", ValueError, "'eye' can't initialise '0.weight' of shape"),
        (MLP(4, 3), lambda tensor: torch.ones(2), ValueError, r"returned shape \(2,\) for '1.w"),
        (nn.LazyLinear(3), "zeros", ValueError, "'weight' is lazy and has no shape yet. Call"),
        (nn.BatchNorm1d(3), "zeros", ValueError, "finds no weights of linear"),
        (nn.ReLU(), "zeros", ValueError, "finds no weights"),
        (weight_norm(), "zeros", ValueError, r"parametrizations.weight.original0'.*makes a weight"),
    ],
)
def test_wrong_initializers(module, initializer, error, message):
    with pytest.raises(error, match=message):
        initialize(module, initializer)

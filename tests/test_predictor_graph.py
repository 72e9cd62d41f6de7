"""Graphs of predictors and their execution in torch."""

import numpy as np
import pytest
import torch
from predictors_graphs import every_operation, residual_cnn

from channels.errors import InvalidArgumentError
from ris.predictors.graph import OPERATIONS, Graph, GraphBuilder, Node, Shape
from ris.predictors.module import Network

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def maps(*axes, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(axes).astype(np.float32))


def randomized(network, seed=1):
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0.2, 0.3, value.shape).astype(np.float32) for name, value in network.arrays().items()
    }
    network.load_arrays({n: np.abs(v) if n.endswith("variance") else v for n, v in arrays.items()})
    return network.eval()


def test_shapes_parameters_and_products_of_the_reference_network():
    graph = residual_cnn()
    assert graph.shapes(4, 16, 16)[graph.nodes[-1].name] == Shape(1, 2, 16, 16)
    conv, gates = 32 * 32 * 9 + 32, 2 * 32 * 8 + 40
    assert sum(int(np.prod(s)) for s in graph.parameters().values()) == 13 * 32 * 9 + 32 + 4 * (
        3 * conv + gates
    ) + (4 * 32 * 9 + 4)
    products = graph.products(4, 16, 16)
    assert products["conv_1"] == 4 * 256 * 13 * 32 * 9
    assert graph.bit_operations(4, 16, 16) == 1024 * sum(products.values())
    eight = dict.fromkeys(products, (8, 8))
    assert 16 * graph.bit_operations(4, 16, 16, eight) == graph.bit_operations(4, 16, 16)


def test_the_test_graph_has_every_operation():
    assert {node.op for node in every_operation().nodes} == set(OPERATIONS)


@pytest.mark.parametrize(("graph", "size"), [(residual_cnn(8, 2), (16, 16)), (every_operation(), (4, 6))])
def test_results_have_the_shape_that_the_graph_says(graph, size):
    network = randomized(Network(graph, 0, *size))
    made = network(maps(2, 3, graph.input_channels, *size))
    assert tuple(made.shape[1:]) == tuple(graph.shapes(3, *size)[graph.nodes[-1].name])
    assert torch.isfinite(made).all()


def test_the_reference_network_begins_with_the_steering_of_its_input():
    network = Network(residual_cnn(8, 1))
    with torch.no_grad():
        for value in network.own(network.graph["head"]).values():
            value.zero_()
        x = maps(2, 4, 13, 8, 8)
        torch.testing.assert_close(network(x), x[:, :, :2].sum(1, keepdim=True))


def test_residual_blocks_begin_as_the_identity():
    net = GraphBuilder(4)
    net.residual(net.input, net.squeeze_excite(net.add_node("batch_norm", net.conv(net.input, 4)), 4, 2))
    x = maps(2, 1, 4, 5, 5)
    torch.testing.assert_close(Network(net.graph()).eval()(x), x)


@pytest.mark.parametrize(("graph", "size"), [(residual_cnn(8, 2), (8, 8)), (every_operation(), (4, 6))])
def test_users_are_a_symmetric_axis(graph, size):
    x = maps(2, 4, graph.input_channels, *size)
    network = randomized(Network(graph, 0, *size))
    order = [2, 0, 3, 1]
    made, permuted = network(x), network(x[:, order])
    torch.testing.assert_close(permuted, made if made.shape[1] == 1 else made[:, order], rtol=1e-5, atol=1e-5)


def test_one_seed_one_network():
    a, b, c = (Network(residual_cnn(8, 1), seed).arrays() for seed in (1, 1, 2))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["conv_1/weight"], c["conv_1/weight"])
    spread = np.std(Network(residual_cnn(64, 1), 3).arrays()["conv_1/weight"])
    assert spread == pytest.approx(np.sqrt(2 / (13 * 9)), rel=0.05)


def test_batch_normalisation_is_that_of_torch():
    net = GraphBuilder(3)
    net.add_node("batch_norm", net.input, name="norm")
    ours, theirs = Network(net.graph()), torch.nn.BatchNorm2d(3)
    for seed in range(3):
        x = maps(4, 2, 3, 5, 5, seed=seed) * 2 + 1
        torch.testing.assert_close(ours(x).flatten(0, 1), theirs(x.flatten(0, 1)))
    torch.testing.assert_close(ours.own(ours.graph["norm"])["variance"], theirs.running_var)
    torch.testing.assert_close(ours.own(ours.graph["norm"])["mean"], theirs.running_mean)


def test_a_constant_channel_has_no_variance():
    net = GraphBuilder(1)
    net.add_node("batch_norm", net.input, name="norm")
    network = Network(net.graph())
    for _ in range(200):
        network(torch.full((2, 1, 1, 3, 3), 1234.5))
    left = network.own(network.graph["norm"])["variance"]
    assert 0 <= float(left) < 1e-6


def neighbours(values, row, column, hops):
    rows, columns = values.shape
    return [
        values[i, j] for i in range(rows) for j in range(columns) if abs(i - row) + abs(j - column) <= hops
    ]


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_local_operations_see_the_elements_within_their_hops(hops):
    x = maps(1, 1, 1, 4, 5)
    net = GraphBuilder(1)
    net.add_node(
        "concat", *[net.add_node(f"neighbour_{op}", net.input, hops=hops) for op in ("max", "median")]
    )
    largest, median = Network(net.graph())(x)[0, 0].numpy()
    for i in range(4):
        for j in range(5):
            near = sorted(neighbours(x[0, 0, 0].numpy(), i, j, hops))
            assert largest[i, j] == near[-1]
            assert median[i, j] == near[(len(near) - 1) // 2]


def test_top_k_ranks_what_is_there_and_fills_with_zeros():
    x = maps(1, 1, 2, 3, 4) - 3  # all negative: a missing neighbour must not outrank one that is there
    net = GraphBuilder(2)
    net.add_node("top_k", net.input, k=6)
    made = Network(net.graph())(x)[0, 0].numpy().reshape(2, 7, 3, 4)
    for c in range(2):
        for i in range(3):
            for j in range(4):
                values = x[0, 0, c].numpy()
                around = [
                    values[k, m]
                    for k in range(max(0, i - 1), min(3, i + 2))
                    for m in range(max(0, j - 1), min(4, j + 2))
                    if (k, m) != (i, j)
                ]
                wanted = [*sorted(around, reverse=True), *[0.0] * 6][:6]
                np.testing.assert_array_equal(made[c, :, i, j], [values[i, j], *wanted])


def test_rank_convolution_is_a_sum_over_channels_and_ranks():
    net = GraphBuilder(6)
    net.add_node("rank_conv", net.input, channels=4, kernel=2, ranks=3, name="ranks")
    network = randomized(Network(net.graph()))
    x = maps(2, 1, 6, 3, 3)
    own = network.own(network.graph["ranks"])
    wanted = (
        torch.stack(
            [
                torch.einsum("ock,buckhw->buohw", own["weight"], x.unflatten(2, (2, 3))[:, :, :, r : r + 2])
                for r in range(2)
            ],
            3,
        ).flatten(2, 3)
        + own["bias"].repeat_interleave(2)[:, None, None]
    )
    torch.testing.assert_close(network(x), wanted)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "1 to 4096 nodes"),
        ((Node("a", "relu", ()),), "1 to 1 inputs"),
        ((Node("x", "input", (), {"channels": 1}), Node("y", "input", (), {"channels": 1})), "the one input"),
        (
            (Node("x", "input", (), {"channels": 1}), Node("a", "relu", ("b",)), Node("b", "relu", ("a",))),
            "earlier",
        ),
        ((Node("x", "input", (), {"channels": 1}), Node("a", "relu", ("a",))), "earlier"),
        ((Node("x", "input", (), {"channels": 1}), Node("x", "relu", ("x",))), "names that differ"),
        ((Node("x", "input", (), {"channels": 1}), Node("a/b", "relu", ("x",))), "letters, digits"),
        ((Node("x", "input", (), {"channels": 1}), Node("a", "explode", ("x",))), "an operation of"),
        ((Node("x", "input", (), {"channels": True}),), "a whole number"),
        ((Node("x", "input", (), {"channels": 2**31}),), "a whole number"),
        ((Node("x", "input", (), {}),), "attributes"),
    ],
)
def test_bad_graphs_are_refused(nodes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Graph(nodes)


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("conv", {"channels": 4, "kernel": 2, "groups": 1}, "odd kernel"),
        ("conv", {"channels": 4, "kernel": 3, "groups": 3}, "groups"),
        ("slice", {"start": 2, "stop": 9}, "start < stop"),
        ("pixel_shuffle", {"factor": 3}, "divisible"),
        ("flatten", {"rows": 9, "columns": 8}, "9 x 8"),
        ("unflatten", {"rows": 2, "columns": 2}, "pooled"),
        ("top_k", {"k": 9}, "1 to 8"),
        ("rank_conv", {"channels": 4, "kernel": 5, "ranks": 4}, "ranks"),
        ("neighbour_max", {"hops": 0}, "hops"),
        ("repeat", {"factor": 2**20}, "2\\^31"),
        ("repeat", {"factor": 0}, "2\\^31"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op, attributes, message):
    net = GraphBuilder(4)
    net.add_node(op, net.input, **attributes)
    with pytest.raises(InvalidArgumentError, match=message):
        net.graph().shapes(2, 8, 8)
    with pytest.raises(InvalidArgumentError, match="axes"):
        Network(residual_cnn(4, 1))(maps(1, 2, 5, 8, 8))

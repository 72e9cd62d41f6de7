"""Graphs that tests of the predictors share."""

from ris.predictors.graph import Graph, GraphBuilder


def residual_cnn(channels: int = 32, blocks: int = 4, inputs: int = 13, kernel: int = 3) -> Graph:
    """Return the reference network: residual blocks with squeeze-and-excitation, and a steering combination.

    With the outputs w of the last convolution and the first input channels a, both sums over users,
    c + j s = sum (1 + w0 + j w1) (a0 + j a1) + (w2 + j w3) (a2 + j a3).
    """
    net = GraphBuilder(inputs)
    state = net.conv(net.input, channels, kernel)
    for _ in range(blocks):
        common = net.conv(net.add_node("mean_users", state), channels, kernel)
        inner = net.relu(net.add_node("add", net.conv(state, channels, kernel), common))
        branch = net.squeeze_excite(net.conv(inner, channels, kernel), channels, max(2, channels // 4))
        state = net.residual(state, branch)
    weights = net.conv(net.relu(state), 4, kernel, name="head")
    w = [net.add_node("slice", weights, start=i, stop=i + 1) for i in range(4)]
    a = [net.add_node("slice", net.input, start=i, stop=i + 1) for i in range(4)]

    def product(one: str, other: str) -> str:
        return net.add_node("mul", one, other)

    real = net.add_node("sub", product(w[0], a[0]), product(w[1], a[1]))
    real = net.add_node("add", real, net.add_node("sub", product(w[2], a[2]), product(w[3], a[3])), a[0])
    imaginary = net.add_node("add", product(w[0], a[1]), product(w[1], a[0]))
    imaginary = net.add_node("add", imaginary, product(w[2], a[3]), product(w[3], a[2]), a[1])
    net.add_node("sum_users", net.add_node("concat", real, imaginary))
    return net.graph()


def one_adder(channels: int, out: int, kernel: int = 3, normalised: bool = False) -> Graph:
    """Return a network of one adder."""
    net = GraphBuilder(channels)
    made = net.adder(net.input, out, kernel, name="adder")
    if normalised:
        net.add_node("batch_norm", made)
    return net.graph()


def every_operation() -> Graph:
    """Return a graph with every operation, for surfaces of 4 x 6."""
    net = GraphBuilder(3)
    a = net.add_node("batch_norm", net.conv(net.input, 6))
    b = net.conv(a, 6, 3, groups=2)
    local = [net.add_node("gain", b)]
    local += [net.add_node("gain", net.add_node("neighbour_median", b, hops=h)) for h in (1, 2)]
    local += [net.add_node("gain", net.add_node("neighbour_max", b, hops=1))]
    local += [net.add_node("batch_norm", net.adder(b, 6))]
    c = net.add_node("add", *local)
    ranked = net.add_node("top_k", net.relu(c), k=4)
    ranked = net.add_node("rank_conv", ranked, channels=5, kernel=3, ranks=5)
    ranked = net.add_node("rank_conv", ranked, channels=4, kernel=3, ranks=3)
    users = net.add_node("concat", net.add_node("mean_users", a), net.add_node("max_users", a))
    users = net.add_node("concat", users, net.add_node("sum_users", a), ranked)
    gated = net.squeeze_excite(net.add_node("symmetric_conv", users, channels=8, kernel=3), 8, 4)
    flat = net.conv(net.add_node("flatten", gated, rows=4, columns=6), 48, 1)
    grid = net.add_node("unflatten", net.add_node("tanh", flat), rows=4, columns=6)
    fine = net.add_node("repeat", net.add_node("slice", grid, start=1, stop=2), factor=2)
    shuffled = net.add_node("pixel_shuffle", net.conv(gated, 8, 1), factor=2)
    net.add_node("mul", net.add_node("sub", shuffled, fine), net.add_node("other_surface", fine))
    return net.graph()

"""Networks whose channels learn at one pace."""

import numpy as np
import torch
from predictors_graphs import residual_cnn
from test_compress_saq import maps_for, network_of

from ris.predictors.compress.rescaled import SIZE, RescaledNetwork
from ris.predictors.folding import fold_batch_norms
from ris.predictors.model import CONVOLUTIONS
from ris.predictors.module import Network

GRAPH, ARRAYS = fold_batch_norms(residual_cnn(8, 1), network_of(residual_cnn(8, 1), (6, 6)).arrays())
CONVOLVED = [node for node in GRAPH if node.op in CONVOLUTIONS]


def uneven():
    """A network with channels of sizes from 1/100 to 1, and one of zeros."""
    network, rng = Network(GRAPH, 0, 6, 6).eval(), np.random.default_rng(0)
    arrays = dict(ARRAYS)
    for node in CONVOLVED:
        weight = arrays[f"{node.name}/weight"]
        sizes = (10 ** rng.uniform(-2, 0, len(weight))).astype(np.float32)
        sizes[-1] *= node.name != "conv_3"
        arrays[f"{node.name}/weight"] = weight * sizes.reshape(-1, *[1] * (weight.ndim - 1))
    network.load_arrays(arrays)
    return network


def test_nothing_that_is_executed_changes():
    network = uneven()
    made = RescaledNetwork(network).eval()
    for node in GRAPH:
        for short, value in network.own(node).items():
            torch.testing.assert_close(made.own(node)[short], value, rtol=0, atol=0)
    maps = maps_for(GRAPH, (6, 6))
    torch.testing.assert_close(made(maps), network(maps), rtol=0, atol=0)


def test_all_channels_have_about_one_size():
    made, seen = RescaledNetwork(uneven()), 0
    for node in CONVOLVED:
        size = getattr(made, f"{node.name}/weight").detach().square().flatten(1).mean(1).sqrt()
        left = size[size > 0]
        assert len(left) == len(size) - (node.name == "conv_3")
        assert torch.all((left >= SIZE / 2**0.51) & (left <= SIZE * 2**0.51))
        seen += len(left)
    assert seen > 20


def test_a_step_of_adam_moves_all_channels_alike():
    rate = 1e-3

    def moved(network):
        """Change of each channel's weights over its size, least and most."""
        before = [network.own(node)["weight"].detach().clone().flatten(1) for node in CONVOLVED]
        optimiser = torch.optim.Adam(network.parameters(), rate)
        # A gradient that is nowhere 0, as its size does not matter to Adam.
        sum((network.own(node)["weight"] * torch.pi).sum() for node in CONVOLVED).backward()
        optimiser.step()
        after = [network.own(node)["weight"].detach().flatten(1) for node in CONVOLVED]
        both = zip(before, after, strict=True)
        shares = torch.cat([(b - a).norm(dim=1) / a.norm(dim=1) for a, b in both])
        return shares[shares.isfinite()].aminmax()

    even, plain = moved(RescaledNetwork(uneven())), moved(uneven())
    assert even.min > rate / SIZE / 2**0.51 * 0.99
    assert even.max < rate / SIZE * 2**0.51 * 1.01
    assert plain.max > 20 * plain.min

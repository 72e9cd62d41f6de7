"""Networks of random numbers."""

import numpy as np

from ris.predictors.module import Network


def random_network(graph, size=(8, 8), seed=0):
    """Return a network of random numbers, deviations and scales above 1/2."""
    rng, network = np.random.default_rng(seed), Network(graph, 0, *size).eval()
    made = {}
    for name, value in network.arrays().items():
        spread = np.sqrt(2 / np.prod(value.shape[1:])) if value.ndim > 1 else 0.2
        made[name] = rng.normal(0, spread, value.shape).astype(np.float32)
        if name.endswith(("variance", "scale")):
            made[name] = np.abs(made[name]) + np.float32(0.5)
    network.load_arrays(made)
    return network

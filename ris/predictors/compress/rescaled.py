"""A network whose channels learn at one pace, whatever their size.

Adam moves all parameters about equally far, by the learning rate. Once normalisations are folded, the weights
of some layers are five to thirty times smaller than those of others, and a step that moves the large ones
little can overturn the small ones. So the output channel j of a convolution has the weights and the bias

    w_j = g_j v_j,   b_j = g_j c_j,

of which v and c are trained. g_j stays as it is: the power of two that brings the root mean square of v_j
nearest to `SIZE` to begin with. Powers of two change no number that is executed.
"""

import torch

from ris.predictors.graph import Node
from ris.predictors.model import CONVOLUTIONS
from ris.predictors.module import Network

__all__ = ["SIZE", "RescaledNetwork"]

SIZE = 0.1
"""About what weights begin a training with where a sum has 200 inputs."""


class RescaledNetwork(Network):
    """A network whose convolutions are trained as above.

    Parameters
    ----------
    network : Network
        Without normalisations; it is copied.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network.graph, 0, network.rows, network.columns)
        self.load_arrays(network.arrays())
        self._convolutions = {node.name for node in network.graph if node.op in CONVOLUTIONS}
        for name in self._convolutions:
            own = super().own(network.graph[name])
            ratio = own["weight"].detach().square().flatten(1).mean(1).sqrt() / SIZE
            # Weights that are all 0 stay as they are.
            gain = torch.where(ratio > 0, torch.exp2(torch.log2(ratio).round()), 1.0)
            self.register_buffer(f"{name}/gain", gain)
            with torch.no_grad():
                for value in own.values():
                    value.div_(self.gain(name, value))

    def own(self, node: Node) -> dict[str, torch.Tensor]:
        """Return the parameters of a node by their short names, as they are executed."""
        own = super().own(node)
        if node.name not in self._convolutions:
            return own
        return {short: value * self.gain(node.name, value) for short, value in own.items()}

    def gain(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Return the gains of a convolution, axes (channel, 1, ...) for weights, (channel,) for biases."""
        gain: torch.Tensor = getattr(self, f"{name}/gain")
        return gain.reshape(-1, *[1] * (value.ndim - 1))

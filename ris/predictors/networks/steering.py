"""The output that the networks on the element grid share: learned combinations of steering phasors."""

from ris.predictors.graph import GraphBuilder

__all__ = ["combine_steering"]


def combine_steering(to: GraphBuilder, of: str, kernel: int = 3) -> str:
    """Return real and imaginary part of sum over users of (1 + p_k) c_k + q_k c'_k at every element.

    c_k and c'_k are what steers user k's single and its double reflection, the first four channels of the
    input, and p_k and q_k come from `of` by a convolution: the network says how much of which path to steer
    where. That leaves it a smooth task; phasors themselves turn from element to element. Only the direction
    of the sum matters, so that nothing else would keep the weights from growing without bound, past what
    eight bits can tell apart: each has magnitudes up to 1.
    """
    weights = to.add_node("tanh", to.conv(of, 4, kernel))
    phasors = _channels(to, to.input, 0, 4)
    turned = to.add_node("concat", *(_channels(to, to.input, i, i + 1) for i in (1, 0, 3, 2)))
    straight, crossed = to.add_node("mul", weights, phasors), to.add_node("mul", weights, turned)
    even, odd = (
        to.add_node("add", *(_channels(to, straight, i, i + 1) for i in pair)) for pair in ((0, 2), (1, 3))
    )
    imaginary = to.add_node("add", *(_channels(to, crossed, i, i + 1) for i in range(4)))
    combined = to.add_node("concat", to.add_node("sub", even, odd), imaginary)
    return to.add_node("sum_users", to.residual(_channels(to, to.input, 0, 2), combined))


def _channels(to: GraphBuilder, of: str, start: int, stop: int) -> str:
    return to.add_node("slice", of, start=start, stop=stop)

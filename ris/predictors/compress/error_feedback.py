"""Codes of weights by error feedback: each mends what the ones before it broke.

Greedy path-following quantization (GPFQ; Lybrand and Saab, "A greedy algorithm for quantizing neural
networks", JMLR 22, 2021; with two paths, sparse and stochastic variants Zhang, Zhou and Saab, "Post-training
quantization for neural networks with provable guarantees", SIAM J. Math. Data Sci. 5(2), 2023, and Zhang and
Saab, "SPFQ", 2023). A neuron w meets inputs X (rows are samples) in the network of floats, and X' behind
layers that are quantized already. With the residual u = 0 at first and code c_t for weight w_t, t = 1, 2, ...

    v = u + w_t X_t,   c_t = clip(Q(<v, X'_t> / (s |X'_t|^2)), -top, top),   u = v - s c_t X'_t,

so that after the last weight u = X w - s X' c is the error of the neuron. With rounding, c_t = rint(w_t / s),
errors add up: |u|^2 / |X w|^2 is the same for any number of weights, while here it falls as m log(N) / N for
m samples of N Gaussian inputs.

Where errors of some samples matter more than those of others, inner products and norms have weights: <a, b>
is then the sum of h_i a_i b_i over samples i. That is ours.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from channels.checks import non_negative
from channels.draws import uniform
from channels.streams import Stream

__all__ = ["Rounding", "feed_back", "hard", "nearest", "soft", "stochastic"]

Real = NDArray[np.float64]

Rounding = Callable[[Real], Real]
"""From weights in units of the step, one for each neuron, to whole numbers: Q above."""


def nearest(x: Real) -> Real:
    """Return the nearest whole numbers, the even one of two."""
    return np.asarray(np.rint(x))


def soft(threshold: float) -> Rounding:
    """Return a rounding that first moves x towards 0 by a threshold, in steps, and so makes zeros."""
    least = non_negative("threshold", threshold)
    return lambda x: nearest(np.sign(x) * np.maximum(np.abs(x) - least, 0))


def hard(threshold: float) -> Rounding:
    """Return a rounding that sets x to 0 up to a threshold, in steps, and changes nothing beyond."""
    least = non_negative("threshold", threshold)
    return lambda x: np.where(np.abs(x) > least, nearest(x), 0.0)


def stochastic(stream: Stream) -> Rounding:
    """Return a rounding up with the probability of the fraction, and down otherwise: right on average.

    Its numbers are those of the stream one after the other: make one for each use.
    """
    column = -1

    def rounded(x: Real) -> Real:
        nonlocal column
        column += 1
        return np.asarray(np.floor(x + uniform(stream, x.size, 1, column)[0]))

    return rounded


def feed_back(
    weight: Real,
    exact: Real,
    rounded: Real,
    scale: Real,
    top: int,
    rounding: Rounding = nearest,
    importance: Real | None = None,
) -> tuple[Real, Real]:
    """Return the codes of neurons, and their residuals.

    Parameters
    ----------
    weight : ndarray, shape (neurons, N)
        Weights.
    exact, rounded : ndarray, shape (m, N)
        X and X' above.
    scale : ndarray, shape (neurons,)
        Step s of each neuron.
    top : int
        Largest code.
    rounding : callable
        Q above.
    importance : ndarray, shape (neurons, m), optional
        Weights h of the samples above, not negative; by default all are alike.

    Returns
    -------
    codes : ndarray, shape (neurons, N)
        Whole numbers from -top to top; 0 where X' has no such input.
    residual : ndarray, shape (neurons, m)
        X w - s X' c.
    """
    codes, residual = np.zeros(weight.shape), np.zeros((len(weight), len(exact)))
    columns = zip(exact.T.copy(), rounded.T.copy(), strict=True)
    for t, (x, x_rounded) in enumerate(columns):
        residual += weight[:, t, None] * x
        met = x_rounded[None] if importance is None else importance * x_rounded
        power = scale * (met @ x_rounded)
        inner = (residual * met).sum(1)
        wanted = np.divide(inner, power, out=np.zeros(len(weight)), where=power > 0)
        codes[:, t] = np.clip(rounding(wanted), -top, top)
        residual -= (scale * codes[:, t])[:, None] * x_rounded
    return codes, residual

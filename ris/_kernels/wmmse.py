"""Precoders of locally largest weighted sum rate, realization by realization."""

import math

import numpy as np
from numba import njit

__all__ = ["wmmse"]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def wmmse(
    coefficients, rates, iterations, converged, grams, products, weights, power, noise_power, most, tolerance
):
    r"""Raise the weighted sum rate by the iteration of weighted minimum mean square errors.

    Shi, Razaviyayn, Luo and He, "An iteratively weighted MMSE approach to distributed sum-utility
    maximization for a MIMO interfering broadcast channel", IEEE Trans. Signal Process. 59(9), 2011, for
    single-antenna users. All power is worth spending: at sum_j |v_j|^2 = P the noise power is s = noise_power
    sum_j |v_j|^2 / P, and SINRs with this s do not change when all v_j are scaled. So the precoders maximise
    sum_k a_k log(1 + SINR_k) without any constraint, and are scaled to the power P at the end; no multiplier
    has to be searched for (Zhao, Lu, Shi and Luo, "Rethinking WMMSE: can its complexity scale linearly with
    the number of BS antennas?", IEEE Trans. Signal Process. 71, 2023). In turn, with t_kj = h_k^H v_j,

        u_k = t_kk / (sum_j |t_kj|^2 + s),  w_k = 1 / (1 - conj(u_k) t_kk) = 1 + SINR_k,
        v_k = a_k w_k u_k (sum_j d_j h_j h_j^H + m I)^(-1) h_k,  d_j = a_j w_j |u_j|^2,
        m = noise_power sum_j d_j / P,

    each the minimum of sum_k a_k (w_k e_k - log w_k), e_k = |1 - conj(u_k) t_kk|^2 + |u_k|^2 (sum_{j != k}
    |t_kj|^2 + s), over its own variables, so that the weighted sum rate never falls. With G = H^H H and
    D = diag(d) the precoders are V = H X,

        X = D^(1/2) (D^(1/2) G D^(1/2) + m I)^(-1) diag(c),  c_k = (a_k w_k)^(1/2) u_k / |u_k|,

    and H^H V = G X: matrices of K rows, however many antennas there are.

    Parameters
    ----------
    coefficients : complex128 array, shape (B, K, K)
        Overwritten by X, scaled to the power P.
    rates : float64 array, shape (B,)
        Overwritten by the weighted sum rate, bit/s/Hz.
    iterations : int array, shape (B,)
        Overwritten by the number of iterations.
    converged : bool array, shape (B,)
        Overwritten by whether the last iteration met the tolerance.
    grams : complex128 array, shape (B, K, K)
        G.
    products : complex128 array, shape (B, K, K)
        H^H V of the precoders to start from, which have the power P.
    weights : float64 array, shape (K,)
        a_k >= 0.
    power, noise_power : float
        P and the noise power of a user, above zero.
    most : int
        Most iterations, at least 1.
    tolerance : float
        Relative rise of the weighted sum rate in an iteration at which to stop.
    """
    B, K, _ = grams.shape
    T, X, L = (
        np.empty((K, K), np.complex128),
        np.empty((K, K), np.complex128),
        np.empty((K, K), np.complex128),
    )
    w, root, c = np.empty(K), np.empty(K), np.empty(K, np.complex128)
    for t in range(B):
        G = grams[t]
        T[:] = products[t]
        spent = power
        rates[t] = _receive(w, root, c, T, weights, noise_power * spent / power)
        converged[t] = False
        for number in range(most):
            _transmit(X, L, G, root, c, noise_power / power)
            spent = 0.0
            for k in range(K):
                for j in range(K):
                    T[k, j] = 0.0
                    for i in range(K):
                        T[k, j] += G[k, i] * X[i, j]
                    spent += X[k, j].real * T[k, j].real + X[k, j].imag * T[k, j].imag
            before = rates[t]
            rates[t] = _receive(w, root, c, T, weights, noise_power * spent / power)
            iterations[t] = number + 1
            converged[t] = rates[t] - before <= tolerance * rates[t]
            if not rates[t] - before > tolerance * rates[t]:  # not a number, or converged
                break
        coefficients[t] = X * math.sqrt(power / spent)


@njit(cache=True, error_model="numpy", fastmath=False)
def _receive(w, root, c, T, weights, noise):
    # w, the roots of d, and c; returns the weighted sum rate.
    rate = 0.0
    for k in range(len(w)):
        own, others = abs(T[k, k]), noise
        for j in range(len(w)):
            if j != k:
                others += T[k, j].real ** 2 + T[k, j].imag ** 2
        w[k] = 1.0 + own * own / others
        weight = math.sqrt(weights[k] * w[k])
        root[k] = weight * own / (own * own + others)
        c[k] = T[k, k] * (weight / own) if own > 0.0 else 0.0
        rate += weights[k] * math.log2(w[k])
    return rate


@njit(cache=True, error_model="numpy", fastmath=False)
def _transmit(X, L, G, root, c, ratio):
    # X = R (R G R + m I)^(-1) diag(c), R = diag(root), m = ratio tr(R^2), by Cholesky's factor L.
    K = len(c)
    m = 0.0
    for k in range(K):
        m += ratio * root[k] * root[k]
    for k in range(K):
        for j in range(k + 1):
            entry = root[k] * G[k, j] * root[j]
            if j == k:
                entry += m
            for i in range(j):
                entry -= L[k, i] * L[j, i].conjugate()
            # A quotient of complex numbers would raise at zero; the diagonal keeps the reciprocals.
            L[k, j] = 1.0 / math.sqrt(entry.real) if j == k else entry * L[j, j].real
    for j in range(K):
        for k in range(K):
            X[k, j] = c[j] if k == j else 0.0
            for i in range(k):
                X[k, j] -= L[k, i] * X[i, j]
            X[k, j] *= L[k, k].real
        for k in range(K - 1, -1, -1):
            for i in range(k + 1, K):
                X[k, j] -= L[i, k].conjugate() * X[i, j]
            X[k, j] *= L[k, k].real
        for k in range(K):
            X[k, j] *= root[k]

"""Sweep a metric of your own over a grid, with as many realizations as the error bars need."""

import sys

import numpy as np

import channels
import ris
import studies


def sum_rate(draws, antennas, snr_db):
    """Instantaneous sum rates of two users that the BS sees through correlated Rayleigh fading."""
    correlation = channels.exponential_correlation(antennas, 0.5)
    system = ris.DoubleRIS(bs_user=channels.UserHop([1.0, 0.5], correlation))
    h = ris.draw_channels(system, realizations=draws.realizations, seed=draws.stream, first=draws.first)
    power = np.abs(np.einsum("nmk,nmj->nkj", h.conj(), h)) ** 2
    signal = np.einsum("nkk->nk", power)
    noise = np.sum(np.abs(h) ** 2, axis=(1, 2))[:, None] * 10 ** (-snr_db / 10)
    return np.sum(np.log2(1 + signal / (power.sum(-1) - signal + noise)), axis=1)


if __name__ == "__main__":
    axes = {"antennas": [4, 8, 16, 32], "snr_db": [0, 10]}
    out = sys.argv[1] if len(sys.argv) > 1 else None
    found = studies.sweep(sum_rate, axes, realizations=65_536, relative_half_width=0.005, out=out)
    for place, reason in np.ndenumerate(found.reasons):
        value, error = found.value[place], found.standard_error[place]
        where = f"{axes['antennas'][place[0]]:3} antennas, {axes['snr_db'][place[1]]:2} dB"
        print(f"{where}: {value:.3f} ± {error:.3f} ({reason})")

"""Plot closed-form and simulated rates of a double-RIS downlink over transmit power."""

import sys

import numpy as np
from matplotlib.figure import Figure

import channels
import ris

surface = channels.UniformPlanarArray(rows=6, columns=6, spacing=0.25)
R, RB = channels.isotropic_correlation(surface), channels.exponential_correlation(8, 0.5)
to_ris1, between = channels.Hop(1e-6, left=RB, right=R), channels.Hop(1e-4, left=R, right=R)
users, noise = channels.UserHop([1e-6, 5e-7], R), channels.VonMises(2.0)
system = ris.DoubleRIS(bs_ris1=to_ris1, ris1_ris2=between, ris2_user=users, phase_noise1=noise)
phases = ris.optimal_phases(system)
powers_dbm = np.arange(0, 41, 10)
powers = [{"power": 10 ** (dbm / 10), "noise_power": 10**-9.5} for dbm in powers_dbm]
closed = [ris.closed_form_rate(system, *phases, **p).sum() for p in powers]
found = [ris.simulate(system, *phases, realizations=2000, seed=1, **p).hardening_sum_rate for p in powers]
errors = [2.58 * estimate.standard_error for estimate in found]

figure = Figure()
axes = figure.subplots()
axes.plot(powers_dbm, closed, label="closed form")
axes.errorbar(powers_dbm, [e.value for e in found], errors, fmt="o", label="simulated, 99 % intervals")
axes.set(xlabel="Transmit power (dBm)", ylabel="Sum rate (bit/s/Hz)")
axes.legend()
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "rate.png")

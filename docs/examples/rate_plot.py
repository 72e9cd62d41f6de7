"""Plot closed-form and simulated rates of a double-RIS downlink over transmit power."""

import sys

import numpy as np
from matplotlib.figure import Figure

import channels
import ris

surface = channels.UniformPlanarArray(rows=6, columns=6, spacing=0.25)
R, RB = channels.isotropic_correlation(surface), channels.exponential_correlation(8, 0.5)
system = ris.DoubleRIS(
    bs_ris1=channels.Hop(1e-6, left=RB, right=R),
    ris1_ris2=channels.Hop(1e-4, left=R, right=R),
    ris2_user=channels.UserHop([1e-6, 5e-7], R),
    phase_noise1=channels.VonMises(2.0),
)
theta1, theta2 = ris.optimal_phases(system)
powers_dbm = np.arange(0, 41, 10)
axes = (figure := Figure()).subplots()
options = [{"power": 10 ** (dbm / 10), "noise_power": 10**-9.5} for dbm in powers_dbm]
axes.plot(
    powers_dbm,
    [ris.closed_form_rate(system, theta1, theta2, **o).sum() for o in options],
    label="closed form",
)
found = [
    ris.simulate(system, theta1, theta2, realizations=2000, seed=1, **o).hardening_sum_rate for o in options
]
errors = [2.58 * one.standard_error for one in found]
axes.errorbar(powers_dbm, [one.value for one in found], errors, fmt="o", label="simulated, 99 % intervals")
axes.set(xlabel="Transmit power (dBm)", ylabel="Sum rate (bit/s/Hz)")
axes.legend()
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "rate.png")

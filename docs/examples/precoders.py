"""Print ergodic sum rates of precoders and of what the BS knows, for a double-RIS downlink."""

import channels
import ris

surface = channels.UniformPlanarArray(rows=6, columns=6, spacing=0.25)
R, RB = channels.isotropic_correlation(surface), channels.exponential_correlation(8, 0.5)
hops = {"bs_ris1": channels.Hop(1.0, RB, R), "bs_ris2": channels.Hop(1.0, RB, R)}
users = {"ris1_user": channels.UserHop([1.0, 0.5, 0.2], R), "ris2_user": channels.UserHop([0.3, 0.5, 1.0], R)}
noise = channels.VonMises(2.0)
system = ris.DoubleRIS(**hops, **users, phase_noise1=noise, phase_noise2=noise)
phases = ris.optimal_phases(system)
knowledge = {
    "perfect": "perfect",
    "LMMSE": ris.LmmseCsi(length=3, power=1.0, noise_power=200.0),
    "LMMSE, gains alone": ris.LmmseCsi(length=3, power=1.0, noise_power=200.0, covariance="gain"),
    "least squares": ris.LsCsi(length=3, power=1.0, noise_power=200.0),
    "nominal": "nominal",
}
precoders = [ris.MRT(), ris.ZF(), ris.RZF(), ris.MMSE(), ris.WMMSE()]
settings = {"power": 10.0, "noise_power": 30.0, "realizations": 4000, "seed": 1}
print(f"{'sum rate, bit/s/Hz':20}", *(f"{type(precoder).__name__:>7}" for precoder in precoders))
for name, csi in knowledge.items():
    rates = [
        ris.simulate(system, *phases, csi=csi, precoder=p, **settings).ergodic_sum_rate for p in precoders
    ]
    print(f"{name:20}", *(f"{rate.value:7.3f}" for rate in rates))

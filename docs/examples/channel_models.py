"""Use the channel models alone: correlation, phase noise and random streams, without any RIS."""

import numpy as np

import channels
import ris

array = channels.UniformPlanarArray(rows=8, columns=8, spacing=0.25)
models = {
    "isotropic scattering": channels.isotropic_correlation(array),
    "scattering around 30 degrees": channels.local_scattering_correlation(array, np.pi / 6, 0.0, np.pi / 18),
}
for name, correlation in models.items():
    print(f"{name}: effective rank {correlation.effective_rank():.1f} of {array.size}")

law = channels.VonMises(2.0) + channels.QuantizationNoise(bits=2)
print(f"von Mises and quantization: mean of exp(i phase) {law.moment(1):.3f}")

system = ris.DoubleRIS(bs_user=channels.UserHop([1.0], models["isotropic scattering"]))
h = ris.draw_channels(system, realizations=1000, seed=channels.Stream(1, "example"))
print(f"mean gain {np.mean(np.sum(np.abs(h) ** 2, axis=1)):.1f}, expected {array.size}")

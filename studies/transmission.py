"""Powers in milliwatts, what the BS knows, and how it precodes."""

import dataclasses

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.csi import AnyCsi
from ris.precoders import Precoder
from studies.config.point import PowerModel
from studies.config.transmission import Transmission

__all__ = [
    "chosen_precoder",
    "consumption_w",
    "known_csi",
    "milliwatts",
    "noise_power_dbm",
    "power_and_noise",
]

LINEAR: dict[str, type[ris.MRT | ris.ZF | ris.RZF | ris.MMSE]] = {
    "mrt": ris.MRT,
    "zf": ris.ZF,
    "rzf": ris.RZF,
    "mmse": ris.MMSE,
}
"""Precoders with a normalisation and an allocation."""


def noise_power_dbm(transmission: Transmission) -> float:
    """Noise power at a user: as given, or k T B at 290 K times the noise figure."""
    if transmission.noise_power_dbm is not None:
        return transmission.noise_power_dbm
    bandwidth, figure = transmission.bandwidth_hz, transmission.noise_figure_db
    if bandwidth is None or figure is None:
        raise InvalidArgumentError(
            "transmission", "noise_power_dbm, or bandwidth_hz and noise_figure_db", "neither"
        )
    return channels.noise_power_dbm(bandwidth, figure)


def power_and_noise(transmission: Transmission) -> tuple[float, float]:
    """Transmit power and noise power at a user in milliwatts."""
    return milliwatts(transmission.power_dbm), milliwatts(noise_power_dbm(transmission))


def known_csi(transmission: Transmission) -> AnyCsi:
    """What the BS knows."""
    if transmission.csi == "perfect" or transmission.csi == "nominal":
        return transmission.csi
    pilots = transmission.pilots
    if pilots is None:
        raise InvalidArgumentError(
            "transmission", f"pilots, as csi = {transmission.csi!r} needs them", "none"
        )
    noise = noise_power_dbm(transmission) if pilots.noise_power_dbm is None else pilots.noise_power_dbm
    sent = (pilots.length, milliwatts(pilots.power_dbm), milliwatts(noise), pilots.of_users)
    return ris.LsCsi(*sent) if transmission.csi == "ls" else ris.LmmseCsi(*sent, pilots.covariance or "exact")


def chosen_precoder(transmission: Transmission) -> Precoder:
    """How the BS precodes."""
    if transmission.precoder == "wmmse":
        return ris.WMMSE()
    made = LINEAR[transmission.precoder]()
    return dataclasses.replace(
        made,
        normalisation=transmission.normalisation or made.normalisation,
        allocation=transmission.allocation or made.allocation,
    )


def milliwatts(dbm: float) -> float:
    """Power in milliwatts."""
    return float(10 ** (dbm / 10))


def consumption_w(model: PowerModel, power: float, system: ris.DoubleRIS) -> float:
    """Power consumption in watts: transmit power (milliwatts) over efficiency, BS, elements and users."""
    elements = system.elements1 + system.elements2
    fixed = model.bs_w + model.element_w * elements + model.user_w * system.users
    return power * 1e-3 / model.amplifier_efficiency + fixed

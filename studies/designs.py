"""The designs of the phase shifts that a study file can ask for."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

import channels
import ris
from studies.config.point import Phases
from studies.config.transmission import Transmission
from studies.transmission import power_and_noise

__all__ = ["phase_shifts"]


def phase_shifts(
    system: ris.DoubleRIS, phases: Phases, transmission: Transmission, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the phase shifts of both surfaces by the design of the study, for ideal elements.

    Designs know the phase noise, and neither other hardware nor interference at the surfaces.

    Parameters
    ----------
    system : ris.DoubleRIS
        The system.
    phases : Phases
        The design.
    transmission : Transmission
        Powers, for designs that maximise a rate.
    seed : int
        Seed of random phase shifts, and of random starts.

    Returns
    -------
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Empty for a surface that no path in use touches.
    """
    stream = channels.Stream(seed, "phases")
    ideal = channels.Hardware()
    system = dataclasses.replace(system, hardware1=ideal, hardware2=ideal, emi1=None, emi2=None)
    match phases.design:
        case "optimal":
            theta1, theta2 = ris.optimal_phases(system)
        case "steered":
            theta1, theta2 = ris.steered_phases(system, phases.user)
        case "uniform":
            theta1, theta2 = map(ris.uniform_phases, (system.elements1, system.elements2))
        case "random":
            theta1, theta2 = (
                ris.random_phases(elements, stream.child(surface))
                for surface, elements in enumerate((system.elements1, system.elements2), start=1)
            )
        case "predicted":
            power, noise_power = power_and_noise(transmission)
            return ris.predict_phases(  # with as many bits as asked for
                system,
                power=power,
                noise_power=noise_power,
                model=phases.model or "reference",
                bits=phases.bits,
            )
        case "gradient" | "alternating" | "coordinate" | "branch_and_bound":
            power, noise_power = power_and_noise(transmission)
            found = ris.design_phases(  # rounds on its own, with what the objective says
                system,
                power=power,
                noise_power=noise_power,
                method=phases.design,
                objective=phases.objective or "sum_rate",
                bits=phases.bits,
                seed=stream,
            )
            return found.theta1, found.theta2
    if phases.bits is not None:
        theta1, theta2 = (ris.quantize_phases(theta, phases.bits) for theta in (theta1, theta2))
    return theta1, theta2

"""Realizations of the channels in an HDF5 file, written block by block in bounded memory.

Layout, readable with plain h5py, MATLAB's h5read and Octave:

    /channels_real, /channels_imag   float64 (realization, antenna, user): channels h_k, column vectors
                                     towards the BS; user k receives h_k^H x. (MATLAB reverses the axes.)
    /theta1, /theta2                 float64 (element,), radians: phase shifts of the surfaces
    attributes                       title, scheme, the axes' values, seed, stream, power and noise power in
                                     dBm, versions, and the study file as text
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import channels
import ris
from studies.build import build
from studies.config import Study
from studies.files import replace_file
from studies.results import versions
from studies.transmission import noise_power_dbm

__all__ = ["export_channels"]

BLOCK_BYTES = 2**26
"""Memory that a block of channels may take."""


def export_channels(
    study: Study,
    path: Path,
    *,
    scheme: int,
    place: tuple[Any, ...],
    stream: channels.Stream,
    realizations: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Draw realizations of one point of a study into a file; the same that its simulation sees.

    Parameters
    ----------
    study : Study
        The study.
    path : Path
        The file; it appears when it is complete, in place of one that is there.
    scheme, place
        The point, as for `Study.point`.
    stream : channels.Stream
        Random numbers of the point.
    realizations : int
        Number of realizations.
    progress : callable, optional
        Called with the number of realizations written.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import h5py

    point = study.point(scheme, *place)
    system, theta1, theta2 = build(point, stream.seed)
    block = max(1, min(realizations, BLOCK_BYTES // (16 * system.antennas * system.users)))
    shape = (realizations, system.antennas, system.users)
    names = [key for one in study.dimensions() for key in one.keys]

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            parts = [
                file.create_dataset(f"channels_{part}", shape, "f8", chunks=(min(block, 1024), *shape[1:]))
                for part in ("real", "imag")
            ]
            file["theta1"], file["theta2"] = theta1, theta2
            file.attrs.update(
                {
                    "title": study.settings.title,
                    "scheme": study.schemes[scheme],
                    **{name: str(value) for name, value in zip(names, place, strict=True)},
                    "seed": stream.seed,
                    "stream": repr(stream),
                    "power_dbm": point.transmission.power_dbm,
                    "noise_power_dbm": noise_power_dbm(point.transmission),
                    "configuration": study.text,
                    **{f"version_{name}": version for name, version in versions().items()},
                }
            )
            for first in range(0, realizations, block):
                count = min(block, realizations - first)
                drawn = ris.draw_channels(
                    system,
                    theta1,
                    theta2,
                    realizations=count,
                    seed=stream,
                    first=first,
                    engine=point.simulation.engine,
                )
                parts[0][first : first + count], parts[1][first : first + count] = drawn.real, drawn.imag
                if progress is not None:
                    progress(first + count)

    replace_file(path, write)

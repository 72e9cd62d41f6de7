"""The command that writes realizations of channels."""

from pathlib import Path

from studies.cli.app import Count, Flag, Seed, app
from studies.cli.catalogue import find_study
from studies.errors import UsageError

__all__ = ["export_channels"]


@app.command
def export_channels(
    study: str,
    /,
    *,
    realizations: Count,
    out: Path,
    scheme: str | None = None,
    at: list[str] | None = None,
    seed: Seed | None = None,
    force: Flag = False,
) -> None:
    """Write realizations of the users' channels at one point of a study, in bounded memory.

    An HDF5 file for h5py, MATLAB and Octave: channels_real and channels_imag (realization, antenna, user),
    the phase shifts theta1 and theta2, and attributes. They are the realizations that `ris run` sees.

    Example: `ris export-channels power --realizations 1000 --out channels.h5`

    Example: `ris export-channels power --at 20 --scheme "all paths" --realizations 1000000 --out channels.h5`

    Parameters
    ----------
    study
        Name of a study (see `ris list`), or a TOML file.
    realizations
        Number of realizations.
    out
        The file.
    scheme
        Label of a scheme; the first one by default.
    at
        Value of each axis of the sweep, in their order; the first point by default.
    seed
        Seed of the random numbers, in place of the study's.
    force
        Overwrite a file that is there.
    """
    from studies.files import prepare_outputs
    from studies.realizations import export_channels as write_channels
    from studies.run import Plan

    loaded = find_study(study)
    if scheme is not None and scheme not in loaded.schemes:
        raise UsageError(f"--scheme: expected one of {', '.join(loaded.schemes)}, got {scheme!r}")
    plan = Plan.of(loaded, seed)
    places = {tuple(map(_typed, place)): place for place in loaded.places()}
    wanted = next(iter(places)) if at is None else tuple(map(_typed, at))
    if wanted not in places:
        raise UsageError(
            f"--at: expected values of the sweep, as {plan.where(places[next(iter(places))])}, got {at}"
        )
    prepare_outputs([out], force=force)
    write_channels(
        loaded,
        out,
        scheme=loaded.schemes.index(scheme or loaded.schemes[0]),
        place=places[wanted],
        stream=plan.stream(places[wanted]),
        realizations=realizations,
    )
    print(f"Written: {out}")


def _typed(value: object) -> object:
    """Numbers as numbers, all else as text: how a person gives the value of an axis."""
    try:
        return float(str(value))
    except ValueError:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

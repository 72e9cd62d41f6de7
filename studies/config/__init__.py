"""Study files: TOML, checked in full, with every fault named by its key.

A study file has a header (title, seed, realizations), one base system (`[system]`, `[transmission]`,
`[phases]`), axes (`[sweep]`), schemes to compare (`[[scheme]]`) and a picture (`[plot]`). A scheme, and then
the values of the axes, override keys of the base system; what results is checked like a file of its own, so a
scheme may change anything. The system has gains and correlations as given (`[system.gains]`), or those of a
drop of a scenario in metres (`[system.scenario]`); drops are one more axis, over which tables and pictures
show means.

Units stand in the names of the keys: spacings in wavelengths, phases in radians, `_deg` degrees, `_db`
decibel, `_m` metres. Directions are relative to the broadside of the array that they belong to, and positions
are in global axes.
"""

from studies.config.loading import load_study, parse_study
from studies.config.point import Point
from studies.config.study import Settings, Study
from studies.config.sweep import Dimension, dimensions_of, places_of

__all__ = [
    "Dimension",
    "Point",
    "Settings",
    "Study",
    "dimensions_of",
    "load_study",
    "parse_study",
    "places_of",
]

"""Study files: TOML, checked in full, with every fault named by its key.

A study file has a header (title, seed, realizations), one base system (`[system]`, `[transmission]`,
`[phases]`), one axis (`[sweep]`), schemes to compare (`[[scheme]]`) and a picture (`[plot]`). A scheme, and
then a value of the axis, override keys of the base system; what results is checked like a file of its own, so
a scheme may change anything.

Units stand in the names of the keys: spacings in wavelengths, phases in radians, `_deg` degrees, `_db`
decibel. Directions are relative to the broadside of the array that they belong to.
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

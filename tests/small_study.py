"""A study that takes a moment: two antennas, two users, 2 x 2 surfaces."""

import tomllib

TEXT = """
title = "A small study"
description = "For tests."
seed = 7
realizations = 400
quick_realizations = 100

[system]
links = ["direct", "single", "double"]

[system.bs]
antennas = 2
correlation = { law = "exponential", coefficient = 0.5 }

[system.surface1]
rows = 2
columns = 2
spacing = 0.25
correlation = { law = "isotropic" }
phase_noise = { law = "von_mises", concentration = 2.0 }

[system.surface2]
rows = 2
columns = 2
spacing = 0.25
correlation = { law = "isotropic" }
phase_noise = { law = "von_mises", concentration = 2.0 }

[system.users]
count = 2

[system.gains]
bs_ris1_db = 0
bs_ris2_db = -3
ris1_ris2_db = -3
ris1_user_db = [0, -3]
ris2_user_db = 0
bs_user_db = 0

[transmission]
power_dbm = 10
noise_power_dbm = 0

[phases]
design = "optimal"

[sweep]
axis = "power_dbm"
values = [-10, 0, 10]
quick_values = [0, 10]

[[scheme]]
label = "all"

[[scheme]]
label = "double"
set = { links = ["double"], phase_noise = { law = "none" } }

[plot]
x_label = "Transmit power"
x_unit = "dBm"
"""


def changed(*pairs):
    """The text with pieces replaced; every piece has to be there."""
    text = TEXT
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def base():
    return tomllib.loads(TEXT)

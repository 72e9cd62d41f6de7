"""A study of three drops of a scenario, with every kind of key."""

TEXT = """
title = "Drops"
seed = 4
realizations = 60
block_realizations = 30
[system]
links = ["direct", "single", "double"]
bs = { antennas = 2, spacing = 0.4 }
users = { count = 2 }
[system.surface1]
rows = 1
columns = 2
spacing = 0.25
phase_noise = { law = "von_mises", concentration = 2.0 }
[system.surface2]
rows = 2
columns = 2
spacing = 0.5
[system.scenario]
frequency_hz = 3.5e9
bs = { x_m = 0, y_m = 0, z_m = 10, pitch_deg = 5 }
surface1 = { x_m = 40, y_m = 20, z_m = 8, yaw_deg = -70, element = { exponent = 2 } }
surface2 = { x_m = 80, y_m = -30, z_m = 8, yaw_deg = 100, roll_deg = 3, element = { area = 0.2 } }
users = { law = "disc", x_m = 70, y_m = -5, z_m = 1.5, radius_m = 12 }
hop = { path_loss = { law = "umi" }, left_spread_deg = 10, right_spread_deg = [8, 4] }
bs_ris1 = { path_loss = { law = "free_space" }, line_of_sight = true }
ris1_ris2 = { path_loss = { law = "log_distance", exponent = 2.2, reference_db = 43, shadowing_db = 3 } }
bs_user = { path_loss = { law = "umi" }, line_of_sight = false, shadowing = false }
[transmission]
power_dbm = 30
bandwidth_hz = 20e6
noise_figure_db = 7
[phases]
design = "optimal"
[sweep]
axis = "power_dbm"
values = [10, 30]
drops = 3
quick_drops = 2
[[scheme]]
label = "all"
[[scheme]]
label = "direct"
set = { links = ["direct"] }
[plot]
x_label = "Power"
"""


def changed(*pairs):
    """The text with pieces replaced; every piece has to be there."""
    text = TEXT
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text

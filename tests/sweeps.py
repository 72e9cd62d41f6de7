"""Small studies for tests of runs."""

import subprocess
import sys

import numpy as np

STUDY = """
title = "A small study"
seed = 3
realizations = {realizations}
block_realizations = {block}
[system]
links = ["direct", "double"]
bs = {{ antennas = 2, correlation = {{ law = "identity" }} }}
users = {{ count = 2 }}
[system.surface1]
rows = 1
columns = 2
spacing = 0.5
correlation = {{ law = "exponential", coefficient = 0.9 }}
phase_noise = {{ law = "von_mises", concentration = 2.0 }}
[system.surface2]
rows = 1
columns = 2
spacing = 0.5
correlation = {{ law = "exponential", coefficient = 0.5 }}
[system.gains]
bs_ris1_db = 0
ris1_ris2_db = 0
ris2_user_db = 0
bs_user_db = 0
[transmission]
power_dbm = 10
noise_power_dbm = 0
[phases]
design = "optimal"
{more}
[[scheme]]
label = "noise"
[[scheme]]
label = "none"
set = {{ phase_noise = {{ law = "none" }} }}
[plot]
x_label = "Transmit power"
x_unit = "dBm"
"""

ONE_AXIS = '[sweep]\naxis = "power_dbm"\nvalues = [0, 10, 20]'
TWO_AXES = (
    '[sweep]\naxes = [{ axis = "power_dbm", values = [0, 10] }, { axis = "antennas", values = [2, 3] }]'
)
METRICS = "[metrics]\noutage_rate = 0.5\nsinr_quantiles = [0.05, 0.5]"
POWER_MODEL = "[power_model]\namplifier_efficiency = 0.4\nbs_w = 5\nelement_w = 0.01"


def study_text(*more, realizations=200, block=20):
    return STUDY.format(realizations=realizations, block=block, more="\n".join(more or [ONE_AXIS]))


def same_data(one, other):
    """Whether two results hold the same bits."""
    return (
        one.data.keys() == other.data.keys()
        and all(np.array_equal(value, other.data[key], equal_nan=True) for key, value in one.data.items())
        and np.array_equal(one.counts, other.counts)
        and np.array_equal(one.reasons, other.reasons)
        and one.fingerprint == other.fingerprint
    )


RUN = """
import sys
from pathlib import Path
from studies.config import load_study
from studies.errors import OutputError
from studies.run import run_study
if __name__ == "__main__":
    study, checkpoint, result, engine = sys.argv[1:]
    try:
        done = run_study(
            load_study(Path(study)), engine=engine, workers=2, checkpoint=Path(checkpoint),
            progress=lambda status: print(status.realizations, flush=True),
        )
    except OutputError as error:
        sys.exit(str(error))
    done.write(Path(result))
"""


def start_run(directory, study, engine="serial", **options):
    """Start the run of a study in a process of its own."""
    script = directory / "run.py"
    script.write_text(RUN)
    arguments = [study, directory / "run.partial", directory / "run.h5", engine]
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )

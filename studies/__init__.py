"""Studies: parameter sweeps of the double-RIS downlink, their figures and the ``ris`` command."""

from typing import TYPE_CHECKING, Any

# Loaded when asked for, so that `ris list` and `ris --help` answer at once.
if TYPE_CHECKING:
    from studies.config import load_study
    from studies.experiment import read_experiment, run_experiment
    from studies.metrics import register_metric
    from studies.results import read_result
    from studies.run import run_study
    from studies.sweeps import Draws, sweep

__all__ = [
    "Draws",
    "load_study",
    "read_experiment",
    "read_result",
    "register_metric",
    "run_experiment",
    "run_study",
    "sweep",
]

_HOMES = {
    "Draws": "sweeps",
    "load_study": "config",
    "read_experiment": "experiment",
    "read_result": "results",
    "register_metric": "metrics",
    "run_experiment": "experiment",
    "run_study": "run",
    "sweep": "sweeps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'studies' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"studies.{_HOMES[name]}"), name)

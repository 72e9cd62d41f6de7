"""The `ris` command."""

# These register their commands with the application.
from studies.cli import channels, checks, predictors, results, run, study_files
from studies.cli.app import app, main, run_command

__all__ = ["app", "channels", "checks", "main", "predictors", "results", "run", "run_command", "study_files"]

"""The `ris` command."""

# These register their commands with the application.
from studies.cli import channels, checks, results, run, study_files
from studies.cli.app import app, main, run_command

__all__ = ["app", "channels", "checks", "main", "results", "run", "run_command", "study_files"]

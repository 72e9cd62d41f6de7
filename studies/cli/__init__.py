"""The `ris` command."""

# These register their commands with the application.
<<<<<<< HEAD
from studies.cli import channels, checks, compare, results, run, study_files
from studies.cli.app import app, main, run_command

__all__ = ["app", "channels", "checks", "compare", "main", "results", "run", "run_command", "study_files"]
=======
from studies.cli import channels, checks, predictors, results, run, study_files
from studies.cli.app import app, main, run_command

__all__ = ["app", "channels", "checks", "main", "predictors", "results", "run", "run_command", "study_files"]
>>>>>>> networks

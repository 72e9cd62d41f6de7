"""The command line application, what its options have in common, and its exit codes."""

import signal
import sys
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from studies.errors import (
    CheckpointError,
    EngineError,
    OutputError,
    ResultFileError,
    StudyFileError,
    UsageError,
)

__all__ = ["FAILED_VERIFICATION", "Count", "Flag", "Seed", "app", "main", "run_command"]

BAD_INPUT, FAILED_VERIFICATION, INTERRUPTED = 2, 1, 128 + signal.SIGINT

app = App(
    name="ris",
    help="""Rates of the double-RIS multi-user MISO downlink: closed form against simulation.

    Begin with `ris list`, then `ris run power --quick`.
    """,
    help_format="markdown",
    version="",
    version_flags=[],
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)


Flag = Annotated[bool, Parameter(negative="")]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command.

    Returns
    -------
    int
        Exit code: 0, 1 if `ris verify` found a disagreement, 2 on bad input, 130 if interrupted.
    """
    try:
        return app(arguments) or 0
    except KeyboardInterrupt:
        print("ris: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not _is_mistake(error):
            raise
        print(f"ris: {error}", file=sys.stderr)
        return BAD_INPUT


def _is_mistake(error: Exception) -> bool:
    """Whether an error is about what the person gave, and not about this program."""
    from channels.errors import InvalidArgumentError
    from ris.predictors.model_file import ModelFileError
    from ris.predictors.state_file import StateFileError

    known = (
        CycloptsError,
        CheckpointError,
        EngineError,
        OutputError,
        ResultFileError,
        StudyFileError,
        UsageError,
    )
    return isinstance(error, (*known, InvalidArgumentError, ModelFileError, StateFileError, MemoryError))

"""Commands that check the package itself: verify and bench."""

import sys
from pathlib import Path
from typing import Literal

from studies.cli.app import FAILED_VERIFICATION, Count, Flag, Seed, app
from studies.cli.console import make_console, show_bar

__all__ = ["bench", "verify"]


@app.command
def verify(
    *, systems: Count = 200, seed: Seed = 1, realizations: Count = 100_000, threads: Count | None = None
) -> int:
    """Check the closed forms of random systems against simulation; the exit code is 1 if they disagree.

    Random sizes, complex covariances of random rank, path sets, laws of phase noise, phases and CSI. If every
    closed form is right it fails with probability 1e-6, whatever the number of systems. It also prints the
    smallest error that it would have found.

    Example: `ris verify --systems 20 --seed 7`

    Parameters
    ----------
    systems
        Number of random systems.
    seed
        Seed of the systems and of their simulations.
    realizations
        Fewest realizations of a system, at least 1000; systems of rare large gains take more.
    threads
        Threads of the simulation; all processors by default.
    """
    from studies import report
    from studies.verify import verify as verify_systems

    with show_bar("verify") as bar:
        found = verify_systems(
            systems=systems,
            seed=seed,
            realizations=realizations,
            threads=threads,
            progress=lambda share: bar(share, ""),
        )
    make_console().print(report.verification_table(found))
    return 0 if found.passed else FAILED_VERIFICATION


@app.command
def bench(
    what: Literal["engine", "design", "inference"] = "engine",
    /,
    *,
    quick: Flag = False,
    threads: Count | None = None,
    out: Path = Path("results"),
    force: Flag = False,
) -> None:
    """Measure how fast channels are drawn, how good designs of phase shifts are, or how fast predictors.

    engine: against NumPy, and against what this machine can do. Three tables, from runs that take turns: the
    engines against NumPy at the same law, with the share of the bound; time per realization by number of
    elements; thread scaling. Writes bench-engine.h5.

    design: every method on three systems. One table: sum rate, share of the best, time, gap to the bound.
    Writes bench-design.md.

    inference: the reference network on one core, in torch, onnxruntime and the runtime of the package. One
    table: time of a prediction and its ratio to torch. Needs the extra "test" for the first two. Writes
    bench-inference.md.

    Example: `ris bench engine --quick`

    Parameters
    ----------
    what
        What is measured.
    quick
        Fewer sizes and turns: a minute instead of several.
    threads
        Most threads of the engines; all processors by default.
    out
        Directory of the result file; made if it is not there.
    force
        Overwrite a result file that is there.
    """
    from studies.benchmarks import design, engine, inference
    from studies.files import prepare_outputs

    def progress(line: str) -> None:
        print(f"measuring {line}", file=sys.stderr, flush=True)

    path = out / ("bench-engine.h5" if what == "engine" else f"bench-{what}.md")
    prepare_outputs([path], force=force)
    result: engine.EngineBenchmark | design.DesignBenchmark | inference.InferenceBenchmark
    if what == "engine":
        result = engine.run(quick, threads, progress)
    else:
        result = (design if what == "design" else inference).run(quick, progress)
    print(result.text())
    result.write(path)
    print(f"Written: {path}")

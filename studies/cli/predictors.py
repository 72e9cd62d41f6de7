"""Commands about phase predictors: train."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from studies.cli.app import Count, Flag, Seed, app
from studies.cli.console import make_console, show_bar
from studies.errors import OutputError

__all__ = ["train"]


@app.command
def train(
    task: Literal["statistical", "instantaneous"],
    /,
    *,
    network: str = "se",
    seed: Seed = 0,
    side: Count = 8,
    steps: Count = 3000,
    batch: Count = 64,
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 3e-3,
    bits: Annotated[int, Parameter(validator=Number(gte=0, lte=8))] = 0,
    start: Path | None = None,
    out: Path | None = None,
    force: Flag = False,
) -> None:
    """Train a network that predicts the phases of both surfaces, on the exact rate; writes a model file.

    The same command gives the same weights on the same number of threads. OUT.partial keeps the state at
    every validation: after an interruption, run the command again to go on. Needs torch (`pip install
    double-ris[train]`), and computes on a GPU where torch sees one.

    Example: `ris train statistical --network se --seed 1 --out se8.h5`

    Example: `ris train statistical --network se --side 16 --start se8.h5 --steps 500 --batch 24 --rate 1e-3`

    Parameters
    ----------
    task
        statistical: directions, spreads and gains of the users in, for the exact hardening rate.
        instantaneous: noisy pilots in, for the rate of one channel.
    network
        mlp, cnn, cnn-wide, se, paired, gnn-median, gnn-max, gnn-relu, lgcl, unrolled1 to unrolled4, or
        ascent8, ascent16 or ascent32 (learned moves along the slopes of the rate).
    seed
        Of the first weights and of the systems of the training.
    side
        Rows and columns of both surfaces.
    steps
        Steps at most; the training ends earlier where validation does not rise.
    batch
        Systems a step.
    rate
        Highest learning rate.
    bits
        Phase resolution of the surfaces, 0 for continuous.
    start
        Model file to begin with, of the same network for another size, of the start of an unrolled one, or of
        an "se" for a "paired" one.
    out
        Model file; by default TASK-NETWORK-SIDE.h5. An unrolled network adds OUT-step.h5.
    force
        Start over, and overwrite a model that is there.
    """
    from ris.predictors.train import Recipe, measure, read_weights, save
    from ris.predictors.train import train as train_network

    recipe = Recipe(task, network, seed, side, steps, batch, rate, bits)
    target = out or Path(f"{task}-{network}-{side}.h5")
    partial = target.with_name(target.name + ".partial")
    if target.exists() and not force:
        raise OutputError(f"{target} is there already; --force overwrites it")
    if force:
        partial.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with show_bar(f"train {network}") as bar:
        trained = train_network(
            recipe,
            start=None if start is None else read_weights(start),
            checkpoint=partial,
            progress=lambda step, text: bar(step / steps, text),
        )
    measured = measure(recipe, trained.network)
    save(target, recipe, trained, measured)
    partial.unlink(missing_ok=True)
    splits = ", ".join(f"{split} {rate:.4f}" for split, rate in measured.items())
    make_console().print(f"{target}: mean sum rate {splits} bit/s/Hz")

"""Commands that make phase predictors: train and compress."""

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from studies.cli.app import Count, Flag, Seed, app
from studies.cli.console import make_console, show_bar
from studies.errors import UsageError
from studies.files import prepare_outputs

__all__ = ["compress", "train"]


@app.command
def train(
    task: Literal["statistical", "instantaneous", "instantaneous-corrupted"],
    /,
    *,
    network: str = "se",
    seed: Seed = 0,
    side: Count = 8,
    steps: Count = 3000,
    batch: Count = 64,
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 1.5e-3,
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
        instantaneous: noisy pilots in, for the rate of one channel; instantaneous-corrupted: bursts of
        interference hit 5 % of them.
    network
        mlp: a plain one, for one size of the surfaces. cnn, cnn-wide: convolutions on the element grid; se:
        with squeeze-and-excitation; paired: besides, surfaces that hear of each other; adder: se with sums of
        absolute differences in place of convolutions; se-16x2: se with 16 channels and 2 blocks, or others;
        separable, symmetric, crelu: with fewer weights, by depthwise-separable convolutions, kernels turned
        and flipped, or half the filters. gnn-median, gnn-max, gnn-relu: graph networks by their activation.
        lgcl: learnable graph convolution. unrolled1 to unrolled4: so many learned ascent steps behind se.
        ascent8, ascent16, ascent32: so many learned moves along the slopes of the rate, for the instantaneous
        task. Scale-recurrent networks for coarse maps are trained by `ris run claims/mixed_dense`.
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
    from ris.predictors.model_file import read_model
    from ris.predictors.train import Recipe, measure
    from ris.predictors.train import train as train_network
    from ris.predictors.weights import read_weights, recipes_of, save

    recipe = Recipe(task, network, seed, side, steps, batch, rate, bits)
    recipes = [recipe] if start is None else [*recipes_of(read_model(start)), recipe]
    target = out or Path(f"{task}-{network}-{side}.h5")
    partial = target.with_name(target.name + ".partial")
    _prepare(target, force)
    if force:
        partial.unlink(missing_ok=True)
    with show_bar(f"train {network}") as bar:
        trained = train_network(
            recipe,
            start=None if start is None else read_weights(start),
            checkpoint=partial,
            progress=bar,
        )
    measured = measure(recipe, trained.network)
    save(target, recipes, trained, measured)
    partial.unlink(missing_ok=True)
    splits = ", ".join(f"{split} {rate:.4f}" for split, rate in measured.items())
    make_console().print(f"{target}: mean sum rate {splits} bit/s/Hz")


@app.command
def compress(
    method: Literal[
        "rounding",
        "gpfq",
        "qat",
        "ternary",
        "saq",
        "adder",
        "pruning",
        "filter-pruning",
        "weight-sharing",
        "low-rank",
        "distil",
        "combined",
    ],
    /,
    *,
    model: str = "reference",
    bits: Annotated[float | None, Parameter(validator=Number(gte=2, lte=8))] = None,
    share: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    bytes: Count | None = None,
    factor: Annotated[float | None, Parameter(validator=Number(gt=1))] = None,
    steps: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    systems: Count = 1000,
    out: Path | None = None,
    force: Flag = False,
) -> None:
    """Make a trained network smaller: an integer model file, and what it still reaches.

    Prints rate, size and operations beside those of the network in floats, on the same systems. "packed" are
    the bytes of its numbers, "coded" those with weights as a Huffman code tells them, "file" those of the
    model file, where gzip codes them. The first and the last layers keep 8 bits, as do all results but for
    saq. Files whose names begin with that of OUT keep the state of what trains: after an interruption, run
    the command again to go on. Needs torch (`pip install double-ris[train]`).

    Example: `ris compress gpfq --bits 4`

    Example: `ris compress qat --model se8.h5 --bits 8`

    Example: `ris compress gpfq --model se8.h5 --bits 3.5 --out se8-int3.5.h5`

    Example: `ris compress ternary --model se8.h5`

    Example: `ris compress pruning --share 0.9`

    Example: `ris compress combined --model se8.h5 --bytes 16000`

    Example: `ris compress low-rank --model se8.h5 --factor 4`

    Parameters
    ----------
    method
        rounding: every weight to the nearest code. gpfq: error feedback, without training, from 256 systems;
        each code mends what those before it broke (Lybrand and Saab, 2021), as far as the output is sensitive
        to it. qat: every weight to the nearest code, and training on with the rounding in it; it takes
        minutes (Krishnamoorthi, 2018). Of a learned ascent it makes integers too. ternary: -1, 0 and 1, by
        training on in stages while more and more weights become zero; it takes minutes. saq: weights and
        inputs of so many bits, by training on at the worst weights nearby; it takes minutes too (Liu, Cai,
        Zhuang, 2021). adder: sums of absolute differences in place of most convolutions, trained anew as the
        network was, beside a teacher (Xu et al., 2020); it takes as long as two trainings. pruning: small
        weights become zero, by training on while more and more of them do (Zhu and Gupta, 2017).
        filter-pruning: small channels are removed, and what is left is trained on; fewer operations (Li et
        al., 2017). weight-sharing: few different weights in a layer, trained on together (Han, Mao, Dally,
        2016). low-rank: inner convolutions as products of smaller ones (Tucker decomposition; Kim et al.,
        2016), trained on. These four take minutes, with the network as their teacher. distil: a small
        network, trained anew, with the network as teacher (Hinton et al., 2015). combined: the best that a
        search finds among small networks that are taught, pruned and rounded, for a file of so many bytes; it
        takes as long as several trainings.
    model
        Name of a network that comes with the package, or a file that `ris train` wrote; in floats.
    bits
        Bits of a weight; 4 by default, always 2 if ternary, 8 after pruning, low-rank and distil, and 8
        beside adders, which have those of results; combined chooses them. A fraction is a mean: every layer
        gets 2, 3, 4, 6 or 8 bits, more where fewer change the phases most; not if layers become others. With
        weight-sharing a layer has so many different weights as these bits can tell, each of 8 bits.
    share
        Of the weights that become zero by pruning, 0.8 by default; of the products that filter-pruning saves,
        0.5 by default. No other method has one.
    factor
        How many times fewer weights the inner convolutions have by low-rank; 3 by default.
    bytes
        Of the file at most, for combined; 64000 by default.
    steps
        Of the training on: by qat 200 by default, 0 for none; by saq 1000; by ternary 100 in each of its
        stages; by pruning, filter-pruning, weight-sharing and low-rank 500.
    systems
        Fixed systems of each split, test and unseen geometry, on which the rates are means.
    out
        Model file; by default MODEL-intBITS-METHOD.h5.
    force
        Overwrite a file that is there.
    """
    if find_spec("torch") is None:
        raise UsageError("ris compress needs torch: pip install 'double-ris[train]'")
    from ris.predictors.checkpoints import forget
    from ris.predictors.compress.methods import compressed
    from ris.predictors.model import FloatModel
    from ris.predictors.model_file import encode_model, write_model
    from ris.predictors.zoo import load_predictor
    from studies.compression import compression_table

    source = load_predictor(model).model
    if not isinstance(source, FloatModel):
        raise UsageError(f"--model: expected a network in floats, got {model!r}, which is in integers")
    asked = "" if bits is None else f"{bits:g}"
    target = out or Path(f"{Path(model).stem}-int{asked}-{method}.h5")
    _prepare(target, force)
    own = {"share": share, "factor": factor, "most_bytes": bytes, "steps": steps}
    options: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    told = {"bits": bits, "share": share, "factor": factor, "bytes": bytes, "steps": steps}
    command = f"ris compress {method} --model {model}"
    command += "".join(f" --{name} {value:g}" for name, value in told.items() if value is not None)
    # What another command or another network has trained does not go on here.
    digest = sha256(command.encode() + encode_model(source)).hexdigest()[:16]
    partial = target.with_name(f"{target.name}.{digest}.partial")
    with show_bar(f"compress {method}") as bar:
        made = compressed(source, method, bits, command, systems, partial, bar, **options)
    write_model(made, target)
    forget(partial)
    console = make_console()
    console.print(compression_table({"float": source, target.stem: made}, systems))
    console.print(f"Written: {target}", soft_wrap=True)


def _prepare(target: Path, force: bool) -> None:
    """Make sure that a model file can be written, and found again by its name."""
    if target.suffix != ".h5":
        raise UsageError(f"--out: expected a name that ends in .h5, got {str(target)!r}")
    prepare_outputs([target], force=force)

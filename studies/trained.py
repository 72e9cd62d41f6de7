"""Networks that experiments train: kept in files, so that an experiment goes on where it was interrupted."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from channels.errors import InvalidArgumentError
from ris.progress import Progress, labelled, parts, tell_nothing
from studies.results import versions

# torch takes long to import, and only trainings need it.
if TYPE_CHECKING:
    from ris.predictors.compress.combined import Combination
    from ris.predictors.model import FloatModel, Model
    from ris.predictors.module import Network
    from ris.predictors.train import Predictor, Recipe

__all__ = [
    "FOLDER",
    "RATES",
    "compressed_integers",
    "compressed_network",
    "elements_left",
    "file_of",
    "float_model_of",
    "kept_model",
    "kept_network",
    "taught_network",
    "trained_combination",
    "trained_graph",
    "trained_integers",
    "trained_network",
    "trained_student",
]

FOLDER = Path("results") / "trained"
"""Where the networks are kept, in the working directory."""

RATES = Path("results") / "rates"
"""Where rates of fixed systems are kept: see `ris.predictors.compare.rates_of_ways`."""


def trained_network(recipes: "Sequence[Recipe]", progress: Progress = tell_nothing) -> "Predictor":
    """Train a network, or take it from `FOLDER` if it was trained before by the same packages.

    Parameters
    ----------
    recipes : sequence of Recipe
        Trainings one after the other, each beginning with the weights of the one before.
    progress : callable
        Told the share that is done, and the validations.
    """
    from ris.predictors.train import train
    from ris.predictors.weights import load, save

    if not recipes:
        raise InvalidArgumentError("recipes", "one recipe or more", "none")
    recipe, path = recipes[-1], file_of(recipes)
    if not path.exists():
        earlier, last = parts(progress, [elements_left(recipes[:-1]), _elements(recipe)])
        start = trained_network(recipes[:-1], earlier).state_dict() if len(recipes) > 1 else None
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        trained = train(
            recipe,
            start=start,
            checkpoint=partial,
            progress=labelled(last, recipe.network),
        )
        save(path, recipes, trained, {})
        partial.unlink(missing_ok=True)
    network = recipe.make_network()
    load(path, network)
    return network


def elements_left(recipes: "Sequence[Recipe]") -> int:
    """Return how many elements pass through trainings that no file keeps, as a measure of their time.

    Parameters
    ----------
    recipes : sequence of Recipe
        As for `trained_network`.
    """
    if not recipes or file_of(recipes).exists():
        return 0
    return _elements(recipes[-1]) + elements_left(recipes[:-1])


def _elements(recipe: "Recipe") -> int:
    return recipe.steps * recipe.batch * recipe.side**2


def trained_graph(recipes: "Sequence[Recipe]", progress: Progress = tell_nothing) -> "Network":
    """Train a network that is one graph, or take it from `FOLDER`: see `trained_network`."""
    from ris.predictors.module import Network

    network = trained_network(recipes, progress)
    if not isinstance(network, Network):
        raise InvalidArgumentError("recipes", "a network that is one graph", recipes[-1].network)
    return network


def trained_integers(
    recipes: "Sequence[Recipe]", tuning: "Recipe", progress: Progress = tell_nothing, **options: Any
) -> "Model":
    """Train the integers of a trained network, or take their model from `FOLDER`.

    Parameters
    ----------
    recipes : sequence of Recipe
        Trainings of the float network.
    tuning : Recipe
        Training in integers that follows.
    progress : callable
        Told the share that is done, and the validations.
    **options
        Of `ris.predictors.publish.calibrated`.
    """
    from ris.predictors.model_file import read_model, write_model
    from ris.predictors.publish import calibrated
    from ris.predictors.train import optimise

    path = file_of([*recipes, tuning], options)
    if not path.exists():
        earlier, last = parts(progress, [elements_left(recipes), _elements(tuning)])
        network, partial = trained_graph(recipes, earlier), path.with_suffix(".partial")
        quantized = calibrated(network, recipes[-1], **options)
        optimise(
            quantized,
            tuning,
            checkpoint=partial,
            progress=labelled(last, "integers"),
        )
        write_model(quantized.export(), path)
        partial.unlink(missing_ok=True)
    return read_model(path)


def compressed_integers(
    recipe: "Recipe", method: str, progress: Progress = tell_nothing, **options: Any
) -> "Model":
    """Compress a trained network to 8 bits; what the method trains is kept in `FOLDER`.

    Parameters
    ----------
    recipe : Recipe
        Training of the float network.
    method : str
        A key of `ris.predictors.compress.methods.METHODS`, of methods that train and have 8 bits by default.
    progress : callable
        Told the share that is done, and the validations.
    **options
        Of the method.
    """
    from ris.predictors.compress.methods import FLOATS, METHODS
    from ris.predictors.compress.rounding import rounded

    if method in FLOATS:
        return rounded(compressed_network(recipe, method, progress, **options), recipe, 8).export()
    followed = {"progress": labelled(progress, method), **options}
    return kept_model(
        file_of([recipe], method, options),
        lambda partial: METHODS[method](
            trained_graph([recipe]), recipe, checkpoint=partial, **followed
        ).export(),
    )


def compressed_network(
    recipe: "Recipe", method: str, progress: Progress = tell_nothing, **options: Any
) -> "Network":
    """Compress a trained network in floats, or take what that trains from `FOLDER`.

    Parameters
    ----------
    recipe, progress, **options
        As for `compressed_integers`.
    method : str
        A key of `ris.predictors.compress.methods.FLOATS`.
    """
    from ris.predictors.compress.methods import FLOATS

    followed = {"progress": labelled(progress, method), **options}
    return kept_network(
        file_of([recipe], method, options),
        lambda partial: FLOATS[method](trained_graph([recipe]), recipe, checkpoint=partial, **followed),
    )


def taught_network(recipe: "Recipe", progress: Progress = tell_nothing) -> "tuple[Network, Network]":
    """Train adders beside their teacher, or take both from `FOLDER`.

    Parameters
    ----------
    recipe : Recipe
        Training of both, of a network with adders.
    progress : callable
        Told the share that is done, and the validations.

    Returns
    -------
    student, teacher : Network
        As `ris.predictors.compress.adder.distil` returns them.
    """
    from ris.predictors.compress.adder import distil
    from ris.predictors.model_file import read_model, write_model
    from ris.predictors.module import Network

    path = file_of([recipe], "taught")
    files = {"teacher": path.with_name(f"{path.stem}-teacher.h5"), "student": path}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        made = distil(
            recipe,
            checkpoint=partial,
            progress=labelled(progress, "student"),
        )
        for name, file in files.items():
            write_model(float_model_of(getattr(made, name)), file)
        partial.unlink(missing_ok=True)
    models = [read_model(files[name]) for name in ("student", "teacher")]
    student, teacher = (Network(one.graph, 0, one.rows, one.columns).eval() for one in models)
    for network, model in zip((student, teacher), models, strict=True):
        network.load_arrays(model.arrays)
    return student, teacher


def trained_student(
    recipe: "Recipe", network: str, progress: Progress = tell_nothing, alpha: float | None = None
) -> "Network":
    """Train a small network with a teacher, or take it from `FOLDER`.

    Parameters
    ----------
    recipe : Recipe
        Training of the teacher; that of the student differs by the network.
    network : str
        Name of the student.
    progress : callable
        Told the share that is done, and the validations.
    alpha : float, optional
        As for `ris.predictors.compress.distillation.taught`; by default as there. With 0 it is
        `trained_graph` of the student.
    """
    from ris.predictors.compress.distillation import ALPHA, taught

    alpha = ALPHA if alpha is None else alpha
    student = dataclasses.replace(recipe, network=network)
    if alpha == 0:
        return trained_graph([student], progress).eval()
    path = file_of([recipe, student], {"alpha": alpha})
    earlier, last = parts(progress, [elements_left([recipe]), _elements(student)])
    if not path.exists():
        teacher = trained_graph([recipe], earlier)
    return kept_network(
        path,
        lambda partial: taught(
            teacher,
            student,
            alpha,
            checkpoint=partial,
            progress=labelled(last, f"student {network}"),
        ),
    )


def trained_combination(
    recipe: "Recipe", combination: "Combination", tuning: "Recipe", progress: Progress = tell_nothing
) -> "Model":
    """Make what a combination makes of a teacher, or take its model from `FOLDER`.

    Parameters
    ----------
    recipe : Recipe
        Training of the teacher, and but for the network of the student.
    combination : Combination
        How.
    tuning : Recipe
        Training as integers.
    progress : callable
        Told the share that is done, and the validations.
    """
    from ris.predictors.compress.combined import integers

    name = combination.network
    student = dataclasses.replace(recipe, network=name)
    tuning = dataclasses.replace(tuning, network=name)
    path = file_of([recipe, student, tuning], dataclasses.asdict(combination))
    first, second, last = parts(progress, [elements_left([recipe]), _elements(student), _elements(tuning)])
    if not path.exists():
        teacher = trained_graph([recipe], first)
        small = trained_student(recipe, name, second, combination.alpha)
    return kept_model(
        path,
        lambda partial: integers(
            small,
            teacher,
            student,
            tuning,
            combination,
            checkpoint=partial,
            progress=labelled(last, f"integers of {name}"),
        ).export(),
    )


def kept_model(path: Path, make: "Callable[[Path], Model]") -> "Model":
    """Make a model, or take it from its file.

    Parameters
    ----------
    path : Path
        As `file_of` returns it.
    make : callable
        Given a file for the state of its training (see `ris.predictors.train.optimise`), makes the model.
    """
    from ris.predictors.checkpoints import forget
    from ris.predictors.model_file import read_model, write_model

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        write_model(make(partial), path)
        forget(partial)
    return read_model(path)


def kept_network(path: Path, make: "Callable[[Path], Network]") -> "Network":
    """Train a network that is one graph, or take it from its file: see `kept_model`."""
    from ris.predictors.module import Network

    model = kept_model(path, lambda partial: float_model_of(make(partial)))
    network = Network(model.graph, 0, model.rows, model.columns).eval()
    network.load_arrays(model.arrays)
    return network


def float_model_of(network: "Network") -> "FloatModel":
    """Return the model of a network, without metadata."""
    from ris.predictors.model import FloatModel

    return FloatModel(network.graph, network.arrays(), network.rows, network.columns)


def file_of(recipes: "Sequence[Recipe]", *more: Any) -> Path:
    """Return the file of a network: its name tells the recipes, what else there is, and the packages."""
    made_by = json.dumps(
        [[dataclasses.asdict(recipe) for recipe in recipes], versions("torch"), *more], sort_keys=True
    )
    last = recipes[-1]
    digest = hashlib.sha256(made_by.encode()).hexdigest()[:16]
    return FOLDER / f"{last.task}-{last.network}-{last.side}-{last.seed}-{digest}.h5"

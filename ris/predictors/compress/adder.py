"""Adders in place of convolutions, taught by a network of convolutions that learns beside them.

Progressive kernel-based knowledge distillation (PKKD; Xu, Xu, Chen, Zhang, Xu and Wang, "Kernel based
progressive distillation for adder neural networks", NeurIPS 2020). The teacher is the student with
convolutions in place of its adders. It begins with the student's weights, learns the task alone, and moves on
with every step of the student, who follows what the teacher is now; nothing flows back to it. What adders and
convolutions make of an input x is of two kinds, a distance and a product, which kernels bring together:

    student  exp(-|x - w|_1 / (2 s^2)),    teacher  exp(x . w / t^2),

a Laplacian one, as adders weigh, and a Gaussian one but for the norms, as convolutions do. With learned s and
t, each through a learned map of its channels and normalised, their mean squared difference is what the
student lessens, layer by layer. With theta and phi what student and teacher set, its loss is

    task + ALPHA `distillation.disagreement` of theta and phi + BETA (mean difference of layers),

where `train.task_loss` is the first term.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from channels.checks import non_negative
from channels.errors import InvalidArgumentError
from ris.predictors.compress.distillation import disagreement
from ris.predictors.compress.rounding import rounded
from ris.predictors.graph import Graph
from ris.predictors.module import Network
from ris.predictors.networks.unrolled import as_phasors
from ris.predictors.quantize import QuantizedNetwork
from ris.predictors.task import Batch
from ris.predictors.train import Recipe, build, on_codebook, optimise, task_loss
from ris.progress import Progress, tell_nothing

__all__ = ["ALPHA", "BETA", "Distilled", "adders", "distil", "teacher_of"]

ALPHA, BETA = 0.1, 0.3
"""Weights of the teacher's phases and of its layers."""

WIDEST = math.log(16)
"""Logarithm of how far s^2 and t^2 go from where they begin: beyond, exponents overflow or all vanish."""

TINY = 1e-12
"""Added to variances of exponentials."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student and its teacher.

    Attributes
    ----------
    student, teacher : Network
        Both at the student's best validation.
    history : list of (int, float)
        Step and score of the student at all validations.
    """

    student: Network
    teacher: Network
    history: list[tuple[int, float]]


def adders(
    network: Network,
    recipe: Recipe,
    bits: int | Mapping[str, int] = 8,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> QuantizedNetwork:
    """Return integer adders that were trained as a network was, taught by a teacher.

    Parameters
    ----------
    network : Network
        Only its size counts: student and teacher begin together.
    recipe : Recipe
        What trained it.
    bits : int or mapping of str to int
        Of the weights of convolutions that are left, as for `QuantizedNetwork`; adders have the bits of their
        inputs.
    checkpoint, progress
        As for `train.optimise`.
    """
    recipe = dataclasses.replace(recipe, network="adder", side=network.rows)
    return rounded(distil(recipe, checkpoint=checkpoint, progress=progress).student, recipe, bits)


def distil(
    recipe: Recipe,
    alpha: float = ALPHA,
    beta: float = BETA,
    *,
    checkpoint: Path | None = None,
    progress: Progress = tell_nothing,
) -> Distilled:
    """Train a network of adders beside its teacher.

    Parameters
    ----------
    recipe : Recipe
        Training of a network with adders; the teacher's is the same.
    alpha, beta : float
        Weights in the loss above.
    checkpoint, progress
        As for `train.optimise`.
    """
    non_negative("alpha", alpha)
    non_negative("beta", beta)
    student = build(recipe.network, recipe.make_task().channels, recipe.side, recipe.seed)
    if not isinstance(student, Network):
        raise InvalidArgumentError("recipe", "one of a network with adders", repr(recipe.network))
    both = _Both(student, teacher_of(student), alpha, beta, recipe.bits)
    history = optimise(
        both, recipe, loss=both.loss, parts=both.parts, checkpoint=checkpoint, progress=progress
    )
    return Distilled(both.student.eval(), both.teacher.eval(), history)


def teacher_of(student: Network) -> Network:
    """Return a network with convolutions in place of adders, and the student's parameters.

    Weights that stood for positions become factors: over sqrt(entries / 2), as convolutions begin. The
    normalisations behind them see no difference.
    """
    replaced = [node.name for node in student.graph if node.op == "adder"]
    if not replaced:
        raise InvalidArgumentError("student", "a network with adders", "none")
    nodes = (
        dataclasses.replace(node, op="conv", attributes={**node.attributes, "groups": 1})
        if node.op == "adder"
        else node
        for node in student.graph
    )
    teacher = Network(Graph(tuple(nodes)), 0, student.rows, student.columns)
    arrays = student.arrays()
    for name in replaced:
        del arrays[f"{name}/scale"]
        arrays[f"{name}/weight"] *= math.sqrt(2 / arrays[f"{name}/weight"][0].size)
    teacher.load_arrays(arrays)
    return teacher


class _Both(nn.Module):
    """Student and teacher, and what compares their layers; as a network it is the student."""

    def __init__(self, student: Network, teacher: Network, alpha: float, beta: float, bits: int) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self._alpha, self._beta, self._bits = alpha, beta, bits
        matched = {node.name: node.attributes["channels"] for node in student.graph if node.op == "adder"}
        self.kernels = nn.ModuleDict({name: _Kernels(channels) for name, channels in matched.items()})

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """What moves on its own."""
        return self.student, self.teacher, self.kernels

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.student(maps)
        return output

    def loss(self, batch: Batch) -> Tensor:
        """Losses of student and teacher."""
        last = self.student.graph.nodes[-1].name
        ours, theirs = self.student.results(batch.maps), self.teacher.results(batch.maps)
        x, y = (on_codebook(as_phasors(made[last]), self._bits) for made in (ours, theirs))
        apart = [kernels(ours[name], theirs[name].detach()) for name, kernels in self.kernels.items()]
        taught = self._alpha * disagreement(x, y.detach()) + self._beta * torch.stack(apart).mean()
        return task_loss(x, batch) + task_loss(y, batch) + taught


class _Kernels(nn.Module):
    """How far what an adder and a convolution make of their inputs is apart, as kernels."""

    first: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("first", torch.zeros(2))
        self.wider = nn.Parameter(torch.zeros(2))
        self.maps = nn.Parameter(torch.eye(channels).repeat(2, 1, 1))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean squared difference of minus a distance and a product."""
        if not self.first.any():
            self.first.copy_(torch.stack([one.detach().abs().mean() for one in (student, teacher)]))
        s, t = self.first * torch.exp(self.wider.clamp(-WIDEST, WIDEST))
        made = [torch.exp(student * (0.5 / s)), torch.exp(teacher * (1 / t))]
        ours, theirs = (_normalised(one, mix) for one, mix in zip(made, self.maps, strict=True))
        return functional.mse_loss(ours, theirs)


def _normalised(maps: Tensor, mix: Tensor) -> Tensor:
    """Maps whose channels are mixed, with mean 0 and variance 1 in each."""
    mixed = functional.conv2d(maps.flatten(0, 1), mix[:, :, None, None])
    return functional.batch_norm(mixed, None, None, training=True, eps=TINY)

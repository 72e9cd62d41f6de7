"""A predictor as a graph of named operations: one description for training, export and the runtime.

Tensors have axes (batch, user, channel, row, column). What all users have in common has a user axis of 1,
what is pooled over the surface has 1 row and 1 column; operations on several tensors broadcast over axes of
1. So the users are a symmetric axis: permuting them permutes that axis and changes nothing else, and what is
pooled over it does not depend on their order. The two surfaces are two entries of the batch axis.

A node names earlier nodes as its inputs, so a graph has no cycles. The first node is the input, the last one
the output.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from channels.errors import InvalidArgumentError
from ris.predictors.symmetries import SYMMETRIES

__all__ = ["OPERATIONS", "Graph", "GraphBuilder", "Node", "Operation", "Shape"]

LARGEST = 2**31 - 1
"""A tensor and a parameter have at most this many entries."""

MOST_NODES = 4096
FURTHEST = 8
"""Most hops of a local activation."""


class Shape(NamedTuple):
    """Axes of a tensor behind the batch axis."""

    users: int
    channels: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Node:
    """One operation.

    Parameters
    ----------
    name : str
        Unique in the graph; letters, digits and "_".
    op : str
        A key of `OPERATIONS`.
    inputs : tuple of str
        Names of earlier nodes.
    attributes : mapping of str to int
        What the operation asks for.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict)


Attributes = Mapping[str, int]
Shapes = Sequence[Shape]


@dataclass(frozen=True)
class Operation:
    """What the graph knows of an operation.

    Attributes
    ----------
    meaning : str
        One sentence.
    inputs : tuple of int
        Fewest and most inputs.
    attributes : tuple of str
        Names of its attributes, whole numbers >= 0.
    shape : callable
        Shape of the result from attributes and shapes of the inputs; ValueError if they do not fit.
    parameters : callable
        Shapes of its parameters by name.
    products : callable
        Multiply-accumulates for one entry of the batch, from attributes, input shapes and result shape.
    differences : callable
        Likewise the differences whose magnitudes it sums.
    """

    meaning: str
    inputs: tuple[int, int]
    attributes: tuple[str, ...]
    shape: Callable[[Attributes, Shapes], Shape]
    parameters: Callable[[Attributes, Shapes], dict[str, tuple[int, ...]]] = lambda attributes, shapes: {}
    products: Callable[[Attributes, Shapes, Shape], int] = lambda attributes, shapes, result: 0
    differences: Callable[[Attributes, Shapes, Shape], int] = lambda attributes, shapes, result: 0


@dataclass(frozen=True)
class Graph:
    """A checked graph.

    Parameters
    ----------
    nodes : tuple of Node
        In an order in which they can be executed.

    Raises
    ------
    InvalidArgumentError
        If a node has an unknown operation, a name that is taken, inputs that are no earlier nodes, or wrong
        attributes.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MOST_NODES:
            raise InvalidArgumentError("nodes", f"1 to {MOST_NODES} nodes", f"{len(self.nodes)}")
        known: set[str] = set()
        for node in self.nodes:
            _check(node, known)
            known.add(node.name)
        inputs = [node.name for node in self.nodes if node.op == "input"]
        if inputs != [self.nodes[0].name]:
            raise InvalidArgumentError("nodes", "the one input as first node", f"inputs {inputs}")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.nodes[0].attributes["channels"]

    def shapes(self, users: int, rows: int, columns: int) -> dict[str, Shape]:
        """Return the shape of every node's result for an input of this size.

        Raises
        ------
        InvalidArgumentError
            If shapes do not fit, or a tensor is larger than any machine's.
        """
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            if node.op == "input":
                shape = Shape(users, node.attributes["channels"], rows, columns)
            else:
                try:
                    given = [shapes[name] for name in node.inputs]
                    shape = OPERATIONS[node.op].shape(node.attributes, given)
                except ValueError as error:
                    raise InvalidArgumentError(node.name, str(error), _listed(node, shapes)) from None
            if min(shape) < 1 or math.prod(shape) > LARGEST:
                raise InvalidArgumentError(node.name, "a tensor of 1 to 2^31 - 1 entries", f"{tuple(shape)}")
            shapes[node.name] = shape
        return shapes

    def parameters(self, rows: int = 8, columns: int = 8) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all parameters by "node/parameter".

        They depend on rows and columns after a "flatten" only.
        """
        shapes = self.shapes(1, rows, columns)
        made = {}
        for node in self.nodes:
            given = [shapes[name] for name in node.inputs]
            for parameter, shape in OPERATIONS[node.op].parameters(node.attributes, given).items():
                if math.prod(shape) > LARGEST:
                    raise InvalidArgumentError(node.name, "at most 2^31 - 1 parameters", f"{shape}")
                made[f"{node.name}/{parameter}"] = shape
        return made

    def products(self, users: int, rows: int, columns: int) -> dict[str, int]:
        """Return the multiply-accumulates of every node for one entry of the batch."""
        return self._counts("products", users, rows, columns)

    def differences(self, users: int, rows: int, columns: int) -> dict[str, int]:
        """Return the differences that every node sums, as magnitudes, for one entry of the batch."""
        return self._counts("differences", users, rows, columns)

    def bit_operations(
        self, users: int, rows: int, columns: int, bits: Mapping[str, tuple[int, int]] | None = None
    ) -> int:
        """Return the sum of products times bits of both factors, for one entry of the batch.

        A difference takes as many as the longer of both numbers has bits.

        Parameters
        ----------
        users, rows, columns : int
            Size of the input.
        bits : mapping of str to pair of int, optional
            Bits of weights and activations by node; 32 and 32 where nothing is said.
        """
        factors = {} if bits is None else bits
        products, differences = (counts(users, rows, columns) for counts in (self.products, self.differences))
        whole = (32, 32)
        return sum(
            products[name] * math.prod(factors.get(name, whole))
            + differences[name] * max(factors.get(name, whole))
            for name in products
        )

    def _counts(self, what: str, users: int, rows: int, columns: int) -> dict[str, int]:
        shapes = self.shapes(users, rows, columns)
        made = {}
        for node in self.nodes:
            count = getattr(OPERATIONS[node.op], what)
            given = [shapes[name] for name in node.inputs]
            made[node.name] = count(node.attributes, given, shapes[node.name])
        return made


class GraphBuilder:
    """Puts a graph together; every method adds a node and returns its name.

    Parameters
    ----------
    channels : int
        Channels of the input.
    """

    def __init__(self, channels: int) -> None:
        self._nodes = [Node("input", "input", (), {"channels": channels})]

    @property
    def input(self) -> str:
        """Name of the input."""
        return "input"

    def graph(self) -> Graph:
        """Return the graph; the node added last is its output."""
        return Graph(tuple(self._nodes))

    def add_node(self, op: str, *inputs: str, name: str | None = None, **attributes: int) -> str:
        """Add a node of any operation; by default it is called after its operation and number."""
        node = Node(name or f"{op}_{len(self._nodes)}", op, inputs, attributes)
        self._nodes.append(node)
        return node.name

    def conv(self, of: str, channels: int, kernel: int = 3, groups: int = 1, name: str | None = None) -> str:
        """Convolution with a bias and zeros around; with kernel 1 on a pooled tensor a linear layer."""
        return self.add_node("conv", of, name=name, channels=channels, kernel=kernel, groups=groups)

    def adder(self, of: str, channels: int, kernel: int = 3, name: str | None = None) -> str:
        """Sums of absolute differences from weights in place of a convolution."""
        return self.add_node("adder", of, name=name, channels=channels, kernel=kernel)

    def relu(self, of: str) -> str:
        """Return max(x, 0)."""
        return self.add_node("relu", of)

    def residual(self, of: str, branch: str) -> str:
        """Return the sum of a tensor and a branch."""
        return self.add_node("add", of, branch)

    def squeeze_excite(self, of: str, channels: int, squeezed: int) -> str:
        """Scale channels by gates from their means over the surface (Hu, Shen, Sun, CVPR 2018)."""
        gate = self.conv(self.add_node("mean_grid", of), squeezed, 1)
        gate = self.conv(self.relu(gate), channels, 1)
        return self.add_node("mul", of, self.add_node("sigmoid", gate))


def _check(node: Node, known: set[str]) -> None:
    if node.op not in OPERATIONS:
        raise InvalidArgumentError(node.name, f"an operation of {sorted(OPERATIONS)}", repr(node.op))
    operation = OPERATIONS[node.op]
    if not re.fullmatch(r"\w{1,64}", node.name, re.ASCII) or node.name in known:
        raise InvalidArgumentError("nodes", "names that differ, of letters, digits and _", repr(node.name))
    unknown = [name for name in node.inputs if name not in known]
    if unknown:
        raise InvalidArgumentError(node.name, "earlier nodes as inputs", f"{unknown}")
    low, high = operation.inputs
    if not low <= len(node.inputs) <= high:
        raise InvalidArgumentError(node.name, f"{low} to {high} inputs", f"{len(node.inputs)}")
    if set(node.attributes) != set(operation.attributes):
        raise InvalidArgumentError(
            node.name, f"attributes {sorted(operation.attributes)}", f"{sorted(node.attributes)}"
        )
    for name, value in node.attributes.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise InvalidArgumentError(f"{node.name}.{name}", "a whole number >= 0", repr(value))


def _listed(node: Node, shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name} {tuple(shapes[name])}" for name in node.inputs)


def _same(attributes: Attributes, shapes: Shapes) -> Shape:
    return shapes[0]


def _broadcast(attributes: Attributes, shapes: Shapes) -> Shape:
    sizes = []
    for lengths in zip(*shapes, strict=True):
        length = max(lengths)
        if any(one not in (1, length) for one in lengths):
            raise ValueError("shapes that broadcast")
        sizes.append(length)
    return Shape(*sizes)


def _concat(attributes: Attributes, shapes: Shapes) -> Shape:
    users, _, rows, columns = _broadcast(attributes, [shape._replace(channels=1) for shape in shapes])
    return Shape(users, sum(shape.channels for shape in shapes), rows, columns)


def _slice(attributes: Attributes, shapes: Shapes) -> Shape:
    start, stop = attributes["start"], attributes["stop"]
    if not 0 <= start < stop <= shapes[0].channels:
        raise ValueError(f"0 <= start < stop <= channels for the channels {start} to {stop}")
    return shapes[0]._replace(channels=stop - start)


def _conv_shape(attributes: Attributes, shapes: Shapes) -> Shape:
    (shape,) = shapes
    out, kernel, groups = (attributes[name] for name in ("channels", "kernel", "groups"))
    if out < 1 or kernel % 2 == 0 or groups < 1 or shape.channels % groups or out % groups:
        raise ValueError("an odd kernel, and groups that divide the channels")
    return shape._replace(channels=out)


def _conv_parameters(attributes: Attributes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    (shape,) = shapes
    out, kernel = attributes["channels"], attributes["kernel"]
    return {"weight": (out, shape.channels // attributes["groups"], kernel, kernel), "bias": (out,)}


def _conv_products(attributes: Attributes, shapes: Shapes, result: Shape) -> int:
    taps = attributes["kernel"] ** 2 * (shapes[0].channels // attributes["groups"])
    return math.prod(result) * taps


def _symmetric_shape(attributes: Attributes, shapes: Shapes) -> Shape:
    if attributes["kernel"] < 3 or attributes["channels"] % SYMMETRIES:
        raise ValueError(f"a kernel of 3 or more, and channels divisible by {SYMMETRIES}")
    return _conv_shape({**attributes, "groups": 1}, shapes)


def _symmetric_parameters(attributes: Attributes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    made = _conv_parameters({**attributes, "groups": 1}, shapes)
    outputs, *kernel = made["weight"]
    return {**made, "weight": (outputs // SYMMETRIES, *kernel)}


def _symmetric_products(attributes: Attributes, shapes: Shapes, result: Shape) -> int:
    return _conv_products({**attributes, "groups": 1}, shapes, result)


def _adder_shape(attributes: Attributes, shapes: Shapes) -> Shape:
    return _conv_shape({**attributes, "groups": 1}, shapes)


def _adder_parameters(attributes: Attributes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {**_conv_parameters({**attributes, "groups": 1}, shapes), "scale": (attributes["channels"],)}


def _adder_differences(attributes: Attributes, shapes: Shapes, result: Shape) -> int:
    return _conv_products({**attributes, "groups": 1}, shapes, result)


def _hops_shape(attributes: Attributes, shapes: Shapes) -> Shape:
    if not 1 <= attributes["hops"] <= FURTHEST:
        raise ValueError(f"1 to {FURTHEST} hops")
    return shapes[0]


def _norm_parameters(attributes: Attributes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    channels = (shapes[0].channels,)
    return dict.fromkeys(("scale", "shift", "mean", "variance"), channels)


def _top_k(attributes: Attributes, shapes: Shapes) -> Shape:
    k, (shape,) = attributes["k"], shapes
    if not 1 <= k <= 8:
        raise ValueError("k from 1 to 8")
    return shape._replace(channels=shape.channels * (k + 1))


def _ranked(attributes: Attributes, shapes: Shapes) -> tuple[int, int]:
    """Channels before the ranks were folded into them, and ranks that are left after the convolution."""
    ranks, kernel, (shape,) = attributes["ranks"], attributes["kernel"], shapes
    if ranks < 1 or shape.channels % ranks or not 1 <= kernel <= ranks or attributes["channels"] < 1:
        raise ValueError("ranks that divide the channels, and a kernel from 1 to ranks")
    return shape.channels // ranks, ranks - kernel + 1


def _rank_conv_shape(attributes: Attributes, shapes: Shapes) -> Shape:
    _, left = _ranked(attributes, shapes)
    return shapes[0]._replace(channels=attributes["channels"] * left)


def _rank_conv_parameters(attributes: Attributes, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    channels, _ = _ranked(attributes, shapes)
    out = attributes["channels"]
    return {"weight": (out, channels, attributes["kernel"]), "bias": (out,)}


def _rank_conv_products(attributes: Attributes, shapes: Shapes, result: Shape) -> int:
    return math.prod(result) * _ranked(attributes, shapes)[0] * attributes["kernel"]


def _shuffle(attributes: Attributes, shapes: Shapes) -> Shape:
    factor, (shape,) = attributes["factor"], shapes
    if factor < 1 or shape.channels % factor**2:
        raise ValueError(f"channels divisible by {factor}^2")
    users, channels, rows, columns = shape
    return Shape(users, channels // factor**2, rows * factor, columns * factor)


def _repeat(attributes: Attributes, shapes: Shapes) -> Shape:
    factor, (shape,) = attributes["factor"], shapes
    return shape._replace(rows=shape.rows * factor, columns=shape.columns * factor)


def _flatten(attributes: Attributes, shapes: Shapes) -> Shape:
    users, channels, rows, columns = shapes[0]
    if (rows, columns) != (attributes["rows"], attributes["columns"]):
        raise ValueError(f"a surface of {attributes['rows']} x {attributes['columns']} elements")
    return Shape(users, channels * rows * columns, 1, 1)


def _unflatten(attributes: Attributes, shapes: Shapes) -> Shape:
    rows, columns, (shape,) = attributes["rows"], attributes["columns"], shapes
    if (shape.rows, shape.columns) != (1, 1) or rows * columns == 0 or shape.channels % (rows * columns):
        raise ValueError(f"a pooled tensor whose channels {rows} x {columns} divides")
    return Shape(shape.users, shape.channels // (rows * columns), rows, columns)


def _entries(attributes: Attributes, shapes: Shapes, result: Shape) -> int:
    return math.prod(result)


OPERATIONS: dict[str, Operation] = {
    "input": Operation("What the network is given.", (0, 0), ("channels",), lambda a, s: s[0]),
    "conv": Operation(
        "Convolution over the surface with zeros around it, plus a bias.",
        (1, 1),
        ("channels", "kernel", "groups"),
        _conv_shape,
        _conv_parameters,
        _conv_products,
    ),
    "symmetric_conv": Operation(
        "A convolution of which a kernel serves 8 output channels, turned and flipped; spread to a plain one "
        "for integers.",
        (1, 1),
        ("channels", "kernel"),
        _symmetric_shape,
        _symmetric_parameters,
        _symmetric_products,
    ),
    "adder": Operation(
        "Minus a scale times the sum of |x - w| over what a convolution sums, with zeros around the surface, "
        "plus a bias.",
        (1, 1),
        ("channels", "kernel"),
        _adder_shape,
        _adder_parameters,
        differences=_adder_differences,
    ),
    "batch_norm": Operation(
        "Normalisation of channels by means and variances; folded into what is before it at export.",
        (1, 1),
        (),
        _same,
        _norm_parameters,
    ),
    "relu": Operation("max(x, 0).", (1, 1), (), _same),
    "sigmoid": Operation("1 / (1 + exp(-x)).", (1, 1), (), _same),
    "tanh": Operation("Hyperbolic tangent.", (1, 1), (), _same),
    "add": Operation("Sum of tensors.", (2, 8), (), _broadcast),
    "sub": Operation("Difference of two tensors.", (2, 2), (), _broadcast),
    "mul": Operation("Product of two tensors.", (2, 2), (), _broadcast, products=_entries),
    "concat": Operation(
        "Channels of tensors, one after the other; of a single one, to round it once more in integers.",
        (1, 16),
        (),
        _concat,
    ),
    "slice": Operation("Channels start to stop - 1.", (1, 1), ("start", "stop"), _slice),
    "mean_grid": Operation(
        "Mean over the elements.", (1, 1), (), lambda a, s: s[0]._replace(rows=1, columns=1)
    ),
    "mean_users": Operation("Mean over the users.", (1, 1), (), lambda a, s: s[0]._replace(users=1)),
    "sum_users": Operation("Sum over the users.", (1, 1), (), lambda a, s: s[0]._replace(users=1)),
    "max_users": Operation("Maximum over the users.", (1, 1), (), lambda a, s: s[0]._replace(users=1)),
    "other_surface": Operation(
        "The same of the other surface: the halves of the batch, which are the two surfaces, change places.",
        (1, 1),
        (),
        _same,
    ),
    "neighbour_max": Operation(
        "Maximum over the elements within some steps along rows and columns, itself among them.",
        (1, 1),
        ("hops",),
        _hops_shape,
    ),
    "neighbour_median": Operation(
        "Lower median over the elements within some steps along rows and columns, itself among them.",
        (1, 1),
        ("hops",),
        _hops_shape,
    ),
    "gain": Operation(
        "Product with one learned number.", (1, 1), (), _same, lambda a, s: {"weight": ()}, _entries
    ),
    "top_k": Operation(
        "An element's own value and the k largest of its up to 8 neighbours, for each channel on its own, "
        "channel by channel and in falling order; zeros for neighbours that are missing.",
        (1, 1),
        ("k",),
        _top_k,
    ),
    "rank_conv": Operation(
        "Convolution along the ranks that top_k folded into the channels, without padding.",
        (1, 1),
        ("channels", "kernel", "ranks"),
        _rank_conv_shape,
        _rank_conv_parameters,
        _rank_conv_products,
    ),
    "pixel_shuffle": Operation(
        "Channels to a finer grid: factor x factor of them become one.", (1, 1), ("factor",), _shuffle
    ),
    "repeat": Operation("Every element factor x factor times.", (1, 1), ("factor",), _repeat),
    "flatten": Operation(
        "Elements to channels, on a surface of a fixed size.", (1, 1), ("rows", "columns"), _flatten
    ),
    "unflatten": Operation("Channels back to elements.", (1, 1), ("rows", "columns"), _unflatten),
}

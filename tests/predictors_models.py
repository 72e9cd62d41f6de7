"""Integer models of random numbers, and the slow oracle of their arithmetic in int64."""

import math

import numpy as np

from ris.predictors.integer_operations import codes_of, integer_operation
from ris.predictors.model import OWN_SCALE, TABLES, WEIGHTED, IntegerModel, integer_layout

FUNCTIONS = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "concat": lambda x: x}


def random_model(graph, rows, columns, rng, ties=False):
    """Return an integer model whose codes spread over their range; with ties, of powers of two."""
    nodes, numbers = graph.nodes, {node.name: i for i, node in enumerate(graph.nodes)}
    layout = integer_layout(graph, rows, columns)
    scale, zero = np.ones(len(nodes), np.float32), np.zeros(len(nodes), np.uint8)
    for i, node in enumerate(nodes):
        sources = [numbers[name] for name in node.inputs]
        if node.op not in OWN_SCALE:
            scale[i], zero[i] = scale[sources[0]], zero[sources[0]]
            continue
        natural = _natural_scale(node, scale[sources]) * rng.uniform(0.4, 1.6)
        scale[i] = 2.0 ** np.rint(np.log2(natural)) if ties else natural
        zero[i] = rng.choice([0, 128, 255])
        if node.op not in WEIGHTED:
            centre = _centre(node, (127.5 - zero[sources]) * scale[sources]) / scale[i]
            zero[i] = np.clip(128 - np.rint(centre) + rng.integers(-9, 10), 0, 255)
    arrays = {"scale": scale, "zero_point": zero, "bits": np.full(len(nodes), 8, np.uint8)}
    arrays["weight_bits"] = np.array([8 if node.op in WEIGHTED else 0 for node in nodes], np.uint8)
    for i, node in enumerate(nodes):
        own, s = f"{node.name}/", [scale[numbers[name]] for name in node.inputs]
        if node.op in WEIGHTED:
            shape = layout[own + "weight"][1]
            arrays[own + "weight"] = rng.integers(-127, 128, shape).astype(np.int8)
            arrays[own + "bias"] = rng.integers(-20000, 20000, shape[0]).astype(np.int32)
            spread = 150 * 75 * math.sqrt(math.prod(shape[1:]))
            factor = 100 / spread * rng.uniform(0.2, 2, shape[0])
            if node.op == "adder":  # two random codes are 85 apart on average, give or take 60
                arrays[own + "bias"] = arrays[own + "bias"] // 100 - 85 * math.prod(shape[1:])
                factor = rng.choice([-1, 1], shape[0]) * rng.uniform(0.2, 2, shape[0])
                factor *= 100 / (60 * math.sqrt(math.prod(shape[1:])))
            arrays[own + "multiplier"] = (
                np.sign(factor) * 2.0 ** np.rint(np.log2(np.abs(factor))) if ties else factor
            ).astype(np.float32)
        elif node.op in ("add", "sub"):
            signs = np.array([1, -1 if node.op == "sub" else 1, *[1] * 6][: len(s)], np.float32)
            arrays[own + "multiplier"] = signs * np.array(s, np.float32) / scale[i]
        elif node.op == "mul":
            arrays[own + "multiplier"] = np.array(s[0] * s[1] / scale[i], np.float32)
        elif node.op in TABLES:
            tables = []
            for name, source in zip(node.inputs, s, strict=True):
                x = source * (np.arange(256) - np.float32(zero[numbers[name]]))
                made = FUNCTIONS.get(node.op, lambda x: np.float32(-1.7) * x)(x.astype(np.float32))
                code = np.rint(made.astype(np.float32) / scale[i]) + zero[i]
                tables.append(np.clip(code, 0, 255))
            arrays[own + "table"] = np.array(tables, np.uint8)
    return IntegerModel(graph, arrays, rows, columns)


def _natural_scale(node, scales):
    """A scale with which results of random codes fill their range."""
    if node.op == "mul":
        return 100 * scales.prod()
    if node.op in ("sigmoid", "tanh"):
        return 0.01
    factors = {"add": 1.5, "sub": 1.5, "mean_grid": 1.4, "mean_users": 1.4, "sum_users": 4.0, "gain": 1.7}
    return factors.get(node.op, 1.0) * max(scales, default=0.02)


def _centre(node, centres):
    """About the mean result for inputs with these means."""
    if node.op in ("add", "sub", "sum_users"):
        signs = [1, -1] if node.op == "sub" else [1] * len(centres)
        return (4 if node.op == "sum_users" else 1) * float(np.dot(signs, centres))
    return {"mul": 0.0, "tanh": 0.0, "sigmoid": 0.5}.get(
        node.op, float(np.mean(centres)) if len(centres) else 0.0
    )


def random_codes(rng, model, node, batch, users, rows, columns):
    """Return random codes for the inputs of a node, axes (batch, user, row, column, channel)."""
    shapes = model.graph.shapes(users, rows, columns)
    made = {}
    for name in node.inputs:
        u, c, r, w = shapes[name]
        made[name] = rng.integers(0, 256, (batch, u, r, w, c), dtype=np.uint8)
    return [made[name] for name in node.inputs]


def operation(model, node, additions=False):
    """Return the function that the runtime executes for a node."""
    return integer_operation(model, node, codes_of(model), additions)


def fused(a, b, c):
    """a b + c, rounded once (but for ties of the double-precision sum, one in 2^29): a b is exact there."""
    return np.float32(np.float64(a) * b + np.float64(c))


def oracle(model, node, inputs):
    """Codes of a node in int64 and exact float32, axes (batch, user, row, column, channel)."""
    numbers = {one.name: i for i, one in enumerate(model.graph.nodes)}
    i = numbers[node.name]
    scale, zero, top = model.arrays["scale"], model.arrays["zero_point"].astype(int), int(model.highest[i])
    x = [
        codes.astype(np.int64) - zero[numbers[name]] for codes, name in zip(inputs, node.inputs, strict=True)
    ]
    own = {name: model.arrays.get(f"{node.name}/{name}") for name in ("weight", "bias", "multiplier")}
    a = node.attributes

    def codes(v):
        assert v.dtype == np.float32
        return np.clip(np.rint(v.astype(np.float64)) + zero[i], 0, top).astype(np.uint8)

    def shifted(v):
        assert v.dtype == np.float32
        return np.clip(np.rint(v + np.float32(zero[i])), 0, top).astype(np.uint8)

    if node.op == "conv":
        edge, groups = a["kernel"] // 2, a["groups"]
        wide = np.pad(x[0], ((0, 0), (0, 0), (edge, edge), (edge, edge), (0, 0)))
        rows, columns = x[0].shape[2:4]
        weight = own["weight"].astype(np.int64)
        per, taken = len(weight) // groups, weight.shape[1]
        total = np.zeros((*x[0].shape[:4], len(weight)), np.int64) + own["bias"]
        for g in range(groups):
            out, into = slice(g * per, (g + 1) * per), slice(g * taken, (g + 1) * taken)
            for m in range(a["kernel"]):
                for n in range(a["kernel"]):
                    seen = wide[:, :, m : m + rows, n : n + columns, into]
                    total[..., out] += seen @ weight[out, :, m, n].T
        return codes(total.astype(np.float32) * own["multiplier"])
    if node.op == "adder":
        edge, (rows, columns) = a["kernel"] // 2, x[0].shape[2:4]
        wide = np.pad(x[0], ((0, 0), (0, 0), (edge, edge), (edge, edge), (0, 0)))
        # Less the zero point, as the input: its border is 0.
        weight = own["weight"].astype(np.int64) + 128 - zero[numbers[node.inputs[0]]]
        total = np.zeros((*x[0].shape[:4], len(weight)), np.int64) + own["bias"]
        for m, n in np.ndindex(a["kernel"], a["kernel"]):
            seen = wide[:, :, m : m + rows, n : n + columns, None]
            total += np.abs(seen - weight[:, :, m, n]).sum(-1)
        return codes(total.astype(np.float32) * own["multiplier"])
    if node.op == "rank_conv":
        ranked = x[0].reshape(*x[0].shape[:4], -1, a["ranks"])
        weight = own["weight"].astype(np.int64)
        runs = [ranked[..., r : r + a["kernel"]] for r in range(a["ranks"] - a["kernel"] + 1)]
        total = np.stack([np.einsum("burwck,ock->burwo", run, weight) for run in runs], -1)
        total += own["bias"][:, None]
        return codes((total.astype(np.float32) * own["multiplier"][:, None]).reshape(*x[0].shape[:4], -1))
    if node.op in ("add", "sub"):
        terms = list(
            zip(inputs, own["multiplier"], [zero[numbers[name]] for name in node.inputs], strict=True)
        )
        moved = np.float32(0)
        for _, factor, z in reversed(terms):
            moved = fused(factor, np.float32(z), moved)
        total = np.float32(zero[i]) - moved
        for one, factor, _ in reversed(terms):
            total = fused(factor, one, total)
        assert total.dtype == np.float32
        return np.clip(np.rint(total), 0, top).astype(np.uint8)
    if node.op == "mul":
        return shifted((x[0] * x[1]).astype(np.float32) * np.float32(own["multiplier"]))
    axes = (2, 3) if node.op == "mean_grid" else (1,)
    total = x[0].sum(axes, keepdims=True)
    count = 1 if node.op == "sum_users" else math.prod(x[0].shape[axis] for axis in axes)
    return codes(total.astype(np.float32) * (scale[numbers[node.inputs[0]]] / (scale[i] * np.float32(count))))

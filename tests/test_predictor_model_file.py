"""Model files: round trips, and that nothing unsound gets in."""

import io
import json
import os

import h5py
import numpy as np
import pytest
from predictors_graphs import every_operation, residual_cnn
from predictors_models import random_model

from channels.errors import InvalidArgumentError
from ris.predictors.folding import fold_batch_norms
from ris.predictors.graph import GraphBuilder
from ris.predictors.model import FloatModel, IntegerModel, float_layout
from ris.predictors.model_file import (
    BLOCK,
    ModelFileError,
    _block,
    decode_model,
    encode_model,
    read_model,
    write_model,
)
from ris.predictors.runtime import Predictor

METADATA = {
    "task": "statistical",
    "seed": 3,
    "rows": [8, 16],
    "metrics": {"rate": 1.25, "note": "é"},
    "x": None,
}


def random_floats(graph, rows, columns, rng):
    layout = float_layout(graph, rows, columns)
    arrays = {name: np.abs(rng.normal(0, 1, shape)).astype(np.float32) for name, (_, shape) in layout.items()}
    return FloatModel(graph, arrays, rows, columns, METADATA)


def with_four_bits(model, rng):
    for number, node in enumerate(model.graph.nodes):
        if node.op in ("conv", "rank_conv") and number % 2:
            model.arrays["weight_bits"][number] = 4
            weight = model.arrays[f"{node.name}/weight"]
            weight[...] = rng.integers(-7, 8, weight.shape)
    return IntegerModel(model.graph, model.arrays, model.rows, model.columns, METADATA)


def models():
    rng = np.random.default_rng(0)
    graph = every_operation()
    folded, _ = fold_batch_norms(graph, random_floats(graph, 4, 6, rng).arrays)
    return {
        "float": random_floats(graph, 4, 6, rng),
        "integer": with_four_bits(random_model(folded, 4, 6, rng), rng),
        "small": with_four_bits(random_model(residual_cnn(4, 1, 5), 8, 8, rng), rng),
    }


MODELS = models()
SMALL = encode_model(MODELS["small"])


def signed(body):
    """Bytes of a file whose hash is right."""
    return _block(bytes(body)) + bytes(body)


def edited(edit, data=SMALL):
    """Bytes of a file after `edit(file)`, with the right hash."""
    image = io.BytesIO(data)
    with h5py.File(image, "r+") as file:
        edit(file)
    return signed(image.getvalue()[BLOCK:])


def equal(one, other):
    return (
        type(one) is type(other)
        and one.graph == other.graph
        and (one.rows, one.columns, one.metadata) == (other.rows, other.columns, other.metadata)
        and set(one.arrays) == set(other.arrays)
        and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_round_trip_returns_the_model_and_the_same_bytes(name, tmp_path):
    path = tmp_path / "model.h5"
    write_model(MODELS[name], path)
    model = read_model(path)
    assert equal(model, MODELS[name])
    assert {array.dtype for array in model.arrays.values()} == {a.dtype for a in MODELS[name].arrays.values()}
    assert encode_model(model) == path.read_bytes()
    assert os.listdir(tmp_path) == ["model.h5"]


def test_other_readers_find_plain_hdf5(tmp_path):
    path = tmp_path / "model.h5"
    write_model(MODELS["small"], path)
    with h5py.File(path) as file:
        assert file.attrs["kind"] == b"integer"
        assert json.loads(file["graph"][()].tobytes())[1][1] == "conv"
        assert file["weight"].dtype == np.int8
        packed = sum(-(-w.size // 2) for n, w in four_bit_weights().items())
        assert file["weight_4bit"].shape == (packed,)
        low, high = (int(code) & 15 for code in next(iter(four_bit_weights().values())).ravel()[:2])
        assert file["weight_4bit"][0] == low + 16 * high


def four_bit_weights():
    model = MODELS["small"]
    bits = zip(model.graph.nodes, model.arrays["weight_bits"], strict=True)
    return {node.name: model.arrays[f"{node.name}/weight"] for node, count in bits if count == 4}


def test_eight_and_four_bits_make_small_files():
    rng = np.random.default_rng(1)
    graph = residual_cnn()
    whole = len(encode_model(random_floats(graph, 16, 16, rng)))
    model = random_model(graph, 16, 16, rng)
    for name, array in model.arrays.items():
        if name.endswith("/weight"):  # as trained: normal, the largest at 127
            array[...] = np.clip(np.rint(rng.normal(0, 127 / 3.5, array.shape)), -127, 127)
    assert whole / len(encode_model(model)) > 3.8


@pytest.mark.parametrize(
    "data", [b"", b"x", SMALL[:100], SMALL[:-1], SMALL + b"\0", SMALL[BLOCK:], b"\0" * 4096]
)
def test_what_is_no_model_file_is_refused(data, tmp_path):
    (tmp_path / "model.h5").write_bytes(data)
    with pytest.raises(ModelFileError, match=r"model\.h5: no sound model file"):
        read_model(tmp_path / "model.h5")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_model(tmp_path / "none.h5")


def test_a_file_of_absurd_size_is_not_read(tmp_path):
    with open(tmp_path / "model.h5", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="larger"):
        read_model(tmp_path / "model.h5")


def test_every_change_of_a_byte_is_noticed():
    rng = np.random.default_rng(4)
    for _ in range(6000):
        data = bytearray(SMALL)
        place = rng.integers(len(data))
        data[place] ^= rng.integers(1, 256)
        with pytest.raises(ModelFileError):
            decode_model(bytes(data))
    for end in rng.integers(len(SMALL), size=1000):
        with pytest.raises(ModelFileError):
            decode_model(SMALL[:end])


def accepted(data):
    """The model of the bytes, which has to be sound; None if they are refused."""
    try:
        model = decode_model(data)
    except ModelFileError:
        return None
    assert equal(decode_model(encode_model(model)), model)
    return model


def test_changes_with_the_right_hash_are_refused_or_sound():
    rng = np.random.default_rng(5)
    sound = 0
    for _ in range(4000):
        body = bytearray(SMALL[BLOCK:])
        for place in rng.integers(len(body), size=rng.integers(1, 4)):
            body[place] = rng.choice([0, 127, 128, 255, body[place] ^ 1 << rng.integers(8)])
        model = accepted(signed(body[: rng.integers(len(body))] if rng.random() < 0.05 else body))
        if model is not None:
            sound += 1
            if sound % 10 == 0:
                channels = model.graph.input_channels
                made = Predictor(model).run(rng.normal(0, 1, (1, 2, channels, model.rows, model.columns)))
                assert np.isfinite(made).all()
    assert 100 < sound < 2500


def replaced(name, change):
    """An edit that puts another dataset in place."""

    def edit(file):
        values = file[name][()]
        del file[name]
        file[name] = change(values)

    return edit


def rewritten(change):
    """An edit of the graph."""

    def edit(file):
        nodes = json.loads(file["graph"][()].tobytes())
        made = change(nodes)
        text = made if isinstance(made, bytes) else json.dumps(nodes if made is None else made).encode()
        del file["graph"]
        file["graph"] = np.frombuffer(text, np.uint8)

    return edit


def fewer_bits(file):
    file["zero_point"][1], file["bits"][1] = 200, 1


def entry(name, index, value):
    def edit(file):
        file[name][index] = value

    return edit


def attribute(name, value):
    def edit(file):
        file.attrs[name] = value

    return edit


def linked(link):
    def edit(file):
        del file["bias"]
        file["bias"] = link

    return edit


def stored_elsewhere(file):
    del file["bias"]
    file.create_dataset("bias", (4,), np.int32, external=[("/etc/passwd", 0, 16)])


def virtual(file):
    shape = file["bias"].shape
    del file["bias"]
    layout = h5py.VirtualLayout(shape, np.int32)
    file.create_virtual_dataset("bias", layout)


def huge(file):
    del file["weight"]
    file.create_dataset("weight", (2**50,), np.int8, chunks=(2**20,))


def grouped(file):
    del file["bias"]
    file.create_group("bias")


def itself(file):
    del file["bias"]
    file["bias"] = file["/"]


def large_kernel(nodes):
    nodes[1][3]["kernel"] = 2**31 - 1


def many_groups(nodes):
    nodes[1] = ["conv_1", "conv", ["input"], {"channels": 2**20 * 5, "kernel": 1, "groups": 5}]


def cycle(nodes):
    nodes[2][2] = [nodes[3][0]]
    nodes[3][2] = [nodes[2][0]]


def fused(nodes):
    nodes[2] = [nodes[2][0], "batch_norm", nodes[2][2], {}]


def unhashable(nodes):
    nodes[2][1] = {}


def text_input(nodes):
    nodes[2][2] = "conv_1"


def codes_behind_real_numbers(file):
    file["bits"][1], file["scale"][1], file["zero_point"][1] = 0, 1.0, 0


HOSTILE = {
    "codes behind real numbers": codes_behind_real_numbers,
    "a real input": entry("bits", 0, 0),
    "real numbers with a scale": entry("bits", -1, 0),
    "another kind": attribute("kind", np.bytes_("pickle")),
    "a float that is none": attribute("kind", np.bytes_("float")),
    "a kind of another type": attribute("kind", "integer"),
    "another rounding": attribute("rounding", np.bytes_("f64-rna")),
    "no rows": attribute("rows", np.int64(0)),
    "negative columns": attribute("columns", np.int64(-8)),
    "absurd rows": attribute("rows", np.int64(2**62)),
    "rows of another type": attribute("rows", 8.0),
    "rows of another shape": attribute("rows", np.array([8, 8])),
    "one more attribute": attribute("more", 1),
    "one more dataset": lambda file: file.create_dataset("more", data=[1]),
    "a dataset less": lambda file: file.__delitem__("bias"),
    "a soft link": linked(h5py.SoftLink("/multiplier")),
    "a link to nothing": linked(h5py.SoftLink("/none")),
    "a link to a file": linked(h5py.ExternalLink("/etc/passwd", "/")),
    "data of another file": stored_elsewhere,
    "a virtual dataset": virtual,
    "a group": grouped,
    "a cycle of groups": itself,
    "an absurd dataset": huge,
    "floats for integers": replaced("bias", lambda v: v.astype(np.float32)),
    "wider integers": replaced("weight", lambda v: v.astype(np.int16)),
    "other bytes": replaced("bias", lambda v: v.astype(">i4")),
    "two axes": replaced("bias", lambda v: v[None]),
    "too few": replaced("bias", lambda v: v[:-1]),
    "too many": replaced("multiplier", lambda v: np.append(v, v)),
    "weights of -128": entry("weight", 0, -128),
    "weights beyond their bits": lambda file: file["weight_4bit"].write_direct(
        np.full(file["weight_4bit"].shape, 0x88, np.uint8)
    ),
    "nine bits": entry("bits", 1, 9),
    "one bit of weights": entry("weight_bits", 1, 1),
    "bits of weights without weights": entry("weight_bits", 0, 8),
    "fewer bits than the codes": fewer_bits,
    "an infinite scale": entry("scale", 1, np.inf),
    "a scale of nothing": entry("scale", 1, 0.0),
    "a negative scale": entry("scale", 1, -1.0),
    "a scale that is no number": entry("scale", 1, np.nan),
    "a tiny scale": entry("scale", 1, 1e-30),
    "scales that differ through a move": replaced(
        "scale", lambda v: np.linspace(0.1, 0.2, len(v), dtype=v.dtype)
    ),
    "a multiplier that is no number": entry("multiplier", 0, np.nan),
    "a multiplier of nothing": entry("multiplier", 0, 0.0),
    "a huge multiplier": entry("multiplier", 0, 1e30),
    "a bias beyond the bound": entry("bias", 0, 2**31 - 1),
    "the most negative bias": entry("bias", 0, -(2**31)),
    "a cycle": rewritten(cycle),
    "an unknown operation": rewritten(lambda nodes: nodes[2].__setitem__(1, "system")),
    "a normalisation": rewritten(fused),
    "an operation that is no text": rewritten(unhashable),
    "inputs that are no list": rewritten(text_input),
    "a kernel of 2^31 - 1": rewritten(large_kernel),
    "absurdly many groups": rewritten(many_groups),
    "a graph of nothing": rewritten(lambda nodes: []),
    "a graph that is a table": rewritten(lambda nodes: {"a": 1}),
    "a graph that is a number": rewritten(lambda nodes: b"1"),
    "a graph that is no JSON": rewritten(lambda nodes: b"[[["),
    "a graph that is no text": rewritten(lambda nodes: b"\xff\xfe"),
    "a graph of depth": rewritten(lambda nodes: b"[" * 500_000),
    "a graph of length": rewritten(lambda nodes: b" " * 2_000_000),
    "a number of many digits": rewritten(lambda nodes: b"[" + b"9" * 9000 + b"]"),
    "too many nodes": rewritten(
        lambda nodes: nodes + [[f"n{i}", "relu", ["input"], {}] for i in range(5000)]
    ),
    "metadata that are no numbers": replaced("metadata", lambda v: np.frombuffer(b'{"a":NaN}', np.uint8)),
    "metadata that are a list": replaced("metadata", lambda v: np.frombuffer(b"[]", np.uint8)),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_files_with_the_right_hash_are_refused(attack):
    data = edited(HOSTILE[attack])
    with pytest.raises(ModelFileError):
        decode_model(data)


def test_an_edit_that_changes_nothing_is_accepted():
    assert equal(decode_model(edited(lambda file: None)), MODELS["small"])


def test_a_bomb_of_zeros_is_not_unpacked():
    def bomb(file):
        del file["weight"]
        file.create_dataset("weight", data=np.zeros(2**26, np.int8), compression="gzip", chunks=(2**24,))

    with pytest.raises(ModelFileError, match="entries"):
        decode_model(edited(bomb))


def test_groups_whose_zeros_would_fill_the_memory_are_refused():
    net = GraphBuilder(2**20)
    net.conv(net.input, 2**20, 1, groups=2**20)
    with pytest.raises(InvalidArgumentError, match="parameters"):
        FloatModel.layout(net.graph(), 8, 8)


@pytest.mark.parametrize("metadata", [{"a": np.nan}, {"a": {1, 2}}, {"a": "x" * 2**21}, {"a": 1j}])
def test_metadata_that_are_not_json_are_refused(metadata):
    net = GraphBuilder(1)
    net.relu(net.input)
    with pytest.raises(InvalidArgumentError, match="metadata"):
        encode_model(FloatModel(net.graph(), {}, metadata=metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("conv_1/bias"), "arrays of the graph"),
        (lambda a: a.__setitem__("x", np.zeros(1)), "arrays of the graph"),
        (lambda a: a.__setitem__("conv_1/bias", np.zeros(3)), "float32"),
        (lambda a: a["conv_1/weight"].__setitem__(0, np.inf), "finite"),
        (lambda a: a["batch_norm_2/variance"].__setitem__(0, -1), "variances"),
    ],
)
def test_models_of_wrong_arrays_are_refused(change, message):
    arrays = {name: array.copy() for name, array in MODELS["float"].arrays.items()}
    change(arrays)
    with pytest.raises(InvalidArgumentError, match=message):
        FloatModel(MODELS["float"].graph, arrays, 4, 6)


# --- kernels that are turned and flipped copies of each other


def with_symmetric_kernels(bits):
    net, rng = GraphBuilder(3), np.random.default_rng(bits)
    net.conv(net.conv(net.conv(net.input, 16), 8, 5), 8, 1)
    model = random_model(net.graph(), 8, 8, rng)
    for node, channels in (("conv_1", 16), ("conv_2", 8)):
        weight = model.arrays[f"{node}/weight"]
        few = rng.integers(-1, 2, (channels // 8, *weight.shape[1:]))
        weight[...] = np.concatenate([turned_in_full(kernel) for kernel in few])
    model.arrays["weight_bits"][1:3] = bits
    return IntegerModel(model.graph, model.arrays, 8, 8)


def turned_in_full(kernel):
    """The symmetries of one kernel, shape (8, inputs, side, side), entry by entry."""
    inputs, side, _ = kernel.shape
    made = np.empty((8, inputs, side, side), kernel.dtype)
    for mirrored in range(2):
        for quarters in range(4):
            for c, i, j in np.ndindex(inputs, side, side):
                row, column = i, j
                for _ in range(quarters):  # where the entry was before a quarter turn to the left
                    row, column = column, side - 1 - row
                made[4 * mirrored + quarters, c, i, j] = kernel[
                    c, row, side - 1 - column if mirrored else column
                ]
    return made


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_of_symmetric_kernels_the_file_has_one_of_eight(bits, tmp_path):
    model = with_symmetric_kernels(bits)
    path = tmp_path / "model.h5"
    write_model(model, path)
    read = read_model(path)
    assert equal(read, model)
    assert encode_model(read) == path.read_bytes()
    digits, name = {8: (1, "weight"), 4: (2, "weight_4bit"), 2: (5, "weight_trits")}[bits]
    with h5py.File(path) as file:
        assert file["symmetric"][()].tolist() == [0, 1, 1, 0]
        last = 8 * 8 if bits == 8 else 0  # a kernel of 1 has no symmetries, and keeps 8 bits
        assert file[name].size == -(-2 * 3 * 9 // digits) + -(-16 * 25 // digits) + last
    changed = {**model.arrays, "conv_1/weight": model.arrays["conv_1/weight"].copy()}
    changed["conv_1/weight"][9, 0, 0, 0] = not changed["conv_1/weight"][9, 0, 0, 0]
    other = IntegerModel(model.graph, changed, 8, 8)
    assert equal(decode_model(encode_model(other)), other)


@pytest.mark.parametrize(
    "flags", [[0, 1, 1, 1], [1, 1, 1, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1]]
)
def test_other_symmetries_than_the_file_has_are_refused(flags):
    data = encode_model(with_symmetric_kernels(8))
    with pytest.raises(ModelFileError):
        decode_model(edited(replaced("symmetric", lambda v: np.array(flags, np.uint8)), data))


def test_weights_in_floats_have_no_symmetric_kernels():
    floats = encode_model(MODELS["float"])
    flags = np.zeros(len(MODELS["float"].graph.nodes), np.uint8)
    flags[[node.op for node in MODELS["float"].graph.nodes].index("symmetric_conv")] = 1
    with pytest.raises(ModelFileError, match="symmetric"):
        decode_model(edited(lambda file: file.create_dataset("symmetric", data=flags), floats))

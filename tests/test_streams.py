"""Philox, stream keys and CN(0, 1) numbers: published vectors, other implementations, statistics.

Statistical checks use fixed seeds. Thresholds: 6.5 standard errors (two-sided false alarm 8e-11), p-values
of 1e-8, and exp(-20) = 2e-9 for correlations; all checks of the file together stay below 1e-6.
"""

import copy
import dataclasses
import hashlib
import itertools
import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import randomgen
import scipy.stats
from numba import njit, prange

from channels import InvalidArgumentError, Stream
from channels._kernels.elementary import cos_sin, cos_sin_turn, log_unit
from channels._kernels.gaussian import complex_normal_pair, fill_complex_normal
from channels._kernels.philox import philox, philox_block

WORD = 2**32

KEY_OF_RELEASE = [3260746130, 350314371]
NORMALS_OF_RELEASE = [1.2734950469750457, -0.9433157319276361, -0.9323980793713303, 1.1631245233309397]


def normals(key, realization, first, count):
    out = np.full(count, np.nan, dtype=complex)
    fill_complex_normal(out, key, realization, first)
    return out


def plain_philox(counter, key):
    """Philox4x32-10 as its paper states it, in Python integers: S-boxes of multiplications, P permutation."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], WORD)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], WORD)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) % WORD, (key[1] + 0xBB67AE85) % WORD]
    return tuple(counter)


RANDOM123 = [  # kat_vectors of Random123 for philox4x32 10: counter, key, result
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((WORD - 1,) * 4, (WORD - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), RANDOM123)
def test_philox_gives_the_random123_vectors(counter, key, result):
    assert philox(*counter, *key) == result
    assert plain_philox(counter, key) == result


def test_philox_agrees_with_plain_integers_and_with_randomgen():
    rng = np.random.default_rng(1)
    for counter, key in zip(
        rng.integers(0, WORD, (200, 4)).tolist(), rng.integers(0, WORD, (200, 2)).tolist(), strict=True
    ):
        words = philox(*counter, *key)
        assert words == plain_philox(counter, key)
        number = sum(word << 32 * i for i, word in enumerate(counter))
        other = randomgen.Philox(
            # randomgen counts on before it draws
            counter=(number - 1) % 2**128,
            key=key[0] + (key[1] << 32),
            number=4,
            width=32,
        )
        assert words == tuple(other.random_raw(4).tolist())


def test_counter_words_are_position_attempt_and_the_two_halves_of_the_realization():
    realization = (7 << 32) + 9
    assert philox_block(1, 2, 3, 4, realization) == philox(3, 4, 9, 7, 1, 2)


def test_key_is_a_hash_of_seed_and_path():
    digest = hashlib.blake2b(b"i2:12s5:studyi1:3", digest_size=8).digest()
    expected = [int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")]
    key = Stream(12, "study", 3).key
    assert key.dtype == np.uint32
    assert key.tolist() == expected


def test_streams_are_told_apart_by_everything_in_their_path():
    streams = [
        Stream(1),
        Stream(11),
        Stream(1, 1),
        Stream(1, "1"),
        Stream(1, "i1:1"),
        Stream(1, ""),
        Stream(1, "ab", "c"),
        Stream(1, "a", "bc"),
        Stream(1, "abc"),
        Stream(1, 12, 3),
        Stream(1, 1, 23),
        Stream(1, -1),
        Stream(2**64),
        Stream(0),
        *(Stream(5, "point", i) for i in range(1000)),
    ]
    assert len({tuple(stream.key.tolist()) for stream in streams}) == len(streams)
    assert len(set(streams)) == len(streams)


def test_child_extends_the_path():
    assert Stream(1, "study").child("point", np.int64(3)) == Stream(1, "study", "point", 3)
    assert repr(Stream(1, "study", 3)) == "Stream(1, 'study', 3)"
    assert copy.deepcopy(Stream(1, "study", 3)) == Stream(1, "study", 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stream(1).seed = 2


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_bad_seed_is_refused(seed):
    with pytest.raises(InvalidArgumentError, match="seed: expected an integer >= 0"):
        Stream(seed)


@pytest.mark.parametrize("name", [1.5, None, True, ("a",), b"a"])
def test_bad_name_is_refused(name):
    with pytest.raises(InvalidArgumentError, match="path"):
        Stream(1, name)


def test_elementary_functions_are_those_of_the_c_library():
    rng = np.random.default_rng(2)
    for u in [2.0**-33, 1 - 2.0**-33, math.sqrt(0.5), np.nextafter(math.sqrt(0.5), 0), *rng.random(20000)]:
        assert abs(log_unit(u) - math.log(u)) <= np.spacing(abs(math.log(u)))
    # all boundaries of octants, and their neighbours
    edges = [(k * 2**29 + d) % WORD for k in range(8) for d in (-1, 0, 1)]
    for word in [*edges, *rng.integers(0, WORD, 20000).tolist()]:
        # the angle as a signed fraction, so that 2 pi word / 2^32 loses no digits next to a full turn
        angle = 2 * math.pi * (word - WORD if word >= WORD // 2 else word) / WORD
        assert cos_sin_turn(word) == pytest.approx((math.cos(angle), math.sin(angle)), abs=4e-16)
    for x in [*(k * math.pi / 4 for k in range(-8, 9)), *rng.uniform(-2 * math.pi, 2 * math.pi, 20000)]:
        assert cos_sin(x) == pytest.approx((math.cos(x), math.sin(x)), abs=3e-16)


def test_normals_are_box_muller_of_the_counter():
    key = Stream(3, "oracle").key
    drawn = normals(key, 2**40 + 5, 0, 600)
    for i in range(300):
        words = plain_philox((i, 0, 5, 2**8), key.tolist())
        for entry, (radius, angle) in ((2 * i, words[:2]), (2 * i + 1, words[2:])):
            size = math.sqrt(-math.log((radius + 0.5) / WORD))
            turn = 2 * math.pi * (angle / WORD)
            assert drawn[entry] == pytest.approx(
                complex(size * math.cos(turn), size * math.sin(turn)), abs=1e-14
            )
        assert drawn[2 * i : 2 * i + 2].view(float).tolist() == list(
            complex_normal_pair(*key.tolist(), i, 2**40 + 5)
        )


def test_numbers_of_a_stream_never_change():
    # Results that users have stored depend on them.
    assert Stream(2022, "study", 1).key.tolist() == KEY_OF_RELEASE
    assert normals(Stream(2022, "study", 1).key, 7, 0, 2).view(float).tolist() == NORMALS_OF_RELEASE


@pytest.mark.parametrize("first", [0, 1, 12345, 2**33 - 1000])
def test_a_range_is_the_same_however_it_is_split(first):
    key = Stream(4).key
    whole = normals(key, 6, first, 1000)
    for cuts in [(1,), (2,), (7, 8, 9), (500,), (333, 800), range(1, 1000), (16, 33, 66, 131, 260), (999,)]:
        bounds = [0, *cuts, 1000]
        pieces = [normals(key, 6, first + a, b - a) for a, b in itertools.pairwise(bounds)]
        assert np.array_equal(np.concatenate(pieces), whole)
    assert normals(key, 6, first, 0).size == 0


@njit(parallel=True)
def fill_all(out, key):
    for realization in prange(out.shape[0]):
        fill_complex_normal(out[realization], key, realization, 0)


def test_numbers_do_not_depend_on_threads():
    key = Stream(5).key
    serial = np.stack([normals(key, realization, 0, 101) for realization in range(50)])
    before = numba.get_num_threads()
    try:
        for threads in sorted({1, min(2, before), before}):
            numba.set_num_threads(threads)
            out = np.empty((50, 101), dtype=complex)
            fill_all(out, key)
            assert np.array_equal(out, serial)
    finally:
        numba.set_num_threads(before)


DIGEST = """
import hashlib
import numpy as np
from channels import Stream, VonMises, WrappedNormal
from channels._kernels.gaussian import fill_complex_normal
out = np.empty(10001, dtype=complex)
fill_complex_normal(out, Stream(6).key, 3, 1)
noise = (VonMises(2.0) + WrappedNormal(0.3)).sample(101, 100, Stream(6))
print(hashlib.sha256(out.tobytes() + noise.tobytes()).hexdigest())
"""


def test_numbers_do_not_depend_on_the_vector_units_of_the_machine(tmp_path):
    plain_machine = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, **extra},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for extra in ({}, plain_machine)
    ]
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def draws():
    return normals(Stream(7, "statistics").key, 0, 0, 2**21)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_normals_have_the_moments_of_cn01(draws, m):
    # |z|^2 is exponential: E |z|^(2m) = m!, and z^m has zero mean.
    error = math.sqrt((math.factorial(2 * m) - math.factorial(m) ** 2) / draws.size)
    assert abs(np.mean(np.abs(draws) ** (2 * m)) - math.factorial(m)) < 6.5 * error
    part_error = math.sqrt(math.factorial(m) / 2 / draws.size)
    assert abs(np.mean(draws**m).real) < 6.5 * part_error
    assert abs(np.mean(draws**m).imag) < 6.5 * part_error


def test_normals_have_the_distribution_of_cn01(draws):
    assert scipy.stats.kstest(np.abs(draws) ** 2, "expon").pvalue > 1e-8
    turns = np.angle(draws) / (2 * np.pi) % 1.0
    assert scipy.stats.kstest(turns, "uniform").pvalue > 1e-8
    assert scipy.stats.kstest(draws.real * math.sqrt(2), "norm").pvalue > 1e-8


def test_a_wrong_scale_of_normals_is_detected(draws):
    # The moments above see 6.5 standard errors of the power, 0.45 %; the distribution sees 2 % for sure.
    assert scipy.stats.kstest(1.02 * np.abs(draws) ** 2, "expon").pvalue < 1e-8


def uncorrelated(a, b):
    # Under independence n |mean(a conj b)|^2 is Exp(1); powers have unit variance.
    power = np.mean((np.abs(a) ** 2 - 1) * (np.abs(b) ** 2 - 1)) * math.sqrt(a.size)
    return (
        abs(np.mean(a * b.conj())) ** 2 * a.size < 20
        and abs(np.mean(a * b)) ** 2 * a.size < 20
        and abs(power) < 6.5
    )


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 1024])
def test_positions_are_uncorrelated(draws, lag):
    assert uncorrelated(draws[lag:], draws[:-lag])


def test_realizations_and_keys_are_uncorrelated(draws):
    key = Stream(7, "statistics").key
    for other in [
        normals(key, 1, 0, draws.size),
        normals(key, 2**32, 0, draws.size),
        normals(key ^ np.array([1, 0], dtype=np.uint32), 0, 0, draws.size),
        normals(Stream(7, "statistics", 1).key, 0, 0, draws.size),
    ]:
        assert uncorrelated(draws, other)


def test_first_entries_of_neighbouring_realizations_are_independent():
    key = Stream(8).key
    first = np.array([normals(key, realization, 0, 2) for realization in range(20000)])
    assert uncorrelated(first[1:, 0], first[:-1, 0])
    assert uncorrelated(first[:, 0], first[:, 1])
    assert scipy.stats.kstest(np.abs(first[:, 0]) ** 2, "expon").pvalue > 1e-8


def test_resolution_of_the_radius_costs_what_the_docstring_says():
    # Sum over all 2^32 radii: the 2e5 smallest u one by one against their exact integral; beyond them the
    # midpoint rule is exact to 1e-14 (its error is 1/24 of the slope at the cut times the squared step).
    count, resolution = 200_000, np.longdouble(WORD)
    points = np.arange(count, dtype=np.longdouble) + np.longdouble(0.5)
    cut = count / resolution
    stated = {1: 8.1e-11, 2: 2.0e-9, 3: 2.4e-8, 4: 2.0e-7}
    for m, loss in stated.items():
        total = np.sum(np.log(resolution / points) ** m) / resolution
        # integral of (-log u)^m over (0, c) is the upper incomplete gamma function of -log c
        terms = [np.log(1 / cut) ** j / math.factorial(j) for j in range(m + 1)]
        exact = math.factorial(m) * cut * sum(terms)
        assert float(exact - total) / math.factorial(m) == pytest.approx(loss, rel=0.03)

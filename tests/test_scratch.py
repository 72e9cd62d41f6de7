"""Arrays that are kept between uses."""

import threading

import numpy as np
import pytest

from channels.scratch import Scratch, ScratchPool


def test_arrays_are_kept_and_grow():
    scratch = Scratch(np.float32)
    first = scratch.array("a", (3, 4))
    first[:] = 7.0
    assert first.dtype == np.float32
    assert first.ctypes.data % 64 == 0
    assert np.all(scratch.array("a", (2, 5)) == 7.0)
    assert not np.shares_memory(first, scratch.array("b", (3, 4)))
    assert scratch.array("a", (50,)).shape == (50,)


def test_a_pool_lends_to_one_at_a_time_and_keeps_what_comes_back():
    pool, lent = ScratchPool(), []
    with pool.borrow() as one, pool.borrow() as two:
        assert one is not two

    def work():
        with pool.borrow() as scratch:
            lent.append(scratch)

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(lent) == 3
    assert all(scratch in (one, two) for scratch in lent)


def test_a_pool_takes_back_what_a_failing_use_had():
    pool = ScratchPool()
    with pytest.raises(ZeroDivisionError), pool.borrow() as one:
        raise ZeroDivisionError
    with pool.borrow() as again:
        assert again is one

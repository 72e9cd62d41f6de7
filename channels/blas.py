"""One thread for the linear algebra library, where its own threads would do harm."""

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which BLAS and LAPACK use one thread.

    For results: the vectors of a repeated eigenvalue, so every draw made with them, and the last bits of a
    product change with the number of threads. For speed: inside threads of ours, and on matrices too small to
    share, threads of BLAS wait for each other, hundreds of times longer than they work on a busy machine.
    """
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return context


@functools.cache
def _controller() -> ThreadpoolController:
    # Kept, since to look for the loaded BLAS libraries takes longer than most decompositions.
    return ThreadpoolController()

"""Numba kernels of propagation: arrays and scalars in, results into arrays that the caller allocated.

Every kernel here says `fastmath=False`. To a kernel that leaves it open, Numba hands the `fastmath` of the
caller that compiles it first, and caches what comes out: the last bits of the same numbers would depend on
the order in which functions happened to be compiled.
"""

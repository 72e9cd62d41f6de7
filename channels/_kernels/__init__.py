"""Numba kernels of propagation: arrays and scalars in, results into arrays that the caller allocated."""

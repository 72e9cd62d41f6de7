"""Numba kernels of the Monte Carlo engines: arrays in, results into arrays that the caller allocated."""

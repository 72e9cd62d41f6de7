"""Benchmarks of the package against what is written without it."""

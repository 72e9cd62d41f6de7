"""Predictors of phase shifts: networks as graphs, their training, and integer inference without torch."""

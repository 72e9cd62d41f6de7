"""Compression of trained networks, one method a file.

A method is a function of a trained network and the recipe that trained it, whose family of systems it
calibrates on and trains with; it returns a `ris.predictors.quantize.QuantizedNetwork`, which simulates what
it exports: the integer model that files store and the runtime executes. `methods` lists them by name. What
makes a network smaller and leaves it in floats, as pruning does, goes from `Network` to `Network`, so that
such steps follow one another, and ends with a method that rounds.

Whatever trains further is held against `further.control`, the float network after the same further steps.
"""

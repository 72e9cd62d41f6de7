"""Named figures that are no sweep of a study file; one module each, found by its path."""

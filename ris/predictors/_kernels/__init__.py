"""Integer kernels of the predictors."""

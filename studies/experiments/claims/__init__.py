"""Claims of the predictors, measured; what the data say is reported, whichever way."""

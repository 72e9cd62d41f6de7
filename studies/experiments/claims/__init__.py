"""Claims about predictors, each held against its threshold; one module each."""

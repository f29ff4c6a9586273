"""Reports on training: curves, convergence, activations, horizons, data sets."""

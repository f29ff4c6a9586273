"""Empirical kernels: recorded calls of layers, their contraction, and matrix-free products."""

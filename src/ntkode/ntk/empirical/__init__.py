"""Empirical kernels: recorded calls, their contraction, and matrix-free products."""

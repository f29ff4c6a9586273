"""Infinite-width kernels, NNGP and NTK, of Neural ODEs and ResNets."""

"""Dual activations Φ = E[φ(a)φ(b)] and Φ′ = E[φ′(a)φ′(b)] of Gaussian pairs."""

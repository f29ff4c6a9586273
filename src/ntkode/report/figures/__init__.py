"""Shared style and panels of figures."""

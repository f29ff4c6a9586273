"""Reports on the limits of width and depth."""

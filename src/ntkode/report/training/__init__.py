"""Reports on training."""

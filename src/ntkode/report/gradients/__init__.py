"""Reports on gradient accuracy."""

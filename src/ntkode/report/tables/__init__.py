"""Tables of runs: comparison, medians, rendering."""

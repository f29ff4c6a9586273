"""Statistics over runs: replicates, intervals, power laws."""

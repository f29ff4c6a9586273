"""ntkode: a reproducible benchmark suite for the training dynamics of Neural ODEs."""

"""Claims about stored runs and the verdicts on them."""
